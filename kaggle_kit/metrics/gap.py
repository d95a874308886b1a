"""Global average precision (GAP, micro-AP) and related metrics, on arrays.

Source of GAP: Weyand et al., "Google Landmarks Dataset v2", arXiv:2004.01804, section 5,
with one guess per image. Kaggle ranks equal confidences by image id, smallest first. The
functions keep the input order of equal confidences, so pass rows sorted by image id.

Source of the mean average precision of a search: DELF's ``metrics.py``.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Loss(NamedTuple):
    """The causes of 1 - GAP, which add up to it; all nan where GAP is not defined."""

    wrong_landmarks: float
    non_landmarks: float
    missing_guesses: float
    unknown_landmarks: float


def gap(confidence: ArrayLike, correct: ArrayLike, n_positives: int) -> float:
    """Global average precision of one guess per image.

    The guesses are ranked by confidence; GAP averages the precision at each correct one::

        GAP = (1 / M) * sum_i precision(i) * correct(i)

    Args:
        confidence: (n,) floats; only their order matters. Equal confidences keep their
            input order.
        correct: (n,) bools, whether guess i names a landmark that its image shows.
        n_positives: M, the images that show a landmark, with or without a guess.

    Returns:
        GAP in 0..1, or nan when no image shows a landmark.

    Raises:
        ValueError: lengths differ, a confidence is nan, or M is below the number of
            correct guesses.

    >>> gap([0.9, 0.8, 0.7], [True, False, True], n_positives=2)  # (1/1 + 2/3) / 2
    0.8333333333333333
    """
    confidence, correct = _as_arrays(confidence, correct, n_positives)
    return _mean_precision(_sorted_by_rank(confidence, correct), n_positives)


def precisions(confidence: ArrayLike, correct: ArrayLike) -> NDArray[np.float64]:
    """The contribution of each guess to GAP, times M.

    Args:
        confidence, correct: (n,) each, as for ``gap``.

    Returns:
        (n,) in input order: the precision at the rank of a correct guess, else 0.

    >>> precisions([0.7, 0.8, 0.9], [True, False, True]).round(3)
    array([0.667, 0.   , 1.   ])
    """
    confidence, correct = _as_arrays(confidence, correct, np.size(correct))
    order = _rank_order(confidence)
    hits = order[correct[order]]
    precision = np.zeros(len(correct))
    precision[hits] = np.arange(1, len(hits) + 1) / (np.flatnonzero(correct[order]) + 1)
    return precision


def gap_at_share(
    confidence: ArrayLike,
    correct: ArrayLike,
    landmark: ArrayLike,
    n_positives: int,
    n_non_landmarks: int,
    share: float,
) -> float:
    """The GAP of the same ranking if landmark images were ``share`` of all images.

    The mean of ``precisions_at_share`` over the M landmark images. At the actual share,
    M / (M + M0), it is ``gap``; at a share of 1 it is the GAP of landmark images only.

    Returns:
        GAP in 0..1, or nan when no image shows a landmark, or when the share is below 1
        and there is no non-landmark image to weight.

    >>> gap_at_share([0.9, 0.8], [False, True], [False, True], 1, 1, share=0.2)  # w = 4
    0.2
    """
    precision = precisions_at_share(
        confidence, correct, landmark, n_positives, n_non_landmarks, share
    )
    weight = share_weight(n_positives, n_non_landmarks, share)
    if n_positives == 0 or np.isnan(weight):
        return np.nan
    return float(precision.sum() / n_positives)


def precisions_at_share(
    confidence: ArrayLike,
    correct: ArrayLike,
    landmark: ArrayLike,
    n_positives: int,
    n_non_landmarks: int,
    share: float,
) -> NDArray[np.float64]:
    """The precision at each correct guess if landmark images were ``share`` of all images.

    Each non-landmark image is weighted by w, with or without a guess::

        precision(i) = R(i) / (L(i) + w * N(i))    w = M * (1 - share) / (share * M0)

    Of the first i guesses, R are correct, L are on landmark images and N are on
    non-landmark images. At the actual share w is 1 and the result is ``precisions``.

    Args:
        confidence, correct, n_positives: as for ``gap``.
        landmark: (n,) bools, whether the image of guess i shows a landmark.
        n_non_landmarks: M0, the non-landmark images, with or without a guess.
        share: above 0, at most 1.

    Returns:
        (n,) 0 for a wrong guess; nan where the weight is not defined, which is when the
        share is below 1 and there is no non-landmark image.
    """
    confidence, correct = _as_arrays(confidence, correct, n_positives)
    landmark = np.asarray(landmark, bool)
    if (correct & ~landmark).any() or (~landmark).sum() > n_non_landmarks:
        raise ValueError(
            f"landmark: expected at most n_non_landmarks ({n_non_landmarks}) guesses on "
            f"non-landmark images, none of them correct, got {(~landmark).sum()}, "
            f"{(correct & ~landmark).sum()} of them correct"
        )
    weight = share_weight(n_positives, n_non_landmarks, share)
    if np.isnan(weight):
        return np.full(len(confidence), np.nan)
    order = _rank_order(confidence)
    ranks = np.flatnonzero(correct[order])
    n_others = np.cumsum(~landmark[order])[ranks]  # non-landmarks down to each hit
    precision = np.zeros(len(confidence))
    n_hits = np.arange(1, len(ranks) + 1)
    precision[order[ranks]] = n_hits / (ranks + 1 - n_others + weight * n_others)
    return precision


def share_weight(n_positives: int, n_non_landmarks: int, share: float) -> float:
    """The weight of a non-landmark image that makes landmark images ``share`` of all.

    nan when there is no non-landmark image and the share is below 1.

    >>> share_weight(n_positives=30, n_non_landmarks=10, share=0.3)
    7.0
    """
    if not 0 < share <= 1:
        raise ValueError(f"expected a share above 0, at most 1, got {share}")
    if share == 1:
        return 0.0
    if n_non_landmarks == 0:
        return np.nan
    return n_positives * (1 - share) / (share * n_non_landmarks)


def gap_tie_bounds(
    confidence: ArrayLike, correct: ArrayLike, n_positives: int
) -> tuple[float, float]:
    """The lowest and the highest GAP over all orders of equal confidences.

    >>> gap_tie_bounds([0.5, 0.5], [True, False], n_positives=1)
    (0.5, 1.0)
    """
    confidence, correct = _as_arrays(confidence, correct, n_positives)
    worst = np.lexsort((correct, -confidence))
    best = np.lexsort((~correct, -confidence))
    return _mean_precision(correct[worst], n_positives), _mean_precision(
        correct[best], n_positives
    )


def gap_loss(
    confidence: ArrayLike,
    correct: ArrayLike,
    landmark: ArrayLike,
    n_positives: int,
    unknown: ArrayLike = False,
) -> Loss:
    """Divide 1 - GAP among its causes.

    A landmark image without a correct guess loses 1/M. A correct guess at rank i with w
    wrong guesses above it loses (1/M) * w/i, divided between those on images of known and
    of unknown landmarks, and those on non-landmark images.

    Args:
        confidence, correct, n_positives: as for ``gap``.
        landmark: (n,) bools, whether the image of guess i shows a landmark.
        unknown: (n,) bools, whether it shows only landmarks that the guesser does not
            know; or one for all. It is not considered where ``landmark`` is False.

    >>> gap_loss([0.9, 0.8], [False, True], [False, True], n_positives=2)[:3]
    (0.0, 0.25, 0.5)
    """
    confidence, correct = _as_arrays(confidence, correct, n_positives)
    if n_positives == 0:
        return Loss(np.nan, np.nan, np.nan, np.nan)
    order = _rank_order(confidence)
    correct = correct[order]
    landmark = np.asarray(landmark, bool)[order]
    wrong = ~correct & landmark
    unknown = np.broadcast_to(np.asarray(unknown, bool), landmark.shape)[order]
    rank = np.arange(1, len(correct) + 1)

    def charge(guesses: NDArray[np.bool_]) -> float:
        """What the correct guesses lose to these guesses above them, times M."""
        return float((np.cumsum(guesses) / rank)[correct].sum())

    def lost(guesses: NDArray[np.bool_]) -> float:
        """That, and what the images of these guesses lose themselves."""
        return (charge(guesses) + int(guesses.sum())) / n_positives

    return Loss(
        wrong_landmarks=lost(wrong & ~unknown),
        non_landmarks=charge(~landmark) / n_positives,
        missing_guesses=(n_positives - int(landmark.sum())) / n_positives,
        unknown_landmarks=lost(wrong & unknown),
    )


def auc(confidence: ArrayLike, positive: ArrayLike) -> float:
    """Area under the ROC curve, from the Mann-Whitney U statistic.

    It is the probability that a positive has a higher confidence than a negative, where a
    tie counts one half; nan when there are no positives or no negatives.

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

    A query without relevant images (G = 0) is left out of the mean.

    Args:
        relevant: (q, r) bools, whether the image at each rank is relevant, best first;
            ranks beyond the r-th count as not relevant. Mark an image that is returned
            again as not relevant.
        n_relevant: (q,) ints, G: the relevant images of each query, retrieved or not.
        k: the ranks that count, at least 1.

    Returns:
        mAP in 0..1, or nan when no query has a relevant image.

    Raises:
        ValueError: shapes do not fit, or a row has more relevant images than there are.

    >>> mean_average_precision([[True, False, True]], [2])  # (1/1 + 2/3) / 2
    0.8333333333333333
    """
    relevant = np.asarray(relevant, bool)
    n_relevant = np.asarray(n_relevant)
    if relevant.ndim != 2 or n_relevant.shape != relevant.shape[:1] or k < 1:
        raise ValueError(
            f"relevant, n_relevant and k: expected shapes (q, r) and (q,) and at least 1, "
            f"got {relevant.shape}, {n_relevant.shape} and {k}"
        )
    if (relevant.sum(axis=1) > n_relevant).any():
        raise ValueError("a query has more relevant images than n_relevant says")
    counted = n_relevant > 0
    if not counted.any():
        return np.nan
    relevant = relevant[counted, :k]
    precision = np.cumsum(relevant, axis=1) / np.arange(1, relevant.shape[1] + 1)
    best = np.minimum(n_relevant[counted], k)
    return float(np.mean((precision * relevant).sum(axis=1) / best))


def _as_arrays(
    confidence: ArrayLike, correct: ArrayLike, n_positives: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Convert to arrays and check them, as ``gap`` describes."""
    confidence = np.asarray(confidence, np.float64)
    correct = np.asarray(correct, bool)
    if confidence.ndim != 1 or confidence.shape != correct.shape:
        raise ValueError(
            f"confidence and correct must be two equally long vectors, "
            f"got shapes {confidence.shape} and {correct.shape}"
        )
    if np.isnan(confidence).any():
        raise ValueError("confidence: expected numbers that can be ranked, got nan")
    if correct.sum() > n_positives:
        raise ValueError(
            f"{correct.sum()} guesses are correct but only {n_positives} images "
            f"show a landmark"
        )
    return confidence, correct


def _sorted_by_rank(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """``correct`` by descending confidence; equal confidences keep their input order.

    Non-negative floats sort as their bit patterns. The fast path appends ``correct`` as the
    lowest bit and sorts without an index, in a fifth of the time. It serves only if equal
    confidences are all correct or all wrong, since it does not keep their order.
    """
    if len(confidence) and confidence.min() >= 0:
        bits = confidence.view(np.uint64) << np.uint64(1)  # drops the sign bit of -0.0
        keys = np.sort(bits | correct)[::-1]
        by_rank = (keys & np.uint64(1)) == 1
        same = keys[1:] >> np.uint64(1) == keys[:-1] >> np.uint64(1)
        if not (same & (by_rank[1:] != by_rank[:-1])).any():
            return by_rank
    return correct[_rank_order(confidence)]


def _rank_order(confidence: NDArray[np.float64]) -> NDArray[np.intp]:
    """Indices by descending confidence; equal confidences keep their input order.

    NumPy's stable sort takes ten times as long, so it runs only for equal confidences.
    """
    order = np.argsort(-confidence)
    by_rank = confidence[order]
    if (by_rank[1:] == by_rank[:-1]).any():
        return np.argsort(-confidence, kind="stable")
    return order


def _mean_precision(correct: NDArray[np.bool_], n_positives: int) -> float:
    """The sum of the precision at each correct guess, over M; in rank order."""
    if n_positives == 0:
        return np.nan
    ranks = np.flatnonzero(correct) + 1
    precision = np.arange(1, len(ranks) + 1) / ranks
    return float(precision.sum() / n_positives)
