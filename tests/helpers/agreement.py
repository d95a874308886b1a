"""Whether the app says what the kernel says."""

import numpy as np

from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.inference.predict import predict
from kaggle_kit.storage import tables
from tests.helpers.asked import asked

# Two confidences closer than this may change places: float32 is added up in another order.
EPSILON = 1e-5


def agreement(bundle, competition, out):
    """Check all test photos; the answers by image id."""
    place = Competition(competition)
    predict(bundle, competition, out)
    kernel = {i: g for i, g in tables.read_submission(out).items() if g}
    paths = [image_path(place.test_dir, image_id) for image_id in kernel]
    said = asked(bundle, paths)
    firsts = [answer["candidates"][0] for answer in said["answers"]]
    landmarks = [first["landmark"] for first in firsts]
    assert landmarks == [guess.landmark_id for guess in kernel.values()]
    ours = np.array([first["confidence"] for first in firsts])
    theirs = np.array([guess.confidence for guess in kernel.values()])
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=EPSILON)
    order = np.argsort(-ours, kind="stable")
    rises = np.maximum.accumulate(theirs[order][::-1])[::-1] - theirs[order]
    assert rises.max() < EPSILON  # else photos that are further apart changed places
    return dict(zip(kernel, said["answers"], strict=True))
