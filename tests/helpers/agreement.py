"""Check that the app gives the answers of the kernel."""

import numpy as np

from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.inference.predict import predict
from kaggle_kit.storage import tables
from tests.helpers.app_answers import answer_images

# Confidences that differ by less may swap ranks: float32 sums have another order.
EPSILON = 1e-5


def check_agreement(bundle, competition, out):
    """Check all test images, and return the answers of the app by image id."""
    files = Competition(competition)
    predict(bundle, competition, out)
    guesses = {i: g for i, g in tables.read_submission(out).items() if g}
    paths = [image_path(files.test_dir, image_id) for image_id in guesses]
    answers = answer_images(bundle, paths)["answers"]
    candidates = [answer["candidates"][0] for answer in answers]
    landmarks = [candidate["landmark"] for candidate in candidates]
    assert landmarks == [guess.landmark_id for guess in guesses.values()]
    app = np.array([candidate["confidence"] for candidate in candidates])
    kernel = np.array([guess.confidence for guess in guesses.values()])
    np.testing.assert_allclose(app, kernel, rtol=0, atol=EPSILON)
    order = np.argsort(-app, kind="stable")
    rises = np.maximum.accumulate(kernel[order][::-1])[::-1] - kernel[order]
    assert rises.max() < EPSILON  # else images that differ by more swap ranks
    return dict(zip(guesses, answers, strict=True))
