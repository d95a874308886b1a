"""Matching and its geometry, compared with slow definitions and known warps."""

import cv2
import numpy as np
import pytest

from kaggle_kit import config
from kaggle_kit.local_features.matching import (
    count_inliers,
    count_pair_inliers,
    find_inlier_points,
    match_points,
)
from kaggle_kit.local_features.sift import NO_FEATURES, Features, detect_features
from tests.helpers.textures import random_features, texture

SETTINGS = config.Verification()
LOCAL = config.Local(n_features=300)


def warp_image(grey, homography):
    height, width = grey.shape
    return cv2.warpPerspective(grey, homography, (width, height), borderValue=128)


@pytest.fixture(scope="module")
def warp():
    """A homography: slightly rotated, smaller and seen from the side."""
    return np.array([[0.85, 0.06, 12], [-0.05, 0.8, 20], [2e-4, 1e-4, 1]])


@pytest.fixture(scope="module")
def images(warp):
    """A texture, the same one warped, and three others."""
    grey = texture(0, 240, 320)
    others = [texture(seed, 240, 320) for seed in (1, 2, 3)]
    return [detect_features(g, LOCAL) for g in (grey, warp_image(grey, warp), *others)]


def slow_match_points(query, other, ratio):
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
def test_matching_agrees_with_definition(images, ratio):
    query, *others = (Features(*(array[:150] for array in p)) for p in images[:3])
    for other in others:
        matches = match_points(query, other, ratio)
        expected = slow_match_points(query, other, ratio)
        pairs = list(zip(matches.query.tolist(), matches.other.tolist(), strict=True))
        assert pairs == [(i, j) for i, j, _ in expected]
        np.testing.assert_allclose(matches.ratio, [r for *_, r in expected], rtol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_matching_agrees_with_definition_where_many_descriptors_are_equal(seed):
    rng = np.random.default_rng(seed)
    words = rng.integers(0, 256, (6, 128), np.uint8)
    a, b = (
        random_features(n)._replace(
            descriptors=words[rng.integers(0, 6, n)] // (1 + (n > 9))
        )
        for n in (12, 9)
    )
    matches = match_points(a, b, 1.0)
    expected = slow_match_points(a, b, 1.0)
    assert list(zip(matches.query, matches.other)) == [(i, j) for i, j, _ in expected]


def slow_inliers(query, other, settings):
    matches = match_points(query, other, settings.ratio)
    best = 0.0
    for i, a in zip(matches.query, matches.other):
        scale = other.sizes[a] / query.sizes[i]
        total = 0.0
        for j, b, ratio in zip(matches.query, matches.other, matches.ratio):
            expected = other.points[a] + scale * (query.points[j] - query.points[i])
            error = np.linalg.norm(other.points[b] - expected) / scale**0.5
            scale_change = np.log(other.sizes[b] / query.sizes[j] / scale)
            if error < settings.error_px and abs(scale_change) < np.log(2):
                total += 1 - ratio
        best = max(best, total)
    return best


def test_inliers_agree_with_definition(images):
    for other in images[1:4]:
        assert count_pair_inliers(images[0], other, SETTINGS) == pytest.approx(
            slow_inliers(images[0], other, SETTINGS), rel=1e-4
        )


def test_a_warped_image_agrees_and_others_do_not(images):
    query, same, *others = images
    seen = count_pair_inliers(query, same, SETTINGS)
    assert seen > 10 * max(
        count_pair_inliers(query, other, SETTINGS) for other in others
    )
    assert len(find_inlier_points(query, same, SETTINGS)[0]) > 60
    assert (
        max(len(find_inlier_points(query, other, SETTINGS)[0]) for other in others) < 25
    )


def test_matches_follow_the_warp(images, warp):
    query, other = find_inlier_points(*images[:2], SETTINGS)
    expected = cv2.perspectiveTransform(query[:, None], warp)[:, 0]
    assert query.shape == other.shape
    assert np.median(np.linalg.norm(expected - other, axis=1)) < 1.5
    assert (np.linalg.norm(expected - other, axis=1) < 10).mean() > 0.9


def test_an_image_agrees_with_itself_most_of_all(images):
    itself = count_pair_inliers(images[0], images[0], SETTINGS)
    assert itself > count_pair_inliers(images[0], images[1], SETTINGS)
    assert len(find_inlier_points(images[0], images[0], SETTINGS)[0]) > 0.9 * len(
        images[0].points
    )


def test_a_mirrored_image_does_not_agree(images):
    grey = texture(0, 240, 320)
    mirrored = detect_features(np.ascontiguousarray(grey[:, ::-1]), LOCAL)
    assert count_pair_inliers(images[0], mirrored, SETTINGS) < 0.1 * count_pair_inliers(
        *images[:2], SETTINGS
    )


def test_points_at_shuffled_places_do_not_agree(images):
    """Similar descriptors alone are no inliers; their geometry must agree too."""
    query = images[0]
    order = np.random.default_rng(0).permutation(len(query.points))
    shuffled = query._replace(points=query.points[order])
    inliers = count_pair_inliers(query, shuffled, SETTINGS)
    assert inliers < 0.1 * count_pair_inliers(query, query, SETTINGS)


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_images_with_few_points_are_compared_without_errors(images, n):
    few = Features(*(array[:n] for array in images[0]))
    for pair in ((few, images[0]), (images[0], few), (few, few)):
        value = count_pair_inliers(*pair, SETTINGS)
        points = find_inlier_points(*pair, SETTINGS)
        assert 0 <= value <= n
        assert points[0].shape == points[1].shape == (len(points[0]), 2)
    assert count_pair_inliers(images[0], NO_FEATURES, SETTINGS) == 0


def test_images_of_one_repeated_descriptor_give_nothing():
    repeated = random_features(9)._replace(descriptors=np.full((9, 128), 45, np.uint8))
    assert count_pair_inliers(repeated, repeated, SETTINGS) == 0


def test_counts_of_pairs_are_the_same_alone_and_repeated(images):
    rows = np.array([[1, 0, 2], [3, 4, 5], [0, 0, 1], [2, 5, 4]])
    gallery = [*images, NO_FEATURES]
    queries = [images[0], images[1], NO_FEATURES, images[4]]
    inliers = count_inliers(queries, gallery, rows, SETTINGS)
    assert inliers.shape == rows.shape
    assert inliers.dtype == np.float32
    for query, row, values in zip(queries, rows, inliers, strict=True):
        expected = [count_pair_inliers(query, gallery[i], SETTINGS) for i in row]
        assert values.tolist() == expected
        alone = count_inliers([query], gallery, row[None], SETTINGS)
        np.testing.assert_array_equal(alone[0], values)
    for _ in range(3):
        repetition = count_inliers(queries, dict(enumerate(gallery)), rows, SETTINGS)
        np.testing.assert_array_equal(repetition, inliers)


def test_counts_of_no_pairs_are_empty(images):
    assert count_inliers([], images, np.empty((0, 5), np.int64), SETTINGS).shape == (
        0,
        5,
    )
    none = count_inliers(images[:2], [], np.empty((2, 0), np.int64), SETTINGS)
    assert none.shape == (2, 0)


def test_an_error_in_a_thread_is_raised(images):
    with pytest.raises(IndexError):
        count_inliers(images[:1], images, np.array([[99]]), SETTINGS)


def test_magsac_finds_the_homography_of_an_image_seen_from_the_side():
    rng = np.random.default_rng(0)
    image = texture(7)
    height, width = image.shape
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    moved = corners + rng.uniform(-0.12, 0.12, (4, 2)).astype(np.float32) * width
    view = cv2.getPerspectiveTransform(corners, moved)
    seen = cv2.warpPerspective(image, view, (width, height), borderValue=128)
    one, other = (
        detect_features(image, config.Local()),
        detect_features(seen, config.Local()),
    )
    magsac = config.Verification(geometry="homography", ratio=0.85, error_px=3)
    start, end = find_inlier_points(one, other, magsac)
    assert len(start) > 30
    expected = cv2.perspectiveTransform(start[:, None], view)[:, 0]
    assert np.abs(expected - end).max() < 8
    assert count_pair_inliers(one, other, magsac) > 5 * count_pair_inliers(
        one, random_features(200), magsac
    )
    assert count_pair_inliers(one, NO_FEATURES, magsac) == 0
    assert count_pair_inliers(one, other, magsac) == count_pair_inliers(
        one, other, magsac
    )
