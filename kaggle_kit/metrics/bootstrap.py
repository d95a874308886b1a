"""How far GAP and its companions might be off: bootstrap intervals over images.

The images are drawn anew with replacement, as many landmark images as there are and as
many others, so that the share of landmark images stays; each draw is scored. Source:
Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kaggle_kit.metrics.gap import share_weight

PERCENT = 95
Interval = tuple[float, float]


class Intervals(NamedTuple):
    """The lower and upper end of each value; both are nan where it is not defined."""

    gap: Interval
    top1: Interval
    auc: Interval
    gap_at_share: tuple[Interval, ...]


class _Ranked(NamedTuple):
    """The images in the order of their rank, landmark images apart from the others."""

    n_positives: int  # landmark images
    n_others: int
    # (r,) which of the landmark images have a correct guess, and how many of the others
    # are ranked above each of those
    right: NDArray[np.intp]
    above: NDArray[np.intp]
    # (n_positives,) how many of the others have a higher confidence than each landmark
    # image, and how many one that is as high or higher
    higher: NDArray[np.intp]
    as_high: NDArray[np.intp]
    weights: list[float]  # for each share, how often one of the others counts


def intervals(
    confidence: ArrayLike,
    correct: ArrayLike,
    landmark: ArrayLike,
    shares: Sequence[float] = (),
    n_resamples: int = 1000,
    seed: int = 0,
) -> Intervals:
    """The middle 95% of GAP, top-1 and AUC over resamples of the images.

    A value of a resample is exactly what ``gap``, ``gap_at_share`` and ``auc`` give for
    its images, copies of one image keeping together among equal confidences. Time and
    memory: n_resamples passes over the images, and the memory of one.

    Args:
        confidence: (n,) floats, one per image, guessed or not; -inf where there is no
            guess. Ties keep input order, so pass rows sorted by image id.
        correct: (n,) bools, whether the guess names a landmark its image shows.
        landmark: (n,) bools, whether the image shows any landmark.
        shares: of landmark images, at each of which GAP is wanted.
        n_resamples: draws of the images; about 1,000 for the ends of an interval.
        seed: the same seed gives the same intervals.

    Raises:
        ValueError: lengths differ, a confidence is nan, a guess is correct where there
            is no landmark, a share is not one, or there is no resample.
    """
    if n_resamples < 1:
        raise ValueError(f"expected at least one resample, got {n_resamples}")
    ranked = _ranked(confidence, correct, landmark, shares)
    rng = np.random.default_rng(seed)
    found = np.array([_values(ranked, rng) for _ in range(n_resamples)])
    outside = (100 - PERCENT) / 2
    low, high = np.percentile(found, [outside, 100 - outside], axis=0).tolist()
    gap, top1, auc, *at_share = zip(low, high, strict=True)
    return Intervals(gap, top1, auc, tuple(at_share))


def gap_difference(
    one: tuple[ArrayLike, ArrayLike],
    other: tuple[ArrayLike, ArrayLike],
    landmark: ArrayLike,
    n_resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """The middle 95% of GAP of ``one`` less that of ``other``, over the same images.

    Both are scored on the same draws, so what makes an image hard or easy for both
    cancels: the interval is narrower than those of the two GAPs are.

    Args:
        one, other: (confidence, correct) of the same images, as for ``intervals``.
        landmark, n_resamples, seed: as for ``intervals``.

    Raises:
        ValueError: as for ``intervals``, or the two are not of equally many images.
    """
    if n_resamples < 1:
        raise ValueError(f"expected at least one resample, got {n_resamples}")
    ranked = [_ranked(*values, landmark, ()) for values in (one, other)]
    orders = [_by_rank(values[0], landmark) for values in (one, other)]
    rng = np.random.default_rng(seed)
    found = np.zeros(n_resamples)
    for i in range(n_resamples):
        shown = _copies(ranked[0].n_positives, rng)  # in the order given
        others = _copies(ranked[0].n_others, rng)
        first, second = (
            _gap(rank, shown[of_shown], others[of_others])
            for rank, (of_shown, of_others) in zip(ranked, orders, strict=True)
        )
        found[i] = first - second
    outside = (100 - PERCENT) / 2
    low, high = np.percentile(found, [outside, 100 - outside]).tolist()
    return low, high


def _by_rank(
    confidence: ArrayLike, landmark: ArrayLike
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Of the landmark images, and of the others, their numbers in the order of rank."""
    confidence, landmark = np.asarray(confidence, float), np.asarray(landmark, bool)
    return (
        np.argsort(-confidence[landmark], kind="stable"),
        np.argsort(-confidence[~landmark], kind="stable"),
    )


def _gap(ranked: _Ranked, shown: NDArray[np.intp], others: NDArray[np.intp]) -> float:
    """GAP where each image, in the order of rank, is there so many times."""
    if ranked.n_positives == 0:
        return float("nan")
    copies = shown[ranked.right]
    wrong = np.cumsum(shown)[ranked.right] - np.cumsum(copies)
    n_right = np.arange(1.0, copies.sum() + 1)
    none = np.concatenate([[0], np.cumsum(others)])[ranked.above]
    ranks = n_right + np.repeat(wrong + none, copies)
    return float((n_right / ranks).sum() / ranked.n_positives)


def _ranked(
    confidence: ArrayLike,
    correct: ArrayLike,
    landmark: ArrayLike,
    shares: Sequence[float],
) -> _Ranked:
    confidence = np.asarray(confidence, np.float64)
    correct, landmark = np.asarray(correct, bool), np.asarray(landmark, bool)
    shapes = confidence.shape, correct.shape, landmark.shape
    if confidence.ndim != 1 or len(set(shapes)) != 1:
        raise ValueError(
            f"confidence, correct and landmark must be equally long vectors, "
            f"got shapes {', '.join(map(str, shapes))}"
        )
    if np.isnan(confidence).any():
        raise ValueError("a confidence is nan, which has no rank")
    if (correct & ~landmark).any():
        raise ValueError("a guess is correct on an image without a landmark")
    order = np.argsort(-confidence, kind="stable")
    confidence, correct, landmark = confidence[order], correct[order], landmark[order]
    others, shown = -confidence[~landmark], -confidence[landmark]  # both ascending
    n_positives, n_others = len(shown), len(others)
    return _Ranked(
        n_positives=n_positives,
        n_others=n_others,
        right=np.flatnonzero(correct[landmark]),
        above=np.cumsum(~landmark)[correct],
        higher=np.searchsorted(others, shown, side="left"),
        as_high=np.searchsorted(others, shown, side="right"),
        weights=[share_weight(n_positives, n_others, share) for share in shares],
    )


def _values(ranked: _Ranked, rng: np.random.Generator) -> list[float]:
    """GAP, top-1, AUC and GAP at each share, of one draw of the images."""
    shown = _copies(ranked.n_positives, rng)  # of each landmark image
    others = np.concatenate([[0], np.cumsum(_copies(ranked.n_others, rng))])
    if ranked.n_positives == 0:
        return [np.nan] * (3 + len(ranked.weights))
    copies = shown[ranked.right]
    wrong = np.cumsum(shown)[ranked.right] - np.cumsum(copies)
    # From here on one element for each copy of a correct guess, in the order of rank.
    n_right = np.arange(1.0, copies.sum() + 1)
    n_landmark = n_right + np.repeat(wrong, copies)
    n_none = np.repeat(others[ranked.above], copies)
    gap, *at_share = (
        float((n_right / (n_landmark + weight * n_none)).sum()) / ranked.n_positives
        for weight in (1.0, *ranked.weights)
    )
    return [
        gap,
        len(n_right) / ranked.n_positives,
        _auc(shown, others, ranked),
        *at_share,
    ]


def _auc(shown: NDArray[np.intp], others: NDArray[np.intp], ranked: _Ranked) -> float:
    """How often a landmark image outranks one of the others (ties half)."""
    if ranked.n_others == 0:
        return float("nan")
    lost = (others[ranked.higher] + others[ranked.as_high]) @ shown / 2
    return float(1 - lost / (ranked.n_positives * ranked.n_others))


def _copies(n: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """How often each of n images comes up in n draws with replacement."""
    drawn = rng.integers(0, n, n, np.int32) if n else np.zeros(0, np.int32)
    return np.bincount(drawn, minlength=n)
