"""Global average precision (GAP, micro-AP), the competition's metric, on arrays.

Source of the definition: Weyand et al., "Google Landmarks Dataset v2",
arXiv:2004.01804, section 5, with one guess per image. Ties in confidence are ranked by
image id, smallest first, which is what Kaggle does: pass rows sorted by id.

Beside it the mean average precision of a search, as in DELF's ``metrics.py``.
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
    return _average(_ranked(confidence, correct), n_positives)


def precisions(confidence: ArrayLike, correct: ArrayLike) -> NDArray[np.float64]:
    """What each guess adds to GAP, times M: precision at its rank if right, else 0.

    Args:
        confidence, correct: (n,) each, as for ``gap``.

    Returns:
        (n,) in the order given.

    >>> precisions([0.7, 0.8, 0.9], [True, False, True]).round(3)
    array([0.667, 0.   , 1.   ])
    """
    confidence, correct = _checked(confidence, correct, np.size(correct))
    order = _ranking(confidence)
    right = order[correct[order]]
    found = np.zeros(len(correct))
    found[right] = np.arange(1, len(right) + 1) / (np.flatnonzero(correct[order]) + 1)
    return found


def gap_at_share(
    confidence: ArrayLike,
    correct: ArrayLike,
    landmark: ArrayLike,
    n_positives: int,
    n_non_landmarks: int,
    share: float,
) -> float:
    """The GAP of the same ranking, were landmark images ``share`` of all images.

    Each guess on a non-landmark image counts w times in the ranking, and so does each
    such image without a guess, which changes nothing but the share::

        precision(i) = R(i) / (L(i) + w * N(i))    w = M * (1 - share) / (share * M0)
        GAP          = (1 / M) * sum_i precision(i) * correct(i)

    where of the guesses down to the i-th R are correct, L are on landmark images and N
    on the others. At the images' own share, M / (M + M0), w is 1 and this is ``gap``;
    at a share of 1 it is the GAP of landmark images only.

    Args:
        confidence, correct, n_positives: as for ``gap``.
        landmark: (n,) bools, whether the guess's image shows any landmark.
        n_non_landmarks: M0, the images that show none, guessed or not.
        share: above 0, at most 1.

    Returns:
        GAP in 0..1, or nan when no image shows a landmark, or when there is no
        non-landmark image to be counted more often and the share is below 1.

    >>> gap_at_share([0.9, 0.8], [False, True], [False, True], 1, 1, share=0.2)  # w = 4
    0.2
    """
    confidence, correct = _checked(confidence, correct, n_positives)
    landmark = np.asarray(landmark, bool)
    if (correct & ~landmark).any() or (~landmark).sum() > n_non_landmarks:
        raise ValueError(
            f"a correct guess is on a landmark image, and at most n_non_landmarks "
            f"({n_non_landmarks}) guesses are not; got {(~landmark).sum()}"
        )
    weight = share_weight(n_positives, n_non_landmarks, share)
    if n_positives == 0 or np.isnan(weight):
        return np.nan
    order = _ranking(confidence)
    right = np.flatnonzero(correct[order])
    n_above = np.cumsum(~landmark[order])[right]
    n_right = np.arange(1, len(right) + 1)
    precision = n_right / (right + 1 - n_above + weight * n_above)
    return float(precision.sum() / n_positives)


def share_weight(n_positives: int, n_non_landmarks: int, share: float) -> float:
    """How often a non-landmark image counts, that landmark images are ``share`` of all.

    nan when there is no such image and the share is below 1.

    >>> share_weight(n_positives=30, n_non_landmarks=10, share=0.3)
    7.0
    """
    if not 0 < share <= 1:
        raise ValueError(
            f"a share of landmark images is above 0, at most 1, got {share}"
        )
    if share == 1:
        return 0.0
    if n_non_landmarks == 0:
        return np.nan
    return n_positives * (1 - share) / (share * n_non_landmarks)


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
    positive = np.asarray(positive, bool)
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        return np.nan
    _, inverse, count = np.unique(confidence, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(count) - (count - 1) / 2  # ranks from 1, ties share the mean
    rank_sum = mean_rank[inverse][positive].sum()
    u = rank_sum - n_positive * (n_positive + 1) / 2
    return float(u / (n_positive * n_negative))


def mean_average_precision(
    relevant: ArrayLike, n_relevant: ArrayLike, k: int = 100
) -> float:
    """Mean average precision at k (mAP@k) of a search, over its queries.

    One query with G relevant images scores::

        AP = (1 / min(G, k)) * sum_{i=1..k} precision(i) * relevant(i)

    A query that has nothing relevant (G = 0) has no AP and is left out of the mean. One
    that found nothing is a row of False and scores 0.

    Args:
        relevant: (q, r) bools, whether the image at each rank is relevant, best first;
            ranks beyond the r-th are not. An image that is returned again is not
            relevant a second time, though it takes up its rank: that is the caller's to
            mark.
        n_relevant: (q,) ints, G: the images one could have found for each query.
        k: ranks that count, at least 1.

    Returns:
        mAP in 0..1, or nan when no query has anything relevant.

    Raises:
        ValueError: shapes do not fit, or a row has more relevant images than there are.

    >>> mean_average_precision([[True, False, True]], [2])  # (1/1 + 2/3) / 2
    0.8333333333333333
    """
    relevant = np.asarray(relevant, bool)
    n_relevant = np.asarray(n_relevant)
    if relevant.ndim != 2 or n_relevant.shape != relevant.shape[:1] or k < 1:
        raise ValueError(
            f"expected shapes (q, r) and (q,) and k of at least 1, "
            f"got {relevant.shape}, {n_relevant.shape} and {k}"
        )
    if (relevant.sum(axis=1) > n_relevant).any():
        raise ValueError("a query has more relevant images than n_relevant says")
    asked = n_relevant > 0
    if not asked.any():
        return np.nan
    relevant = relevant[asked, :k]
    precision = np.cumsum(relevant, axis=1) / np.arange(1, relevant.shape[1] + 1)
    best = np.minimum(n_relevant[asked], k)
    return float(np.mean((precision * relevant).sum(axis=1) / best))


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


def _ranked(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """``correct`` from the highest confidence down; of equal ones in the order given.

    The bits of floats from 0 on are ordered as their values are. With ``correct`` as one
    more bit they are sorted without an index, in a fifth of the time; where the order of
    equal ones matters, the index is needed after all.
    """
    if len(confidence) and confidence.min() >= 0:
        bits = confidence.view(np.uint64) << np.uint64(1)  # without the sign of -0.0
        keys = np.sort(bits | correct)[::-1]
        ranked = (keys & np.uint64(1)) == 1
        same = keys[1:] >> np.uint64(1) == keys[:-1] >> np.uint64(1)
        if not (same & (ranked[1:] != ranked[:-1])).any():
            return ranked
    return correct[_ranking(confidence)]


def _ranking(confidence: NDArray[np.float64]) -> NDArray[np.intp]:
    """The order from the highest confidence down; equal ones stay in their order.

    NumPy's stable sort takes ten times as long as the other, and is needed for ties alone.
    """
    order = np.argsort(-confidence)
    ranked = confidence[order]
    if (ranked[1:] == ranked[:-1]).any():
        return np.argsort(-confidence, kind="stable")
    return order


def _average(correct: NDArray[np.bool_], n_positives: int) -> float:
    """Sum of precision at each correct guess, over M; ``correct`` is in rank order."""
    if n_positives == 0:
        return np.nan
    ranks = np.flatnonzero(correct) + 1
    precision = np.arange(1, len(ranks) + 1) / ranks
    return float(precision.sum() / n_positives)
