"""Fit the calibration of a bundle to validation images."""

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
    """Write the calibration of a ranking; if it has geometry, also that without it.

    Guesses are not demoted, since a calibration is for one image at a time.
    """
    if not evaluator.pools["validation"].queries:
        return
    single = ranking.model_copy(update={"demote_share": None})
    rankings = {CALIBRATION: single}
    if single.verification:
        plain = single.model_copy(update={"verification": None})
        rankings[PLAIN_CALIBRATION] = plain
    for file_name, file_ranking in rankings.items():
        guesses = evaluator.guesses("validation", file_ranking)
        calibration = calibrate(guesses, evaluator.truths("validation"))
        if calibration:
            calibration.save(folder / file_name)


def calibrate(
    guesses: Mapping[str, Guess | None], truths: Mapping[str, Truth]
) -> Calibration | None:
    """Fit a logistic curve from confidence to probability (Platt scaling).

    Confidence is standardised for the fit. A weak L2 penalty, in place of Platt's smoothed
    targets, keeps the slope finite if right and wrong guesses are separable. A curve with
    two parameters is used because validation images are few; isotonic regression would
    overfit.

    Returns:
        None if all guesses are right, or none, or if the slope is not positive or too
        steep to be one.
    """
    pairs = [(g, truths[i]) for i, g in guesses.items() if g is not None]
    confidence = np.array([guess.confidence for guess, _ in pairs], np.float64)
    right = np.array([g.landmark_id in truth.landmark_ids for g, truth in pairs], bool)
    if right.all() or not right.any() or not confidence.std():
        return None
    mean, deviation = confidence.mean(), confidence.std()
    model = LogisticRegression(C=1.0, max_iter=1000)
    model.fit(((confidence - mean) / deviation)[:, None], right)
    slope = float(model.coef_[0, 0] / deviation)
    intercept = float(model.intercept_[0] - slope * mean)
    n_landmarks = sum(bool(truth.landmark_ids) for _, truth in pairs)
    calibration = Calibration(slope, intercept, len(pairs), n_landmarks)
    return calibration if calibration.is_valid else None
