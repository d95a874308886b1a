"""Geometric verification: how many local features of two images agree on one geometry.

A single match of two points gives a hypothesis for the transformation between the images:
the translation from point to point, and the ratio of their sizes as scale. Correct matches
agree on one hypothesis; random matches do not. All hypotheses are tested, so the result is
deterministic.

Source: fast spatial matching, Philbin et al., CVPR 2007, section 3.3, with translation and
scale. They refine the best hypotheses and count inliers; here no hypothesis is refined, and
an inlier has a weight.
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

MAX_OCTAVES = 1  # scales of agreeing matches differ by less than a factor of 2
MIN_MATCHES = 4  # that determine a homography


class Matches(NamedTuple):
    """Pairs of similar points, in the order of the query's points.

    Attributes:
        query: (m,) indices into the query's points.
        other: (m,) indices into the other image's points, each at most once.
        ratio: (m,) float32, the distance of the pair divided by that of the query's point
            to its second nearest neighbour; below 1.
    """

    query: NDArray[np.intp]
    other: NDArray[np.intp]
    ratio: NDArray[np.float32]


def match_points(query: Features, other: Features, ratio: float) -> Matches:
    """Match each point of the query to its nearest neighbour in the other image, exactly.

    Lowe's ratio test drops ambiguous matches. Of several points with the same nearest
    neighbour, the one with the smallest distance is matched, the first on a tie.

    Args:
        ratio: upper bound of the nearest distance divided by the second nearest.
    """
    if not len(query.points) or len(other.points) < 2:
        empty = np.empty(0, np.intp)
        return Matches(empty, empty, np.empty(0, np.float32))
    # Squared distances without the query's squared length. All terms are integers below
    # 2**24, which float32 adds exactly in any order.
    x = query.descriptors.astype(np.float32)
    y = other.descriptors.astype(np.float32)
    square_x, square_y = (np.einsum("nd,nd->n", z, z) for z in (x, y))
    distance = x @ (y.T * np.float32(-2))
    distance += square_y
    rows = np.arange(len(x))
    nearest = distance.argmin(axis=1)
    first = distance[rows, nearest] + square_x
    distance[rows, nearest] = np.inf
    second = distance.min(axis=1) + square_x
    unambiguous = np.flatnonzero(first < np.float32(ratio) ** 2 * second)
    order = unambiguous[np.argsort(first[unambiguous], kind="stable")]
    _, first_use = np.unique(nearest[order], return_index=True)
    matched = np.sort(order[first_use])
    ratios = np.sqrt(first[matched] / second[matched])
    return Matches(matched, nearest[matched], ratios)


def count_pair_inliers(
    query: Features, other: Features, settings: config.Verification
) -> float:
    """Count the matches of two images that agree on one geometry, each with a weight.

    Match i joins keypoint p_i of the query to keypoint o_i of the other image::

        s_i = size of o_i / size of p_i
        e_ij = |o_j - (o_i + s_i (p_j - p_i))| / sqrt(s_i)
        j agrees with i if e_ij < error_px and s_j is between s_i / 2 and 2 s_i
        inliers = max_i sum (1 - ratio_j) over the matches j that agree with i

    ratio_j is that of ``Matches``. An unambiguous match has a weight 1 - ratio_j near 1,
    an ambiguous one near 0. Images of different places reach a sum of 0.7 by chance and
    rarely 1.4; a sum of 3 is certain. Without any match the result is 0.

    With ``geometry: homography``, the sum is over the matches that agree with the
    homography that OpenCV's MAGSAC++ finds (Barath et al., CVPR 2020).
    """
    matches = match_points(query, other, settings.ratio)
    inliers = _select_inliers(query, other, matches, settings)
    return float((1 - matches.ratio[inliers]).sum())


def find_inlier_points(
    query: Features, other: Features, settings: config.Verification
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The points that ``count_pair_inliers`` counts.

    Returns:
        (m, 2) points of the query and (m, 2) of the other image: x and y in pixels of the
        shrunk images.
    """
    matches = match_points(query, other, settings.ratio)
    inliers = _select_inliers(query, other, matches, settings)
    return query.points[matches.query[inliers]], other.points[matches.other[inliers]]


def _select_inliers(
    query: Features, other: Features, matches: Matches, settings: config.Verification
) -> NDArray[np.bool_]:
    """Whether each match agrees with the best hypothesis, (m,)."""
    if settings.geometry == "homography":
        return _fit_homography(query, other, matches, settings.error_px)
    if not len(matches.ratio):
        return np.zeros(0, np.bool_)
    agree = _test_agreement(query, other, matches, settings.error_px)
    # Not a matrix product: its order of summation could vary.
    weights = (agree * (1 - matches.ratio)).sum(axis=1)
    return agree[weights.argmax()]


def _fit_homography(
    query: Features, other: Features, matches: Matches, error_px: float
) -> NDArray[np.bool_]:
    """Whether each match agrees with the best homography, (m,); the seed is fixed."""
    if len(matches.ratio) < MIN_MATCHES:
        return np.zeros(len(matches.ratio), np.bool_)
    points = query.points[matches.query], other.points[matches.other]
    _, mask = cv2.findHomography(*points, cv2.USAC_MAGSAC, error_px)
    if mask is None:
        return np.zeros(len(matches.ratio), np.bool_)
    return np.asarray(mask).ravel() > 0


def _test_agreement(
    query: Features, other: Features, matches: Matches, error_px: float
) -> NDArray[np.bool_]:
    """Whether match j agrees with the hypothesis of match i, (m, m)."""
    p, o = query.points[matches.query], other.points[matches.other]
    scale = other.sizes[matches.other] / query.sizes[matches.query]
    square_error = np.zeros((len(p), len(p)), np.float32)
    for axis in (0, 1):
        expected = scale[:, None] * (p[None, :, axis] - p[:, None, axis])
        square_error += (o[None, :, axis] - o[:, None, axis] - expected) ** 2
    is_near = square_error < scale[:, None] * np.float32(error_px**2)
    octaves = np.log2(scale)
    return is_near & (np.abs(octaves[None] - octaves[:, None]) < MAX_OCTAVES)


def count_inliers(
    queries: Sequence[Features],
    gallery: Sequence[Features] | Mapping[int, Features],
    rows: NDArray[np.int64],
    settings: config.Verification,
) -> NDArray[np.float32]:
    """Count the weighted inliers of each query and its candidates, on all cores.

    Args:
        queries: q images.
        gallery: images, by the indices in ``rows``.
        rows: (q, k) candidates of each query.

    Returns:
        (q, k); a value depends on its two images only.
    """
    inliers = np.zeros(rows.shape, np.float32)

    def count_query(i: int) -> None:
        inliers[i] = [
            count_pair_inliers(queries[i], gallery[row], settings)
            for row in rows[i].tolist()
        ]

    # One query per core: several cores per matrix product would wait for each other.
    with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(count_query, range(len(rows))))
    return inliers
