"""Fit to validation images how probable it is that a guess is right."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from kaggle_kit.bundling.evaluator import Evaluator
from kaggle_kit.config import Recognition
from kaggle_kit.inference.calibration import CALIBRATION, PLAIN_CALIBRATION, Calibration
from kaggle_kit.storage.tables import Guess, Truth


def write_calibrations(
    evaluator: Evaluator, ranking: Recognition, folder: Path
) -> None:
    """Write the curve of a ranking, and of the same without geometry if it has that.

    It is for one image at a time, so that nothing is demoted.
    """
    if not evaluator.pools["validation"].queries:
        return
    single = ranking.model_copy(update={"demote_share": None})
    rankings = {CALIBRATION: single}
    if single.verification:
        plain = single.model_copy(update={"verification": None})
        rankings[PLAIN_CALIBRATION] = plain
    for name, some in rankings.items():
        guesses = evaluator.guesses("validation", some)
        curve = calibrate(guesses, evaluator.truths("validation"))
        if curve:
            curve.save(folder / name)


def calibrate(
    guesses: Mapping[str, Guess | None], truths: Mapping[str, Truth]
) -> Calibration | None:
    """A logistic curve from confidence to probability.

    None if all or none are right, or if confidence says nothing of which are.

    Confidence is scaled to a spread of 1 for the fit, and its slope held back a little
    (an L2 penalty, as if of one image), so that it stays finite where right and wrong
    guesses do not overlap. A curve of two numbers, not a step for every few images:
    validation images are few.
    """
    pairs = [(g, truths[i]) for i, g in guesses.items() if g is not None]
    confidence = np.array([guess.confidence for guess, _ in pairs], np.float64)
    right = np.array([g.landmark_id in truth.landmark_ids for g, truth in pairs], bool)
    if right.all() or not right.any() or not confidence.std():
        return None
    mean, spread = confidence.mean(), confidence.std()
    model = LogisticRegression(C=1.0, max_iter=1000)
    model.fit(((confidence - mean) / spread)[:, None], right)
    slope = float(model.coef_[0, 0] / spread)
    if slope <= 0:
        return None
    intercept = float(model.intercept_[0] - slope * mean)
    n_landmarks = sum(bool(truth.landmark_ids) for _, truth in pairs)
    return Calibration(slope, intercept, len(pairs), n_landmarks)
