"""Geometry of two photos: how many local features match and lie alike in both.

Every match alone says how the whole of one photo would lie in the other: moved from
point to point and scaled as the point's size is. Matches of the same thing agree on
that; those by chance agree on nothing. As all matches are tried, nothing is random
(fast spatial matching: Philbin et al., CVPR 2007, section 3.3, for upright photos).
"""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from kaggle_kit import config
from kaggle_kit.local_features.sift import Features, cv2

OCTAVES = 1  # scales that agree differ by less than a factor of 2
FEWEST = 4  # matches that determine a homography


class Tentative(NamedTuple):
    """Points that look alike, in the order of the query's.

    Attributes:
        query: (m,) places among the query's points.
        other: (m,) places among the other photo's points, each at most once.
        ratio: (m,) float32, of the distance to that of the second nearest; below 1.
    """

    query: NDArray[np.intp]
    other: NDArray[np.intp]
    ratio: NDArray[np.float32]


def tentative(query: Features, other: Features, ratio: float) -> Tentative:
    """Match each point to the most similar one of the other photo, exactly.

    A match stays if it is clearly nearer than the second nearest (Lowe's ratio test).
    Of several points matched to one, the nearest stays, or the first of equally near.

    Args:
        ratio: largest of the nearest distance to the second.
    """
    if not len(query.points) or len(other.points) < 2:
        empty = np.empty(0, np.intp)
        return Tentative(empty, empty, np.empty(0, np.float32))
    # Squared distances but for the query's own length. All are whole numbers below
    # 2**24, which float32 adds exactly, in whatever order.
    x = query.descriptors.astype(np.float32)
    y = other.descriptors.astype(np.float32)
    length_x, length_y = (np.einsum("nd,nd->n", z, z) for z in (x, y))
    distance = x @ (y.T * np.float32(-2))
    distance += length_y
    rows = np.arange(len(x))
    nearest = distance.argmin(axis=1)
    first = distance[rows, nearest] + length_x
    distance[rows, nearest] = np.inf
    second = distance.min(axis=1) + length_x
    clear = np.flatnonzero(first < np.float32(ratio) ** 2 * second)
    order = clear[np.argsort(first[clear], kind="stable")]
    _, kept = np.unique(nearest[order], return_index=True)
    chosen = np.sort(order[kept])
    return Tentative(chosen, nearest[chosen], np.sqrt(first[chosen] / second[chosen]))


def inliers(query: Features, other: Features, settings: config.Verification) -> float:
    """How many matches of two photos agree on how one lies in the other, weighed.

    ::

        match i = (p_i, size p_i) -> (o_i, size o_i),   s_i = size o_i / size p_i
        e_ij = |o_j - (o_i + s_i (p_j - p_i))| / sqrt(s_i)
        j agrees with i if e_ij < error_px and s_j is between s_i / 2 and 2 s_i
        inliers = max_i sum (1 - ratio_j) over the matches j that agree with i

    A match weighs nothing if the second nearest is as near and up to 1 if none is. Two
    photos of different places come to 0.7 by chance, rarely to 1.4; 3 is certain.
    0 without any match.

    With ``geometry: homography`` those matches are summed up that agree on the homography
    that MAGSAC finds (Barath et al., CVPR 2019).
    """
    found = tentative(query, other, settings.ratio)
    return float((1 - found.ratio[_agreeing(query, other, found, settings)]).sum())


def matches(
    query: Features, other: Features, settings: config.Verification
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The points that ``inliers`` counts, (m, 2) of the query and (m, 2) of the other.

    They are x and y in pixels of the shrunk photos.
    """
    found = tentative(query, other, settings.ratio)
    best = _agreeing(query, other, found, settings)
    return query.points[found.query[best]], other.points[found.other[best]]


def _agreeing(
    query: Features, other: Features, found: Tentative, settings: config.Verification
) -> NDArray[np.bool_]:
    """The matches that agree with the best of all, (m,)."""
    if settings.geometry == "homography":
        return _on_homography(query, other, found, settings.error_px)
    if not len(found.ratio):
        return np.zeros(0, np.bool_)
    agree = _agreement(query, other, found, settings.error_px)
    return agree[_votes(agree, found).argmax()]


def _on_homography(
    query: Features, other: Features, found: Tentative, error_px: float
) -> NDArray[np.bool_]:
    """The matches within an error of the best homography; its random draws are seeded."""
    if len(found.ratio) < FEWEST:
        return np.zeros(len(found.ratio), np.bool_)
    points = query.points[found.query], other.points[found.other]
    _, inside = cv2.findHomography(*points, cv2.USAC_MAGSAC, error_px)
    if inside is None:
        return np.zeros(len(found.ratio), np.bool_)
    return np.asarray(inside).ravel() > 0


def _agreement(
    query: Features, other: Features, found: Tentative, error_px: float
) -> NDArray[np.bool_]:
    """Whether match j agrees with match i, (m, m)."""
    p, o = query.points[found.query], other.points[found.other]
    scale = other.sizes[found.other] / query.sizes[found.query]
    square = np.zeros((len(p), len(p)), np.float32)
    for axis in (0, 1):
        moved = scale[:, None] * (p[None, :, axis] - p[:, None, axis])
        square += (o[None, :, axis] - o[:, None, axis] - moved) ** 2
    near = square < scale[:, None] * np.float32(error_px**2)
    octaves = np.log2(scale)
    return near & (np.abs(octaves[None] - octaves[:, None]) < OCTAVES)


def _votes(agree: NDArray[np.bool_], found: Tentative) -> NDArray[np.float32]:
    """What the matches weigh that agree with each, (m,)."""
    return (agree * (1 - found.ratio)).sum(axis=1)  # not a product: always in one order


def count_inliers(
    queries: Sequence[Features],
    gallery: Sequence[Features] | Mapping[int, Features],
    rows: NDArray[np.int64],
    settings: config.Verification,
) -> NDArray[np.float32]:
    """Count the inliers of each query and its candidates, on all cores.

    Args:
        queries: q photos.
        gallery: photos that ``rows`` points into.
        rows: (q, k) candidates of each query.

    Returns:
        (q, k) weighed inliers; each depends on its own two photos alone.
    """
    found = np.zeros(rows.shape, np.float32)

    def one(place: int) -> None:
        query = queries[place]
        found[place] = [
            inliers(query, gallery[i], settings) for i in rows[place].tolist()
        ]

    # One query per core: several cores per matrix product would wait for each other.
    with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(one, range(len(rows))))
    return found
