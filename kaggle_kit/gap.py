"""Global average precision (GAP, micro-AP), the competition's metric, on arrays.

Source of the definition: Weyand et al., "Google Landmarks Dataset v2",
arXiv:2004.01804, section 5, with one guess per image. Ties in confidence are ranked by
image id, smallest first, which is what Kaggle does: pass rows sorted by id.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Loss(NamedTuple):
    """What a GAP below 1 was lost to; the three and GAP add up to 1."""

    wrong_landmarks: float
    non_landmarks: float
    missing_guesses: float


def gap(confidence: ArrayLike, correct: ArrayLike, n_positives: int) -> float:
    """Global average precision of one guess per image.

    Rank every guess by confidence, then average the precision at each correct one::

        GAP = (1 / M) * sum_i precision(i) * correct(i)

    Args:
        confidence: (n,) floats; only their order matters. Ties keep input order,
            so pass rows sorted by image id to agree with Kaggle.
        correct: (n,) bools, whether guess i names a landmark its image shows.
        n_positives: M, the images that show any landmark, guessed or not.

    Returns:
        GAP in 0..1, or nan when no image shows a landmark.

    Raises:
        ValueError: lengths differ, a confidence is nan, or M is below the number of
            correct guesses.

    >>> gap([0.9, 0.8, 0.7], [True, False, True], n_positives=2)  # (1/1 + 2/3) / 2
    0.8333333333333333
    """
    confidence, correct = _checked(confidence, correct, n_positives)
    return _average(correct[_ranking(confidence)], n_positives)


def gap_tie_bounds(
    confidence: ArrayLike, correct: ArrayLike, n_positives: int
) -> tuple[float, float]:
    """The lowest and highest GAP over all orders of guesses of equal confidence.

    >>> gap_tie_bounds([0.5, 0.5], [True, False], n_positives=1)
    (0.5, 1.0)
    """
    confidence, correct = _checked(confidence, correct, n_positives)
    worst = np.lexsort((correct, -confidence))
    best = np.lexsort((~correct, -confidence))
    return _average(correct[worst], n_positives), _average(correct[best], n_positives)


def gap_loss(
    confidence: ArrayLike, correct: ArrayLike, landmark: ArrayLike, n_positives: int
) -> Loss:
    """Divide 1 - GAP among its causes.

    An image with a landmark whose guess is wrong, or that has none, loses 1/M. A correct
    guess at rank i loses (1/M) * w/i for the w wrong guesses above it, shared between
    those on images with a landmark and those on images without one.

    Args:
        confidence, correct, n_positives: as for ``gap``.
        landmark: (n,) bools, whether the guess's image shows any landmark.

    >>> gap_loss([0.9, 0.8], [False, True], [False, True], n_positives=2)
    Loss(wrong_landmarks=0.0, non_landmarks=0.25, missing_guesses=0.5)
    """
    confidence, correct = _checked(confidence, correct, n_positives)
    if n_positives == 0:
        return Loss(np.nan, np.nan, np.nan)
    order = _ranking(confidence)
    correct = correct[order]
    landmark = np.asarray(landmark, bool)[order]
    rank = np.arange(1, len(correct) + 1)
    above_wrong = np.cumsum(~correct & landmark) / rank
    above_none = np.cumsum(~landmark) / rank
    n_wrong = int((~correct & landmark).sum())
    n_guessed = int(landmark.sum())
    return Loss(
        wrong_landmarks=float(above_wrong[correct].sum() + n_wrong) / n_positives,
        non_landmarks=float(above_none[correct].sum()) / n_positives,
        missing_guesses=(n_positives - n_guessed) / n_positives,
    )


def auc(confidence: ArrayLike, positive: ArrayLike) -> float:
    """Area under the ROC curve: how often a positive outranks a negative (ties half).

    The rank-sum form (Mann-Whitney U). nan when either side is empty.

    >>> auc([0.9, 0.4, 0.6], [True, True, False])
    0.5
    """
    confidence = np.asarray(confidence, np.float64)
    positive = np.asarray(positive, bool)
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        return float("nan")
    _, inverse, count = np.unique(confidence, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(count) - (count - 1) / 2  # ranks from 1, ties share the mean
    rank_sum = mean_rank[inverse][positive].sum()
    u = rank_sum - n_positive * (n_positive + 1) / 2
    return float(u / (n_positive * n_negative))


def _checked(
    confidence: ArrayLike, correct: ArrayLike, n_positives: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    confidence = np.asarray(confidence, np.float64)
    correct = np.asarray(correct, bool)
    if confidence.ndim != 1 or confidence.shape != correct.shape:
        raise ValueError(
            f"confidence and correct must be two equally long vectors, "
            f"got shapes {confidence.shape} and {correct.shape}"
        )
    if np.isnan(confidence).any():
        raise ValueError("a confidence is nan, which has no rank")
    if correct.sum() > n_positives:
        raise ValueError(
            f"{correct.sum()} guesses are correct but only {n_positives} images "
            f"show a landmark"
        )
    return confidence, correct


def _ranking(confidence: NDArray[np.float64]) -> NDArray[np.intp]:
    return np.argsort(-confidence, kind="stable")


def _average(correct: NDArray[np.bool_], n_positives: int) -> float:
    """Sum of precision at each correct guess, over M; ``correct`` is in rank order."""
    if n_positives == 0:
        return float("nan")
    ranks = np.flatnonzero(correct) + 1
    precision = np.arange(1, len(ranks) + 1) / ranks
    return float(precision.sum() / n_positives)
