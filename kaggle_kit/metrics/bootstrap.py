"""Bootstrap intervals of GAP, top-1 and AUC over images.

Each resample draws images with replacement, separately from the landmark images and from
the others, so that both numbers stay the same; then it is scored. Source: Efron and
Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kaggle_kit.metrics.gap import share_weight

PERCENT = 95
_ENDS = ((100 - PERCENT) / 2, 100 - (100 - PERCENT) / 2)  # percentiles
Interval = tuple[float, float]


class Intervals(NamedTuple):
    """The ends (low, high) of each value's interval; nan where it is not defined."""

    gap: Interval
    top1: Interval
    auc: Interval
    gap_at_share: tuple[Interval, ...]


class _Ranking(NamedTuple):
    """Images by descending confidence, landmark images apart from the others.

    Attributes:
        n_positives, n_others: landmark images, other images.
        hits: (r,) indices of the landmark images with a correct guess.
        others_above: (r,) other images ranked above each of these.
        others_higher: (n_positives,) other images with a higher confidence than each
            landmark image.
        others_as_high: (n_positives,) the same, with equal confidences.
        weights: the weight of an other image, for each share (see ``gap.share_weight``).
    """

    n_positives: int
    n_others: int
    hits: NDArray[np.intp]
    others_above: NDArray[np.intp]
    others_higher: NDArray[np.intp]
    others_as_high: NDArray[np.intp]
    weights: list[float]


def intervals(
    confidence: ArrayLike,
    correct: ArrayLike,
    landmark: ArrayLike,
    shares: Sequence[float] = (),
    n_resamples: int = 1000,
    seed: int = 0,
) -> Intervals:
    """The middle 95% of GAP, top-1 and AUC over resamples of the images.

    The values of a resample are exactly those of ``gap``, ``gap_at_share`` and ``auc`` for
    its images; copies of one image stay together among equal confidences. The time is that
    of ``n_resamples`` passes over the images, the memory that of one pass.

    Args:
        confidence: (n,) floats, one per image; -inf for an image without a guess. Equal
            confidences keep their input order, so pass rows sorted by image id.
        correct: (n,) bools, whether the guess names a landmark that the image shows.
        landmark: (n,) bools, whether the image shows a landmark.
        shares: of landmark images, for the intervals of ``gap_at_share``.
        n_resamples: at least 1; about 1,000 give stable ends.
        seed: the same seed gives the same intervals.

    Raises:
        ValueError: lengths differ, a confidence is nan, a guess is correct on a
            non-landmark image, a share is out of range, or there is no resample.
    """
    if n_resamples < 1:
        raise ValueError(f"expected at least one resample, got {n_resamples}")
    ranking = _rank(confidence, correct, landmark, shares)
    rng = np.random.default_rng(seed)
    values = np.array([_resample(ranking, rng) for _ in range(n_resamples)])
    low, high = np.percentile(values, _ENDS, axis=0).tolist()
    gap, top1, auc, *at_share = zip(low, high, strict=True)
    return Intervals(gap, top1, auc, tuple(at_share))


def gap_difference(
    one: tuple[ArrayLike, ArrayLike],
    other: tuple[ArrayLike, ArrayLike],
    landmark: ArrayLike,
    n_resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """The middle 95% of GAP of ``one`` minus GAP of ``other``, over resamples.

    Both are scored on the same resamples, so that the difficulty of an image cancels. The
    interval is narrower than the difference of two independent intervals.

    Args:
        one, other: (confidence, correct) of the same images, as for ``intervals``.
        landmark, n_resamples, seed: as for ``intervals``.

    Raises:
        ValueError: as for ``intervals``, or the two have different numbers of images.
    """
    if n_resamples < 1:
        raise ValueError(f"expected at least one resample, got {n_resamples}")
    rankings = [_rank(*values, landmark, ()) for values in (one, other)]
    orders = [_rank_orders(values[0], landmark) for values in (one, other)]
    rng = np.random.default_rng(seed)
    differences = np.zeros(n_resamples)
    for i in range(n_resamples):
        landmark_copies = _draw_copies(rankings[0].n_positives, rng)  # in input order
        other_copies = _draw_copies(rankings[0].n_others, rng)
        first, second = (
            _gap(ranking, landmark_copies[landmarks], other_copies[others])
            for ranking, (landmarks, others) in zip(rankings, orders, strict=True)
        )
        differences[i] = first - second
    low, high = np.percentile(differences, _ENDS).tolist()
    return low, high


def _rank_orders(
    confidence: ArrayLike, landmark: ArrayLike
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The indices of the landmark images, and of the others, by descending confidence."""
    confidence, landmark = np.asarray(confidence, float), np.asarray(landmark, bool)
    return (
        np.argsort(-confidence[landmark], kind="stable"),
        np.argsort(-confidence[~landmark], kind="stable"),
    )


def _gap(
    ranking: _Ranking,
    landmark_copies: NDArray[np.intp],
    other_copies: NDArray[np.intp],
) -> float:
    """GAP of a resample, given the number of copies of each image in rank order."""
    if ranking.n_positives == 0:
        return float("nan")
    copies = landmark_copies[ranking.hits]
    wrong = np.cumsum(landmark_copies)[ranking.hits] - np.cumsum(copies)
    n_hits = np.arange(1.0, copies.sum() + 1)
    others = np.concatenate([[0], np.cumsum(other_copies)])[ranking.others_above]
    ranks = n_hits + np.repeat(wrong + others, copies)
    return float((n_hits / ranks).sum() / ranking.n_positives)


def _rank(
    confidence: ArrayLike,
    correct: ArrayLike,
    landmark: ArrayLike,
    shares: Sequence[float],
) -> _Ranking:
    """Check the images and rank them, as ``intervals`` describes."""
    confidence = np.asarray(confidence, np.float64)
    correct, landmark = np.asarray(correct, bool), np.asarray(landmark, bool)
    shapes = confidence.shape, correct.shape, landmark.shape
    if confidence.ndim != 1 or len(set(shapes)) != 1:
        raise ValueError(
            f"confidence, correct and landmark must be equally long vectors, "
            f"got shapes {', '.join(map(str, shapes))}"
        )
    if np.isnan(confidence).any():
        raise ValueError("confidence: expected numbers that can be ranked, got nan")
    if (correct & ~landmark).any():
        raise ValueError("a guess is correct on an image without a landmark")
    order = np.argsort(-confidence, kind="stable")
    confidence, correct, landmark = confidence[order], correct[order], landmark[order]
    others, landmarks = -confidence[~landmark], -confidence[landmark]  # both ascending
    n_positives, n_others = len(landmarks), len(others)
    return _Ranking(
        n_positives=n_positives,
        n_others=n_others,
        hits=np.flatnonzero(correct[landmark]),
        others_above=np.cumsum(~landmark)[correct],
        others_higher=np.searchsorted(others, landmarks, side="left"),
        others_as_high=np.searchsorted(others, landmarks, side="right"),
        weights=[share_weight(n_positives, n_others, share) for share in shares],
    )


def _resample(ranking: _Ranking, rng: np.random.Generator) -> list[float]:
    """Draw a resample; return its GAP, top-1, AUC and GAP at each share."""
    landmark_copies = _draw_copies(ranking.n_positives, rng)
    other_copies = _draw_copies(ranking.n_others, rng)
    others_to = np.concatenate([[0], np.cumsum(other_copies)])  # of the first k others
    if ranking.n_positives == 0:
        return [np.nan] * (3 + len(ranking.weights))
    copies = landmark_copies[ranking.hits]
    wrong = np.cumsum(landmark_copies)[ranking.hits] - np.cumsum(copies)
    # The following arrays have one element per copy of a correct guess, in rank order.
    n_hits = np.arange(1.0, copies.sum() + 1)
    n_landmarks = n_hits + np.repeat(wrong, copies)
    n_others = np.repeat(others_to[ranking.others_above], copies)
    gap, *at_share = (
        float((n_hits / (n_landmarks + weight * n_others)).sum()) / ranking.n_positives
        for weight in (1.0, *ranking.weights)
    )
    return [
        gap,
        len(n_hits) / ranking.n_positives,
        _auc(landmark_copies, others_to, ranking),
        *at_share,
    ]


def _auc(
    landmark_copies: NDArray[np.intp], others_to: NDArray[np.intp], ranking: _Ranking
) -> float:
    """AUC of a resample; a tie counts one half."""
    if ranking.n_others == 0:
        return float("nan")
    above = others_to[ranking.others_higher] + others_to[ranking.others_as_high]
    lost = above @ landmark_copies / 2
    return float(1 - lost / (ranking.n_positives * ranking.n_others))


def _draw_copies(n: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw n of n images with replacement; return the number of copies of each."""
    drawn = rng.integers(0, n, n, np.int32) if n else np.zeros(0, np.int32)
    return np.bincount(drawn, minlength=n)
