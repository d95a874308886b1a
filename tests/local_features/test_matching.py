"""Matching and its geometry: held against slow definitions and known warps."""

import cv2
import numpy as np
import pytest

from kaggle_kit import config
from kaggle_kit.local_features.matching import (
    count_inliers,
    inliers,
    matches,
    tentative,
)
from kaggle_kit.local_features.sift import NO_FEATURES, Features, features
from tests.helpers.textures import some, texture

SETTINGS = config.Verification()
LOCAL = config.Local(n_features=300)


def warped(grey, homography):
    height, width = grey.shape
    return cv2.warpPerspective(grey, homography, (width, height), borderValue=128)


@pytest.fixture(scope="module")
def warp():
    """A little turned, smaller and seen from the side."""
    return np.array([[0.85, 0.06, 12], [-0.05, 0.8, 20], [2e-4, 1e-4, 1]])


@pytest.fixture(scope="module")
def photos(warp):
    """A picture, the same one warped, and three others."""
    grey = texture(0, 240, 320)
    others = [texture(seed, 240, 320) for seed in (1, 2, 3)]
    return [features(g, LOCAL) for g in (grey, warped(grey, warp), *others)]


def slow_tentative(query, other, ratio):
    best = {}
    for i, x in enumerate(query.descriptors.astype(int)):
        squares = [int(((x - y) ** 2).sum()) for y in other.descriptors.astype(int)]
        order = sorted(range(len(squares)), key=lambda j: (squares[j], j))
        first, second = squares[order[0]], squares[order[1]]
        j = order[0]
        if first < ratio**2 * second and (j not in best or first < best[j][0]):
            best[j] = first, i, (first / second) ** 0.5
    return sorted((i, j, r) for j, (_, i, r) in best.items())


@pytest.mark.parametrize("ratio", [0.8, 0.95, 1.0])
def test_matching_agrees_with_definition(photos, ratio):
    query, *others = (Features(*(array[:150] for array in p)) for p in photos[:3])
    for other in others:
        found = tentative(query, other, ratio)
        expected = slow_tentative(query, other, ratio)
        pairs = list(zip(found.query.tolist(), found.other.tolist(), strict=True))
        assert pairs == [(i, j) for i, j, _ in expected]
        np.testing.assert_allclose(found.ratio, [r for *_, r in expected], rtol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_matching_agrees_with_definition_where_many_are_equal(seed):
    rng = np.random.default_rng(seed)
    words = rng.integers(0, 256, (6, 128), np.uint8)
    a, b = (
        some(n)._replace(descriptors=words[rng.integers(0, 6, n)] // (1 + (n > 9)))
        for n in (12, 9)
    )
    found = tentative(a, b, 1.0)
    expected = slow_tentative(a, b, 1.0)
    assert list(zip(found.query, found.other)) == [(i, j) for i, j, _ in expected]


def slow_inliers(query, other, settings):
    found = tentative(query, other, settings.ratio)
    best = 0.0
    for i, a in zip(found.query, found.other):
        scale = other.sizes[a] / query.sizes[i]
        total = 0.0
        for j, b, ratio in zip(found.query, found.other, found.ratio):
            expected = other.points[a] + scale * (query.points[j] - query.points[i])
            off = np.linalg.norm(other.points[b] - expected) / scale**0.5
            change = np.log(other.sizes[b] / query.sizes[j] / scale)
            if off < settings.error_px and abs(change) < np.log(2):
                total += 1 - ratio
        best = max(best, total)
    return best


def test_inliers_agree_with_definition(photos):
    for other in photos[1:4]:
        assert inliers(photos[0], other, SETTINGS) == pytest.approx(
            slow_inliers(photos[0], other, SETTINGS), rel=1e-4
        )


def test_a_warped_photo_agrees_and_others_do_not(photos):
    query, same, *others = photos
    seen = inliers(query, same, SETTINGS)
    assert seen > 10 * max(inliers(query, other, SETTINGS) for other in others)
    assert len(matches(query, same, SETTINGS)[0]) > 60
    assert max(len(matches(query, other, SETTINGS)[0]) for other in others) < 25


def test_matches_follow_the_warp(photos, warp):
    query, other = matches(*photos[:2], SETTINGS)
    expected = cv2.perspectiveTransform(query[:, None], warp)[:, 0]
    assert query.shape == other.shape
    assert np.median(np.linalg.norm(expected - other, axis=1)) < 1.5
    assert (np.linalg.norm(expected - other, axis=1) < 10).mean() > 0.9


def test_a_photo_agrees_with_itself_most_of_all(photos):
    itself = inliers(photos[0], photos[0], SETTINGS)
    assert itself > inliers(photos[0], photos[1], SETTINGS)
    assert len(matches(photos[0], photos[0], SETTINGS)[0]) > 0.9 * len(photos[0].points)


def test_a_mirrored_photo_does_not_agree(photos):
    grey = texture(0, 240, 320)
    mirrored = features(np.ascontiguousarray(grey[:, ::-1]), LOCAL)
    assert inliers(photos[0], mirrored, SETTINGS) < 0.1 * inliers(*photos[:2], SETTINGS)


def test_points_that_moved_apart_do_not_agree(photos):
    """The same descriptors, their places shuffled: what looks alike must lie alike."""
    query = photos[0]
    order = np.random.default_rng(0).permutation(len(query.points))
    shuffled = query._replace(points=query.points[order])
    seen = inliers(query, shuffled, SETTINGS)
    assert seen < 0.1 * inliers(query, query, SETTINGS)


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_photos_with_few_points_are_compared_all_the_same(photos, n):
    few = Features(*(array[:n] for array in photos[0]))
    for pair in ((few, photos[0]), (photos[0], few), (few, few)):
        value = inliers(*pair, SETTINGS)
        points = matches(*pair, SETTINGS)
        assert 0 <= value <= n
        assert points[0].shape == points[1].shape == (len(points[0]), 2)
    assert inliers(photos[0], NO_FEATURES, SETTINGS) == 0


def test_photos_of_one_repeated_descriptor_give_nothing():
    repeated = some(9)._replace(descriptors=np.full((9, 128), 45, np.uint8))
    assert inliers(repeated, repeated, SETTINGS) == 0


def test_verified_agrees_pair_by_pair_alone_and_again(photos):
    rows = np.array([[1, 0, 2], [3, 4, 5], [0, 0, 1], [2, 5, 4]])
    gallery = [*photos, NO_FEATURES]
    queries = [photos[0], photos[1], NO_FEATURES, photos[4]]
    found = count_inliers(queries, gallery, rows, SETTINGS)
    assert found.shape == rows.shape
    assert found.dtype == np.float32
    for query, row, values in zip(queries, rows, found, strict=True):
        expected = [inliers(query, gallery[i], SETTINGS) for i in row]
        assert values.tolist() == expected
        alone = count_inliers([query], gallery, row[None], SETTINGS)
        np.testing.assert_array_equal(alone[0], values)
    for _ in range(3):
        again = count_inliers(queries, dict(enumerate(gallery)), rows, SETTINGS)
        np.testing.assert_array_equal(again, found)


def test_verifying_nothing_gives_nothing(photos):
    assert count_inliers([], photos, np.empty((0, 5), np.int64), SETTINGS).shape == (
        0,
        5,
    )
    none = count_inliers(photos[:2], [], np.empty((2, 0), np.int64), SETTINGS)
    assert none.shape == (2, 0)


def test_a_fault_in_a_thread_is_not_swallowed(photos):
    with pytest.raises(IndexError):
        count_inliers(photos[:1], photos, np.array([[99]]), SETTINGS)


def test_magsac_finds_the_homography_of_a_photo_seen_from_the_side():
    rng = np.random.default_rng(0)
    photo = texture(7)
    height, width = photo.shape
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    moved = corners + rng.uniform(-0.12, 0.12, (4, 2)).astype(np.float32) * width
    view = cv2.getPerspectiveTransform(corners, moved)
    seen = cv2.warpPerspective(photo, view, (width, height), borderValue=128)
    one, other = features(photo, config.Local()), features(seen, config.Local())
    magsac = config.Verification(geometry="homography", ratio=0.85, error_px=3)
    start, end = matches(one, other, magsac)
    assert len(start) > 30
    expected = cv2.perspectiveTransform(start[:, None], view)[:, 0]
    assert np.abs(expected - end).max() < 8
    assert inliers(one, other, magsac) > 5 * inliers(one, some(200), magsac)
    assert inliers(one, NO_FEATURES, magsac) == 0
    assert inliers(one, other, magsac) == inliers(one, other, magsac)
