"""Groups of near-duplicates, compared with all pairs; on drawn and on real images."""

import tracemalloc
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from kaggle_kit.data import near_duplicates
from kaggle_kit.data.near_duplicates import (
    MAX_CHECK,
    MAX_DISTANCE,
    group,
    hash_files,
    near,
)

LIMITS = (0, 1, 2, 3, 7, MAX_DISTANCE, 30)


def flip(value, bits):
    """A hash in which these bits, of 0 to 191, are others."""
    changed = value.copy()
    for bit in bits:
        changed[bit // 64] ^= np.uint64(1) << np.uint64(bit % 64)
    return changed


def planted(rng, limit, n=40, around=7):
    """Random hashes, and around each some that differ in about as many bits as may be."""
    hashes = []
    for _ in range(n):
        value = rng.integers(0, 2**64, 3, np.uint64)
        for _ in range(around):
            first = rng.permutation(128)[: rng.integers(0, limit + 4)]
            second = 128 + rng.permutation(64)[: rng.integers(0, MAX_CHECK + 4)]
            hashes.append(flip(value, [*first, *second]))
        if rng.random() < 0.3:
            hashes.append(value)
            hashes.append(value)
    hashes += [np.zeros(3, np.uint64)] * 3
    return np.array(hashes)[rng.permutation(len(hashes))]


def is_pair(one, other, limit):
    """By the definition."""
    if not one.any() or not other.any():
        return False
    bits = [(int(a) ^ int(b)).bit_count() for a, b in zip(one, other, strict=True)]
    return bits[0] + bits[1] <= limit and bits[2] <= MAX_CHECK


def groups_by_all_pairs(hashes, limit):
    """The sets of indices that pairs connect."""
    home = [{i} for i in range(len(hashes))]
    for i, j in combinations(range(len(hashes)), 2):
        if home[i] is not home[j] and is_pair(hashes[i], hashes[j], limit):
            home[i] |= home[j]
            for k in home[j]:
                home[k] = home[i]
    return {frozenset(members) for members in home}


def as_sets(groups):
    return {frozenset(np.flatnonzero(groups == i)) for i in np.unique(groups)}


@pytest.mark.parametrize("limit", LIMITS)
def test_groups_are_those_of_all_pairs(limit):
    hashes = planted(np.random.default_rng(limit), limit)
    expected = groups_by_all_pairs(hashes, limit)
    assert as_sets(group(hashes, limit)) == expected
    assert 40 < len(expected) < len(hashes) - 20  # else it would be too easy


@pytest.mark.parametrize("limit", LIMITS)
def test_what_is_near_others_is_what_has_a_pair_there(limit):
    hashes = planted(np.random.default_rng(100 + limit), limit)
    some, others = hashes[:150], hashes[150:]
    expected = [any(is_pair(a, b, limit) for b in others) for a in some]
    assert near(some, others, limit).tolist() == expected
    assert 15 < sum(expected) < 135
    assert not near(some, others[:0], limit).any()
    assert near(some[:0], others, limit).shape == (0,)


def test_a_pair_at_the_limit_counts_and_one_beyond_it_does_not():
    rng = np.random.default_rng(5)
    for _ in range(10):
        value = rng.integers(0, 2**64, 3, np.uint64)
        first, second = rng.permutation(128), 128 + rng.permutation(64)
        at = flip(value, [*first[:MAX_DISTANCE], *second[:MAX_CHECK]])
        far = flip(value, [*first[: MAX_DISTANCE + 1], *second[:MAX_CHECK]])
        unsure = flip(value, [*first[:MAX_DISTANCE], *second[: MAX_CHECK + 1]])
        for other, expected in ((at, True), (far, False), (unsure, False)):
            pair = np.array([value, other])
            assert (group(pair)[0] == group(pair)[1]) == expected
            assert near(pair[:1], pair[1:]).tolist() == [expected]


def test_groups_do_not_depend_on_order_and_are_numbered_by_their_first_images():
    rng = np.random.default_rng(6)
    hashes = planted(rng, MAX_DISTANCE)
    groups = group(hashes)
    assert (group(hashes) == groups).all()
    for _ in range(5):
        order = rng.permutation(len(hashes))
        shuffled = group(hashes[order])
        moved = {frozenset(order[list(members)]) for members in as_sets(shuffled)}
        assert moved == as_sets(groups)
        _, first = np.unique(shuffled, return_index=True)
        assert (np.diff(first) > 0).all() and shuffled.max() == len(first) - 1


def test_blocks_of_any_size_give_the_same(monkeypatch):
    hashes = planted(np.random.default_rng(7), MAX_DISTANCE)
    groups, is_near = group(hashes), near(hashes[:150], hashes[150:])
    for size in (1, 3, 50):
        monkeypatch.setattr(near_duplicates, "BLOCK", size)
        assert (group(hashes) == groups).all()
        assert (near(hashes[:150], hashes[150:]) == is_near).all()


def test_an_image_without_a_hash_is_near_none():
    nothing = np.zeros((4, 3), np.uint64)
    assert group(nothing).tolist() == [0, 1, 2, 3]
    assert not near(nothing, nothing).any()
    assert group(nothing[:0]).tolist() == []


def test_thousands_of_equal_hashes_are_one_group_in_little_memory():
    pair = np.random.default_rng(9).integers(0, 2**64, (2, 3), np.uint64)
    hashes = np.repeat(pair, 50_000, axis=0)
    tracemalloc.start()
    groups = group(hashes)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.bincount(groups).tolist() == [50_000, 50_000]
    assert peak < 30e6  # all pairs would be billions


def test_many_almost_empty_hashes_are_no_chain():
    """As of layers of sky and sea, which differ by a few bits each: the check tells them."""
    rng = np.random.default_rng(8)
    hashes = np.array(
        [
            flip(np.zeros(3, np.uint64), rng.permutation(128)[: rng.integers(0, 4)])
            for _ in range(400)
        ]
    )
    hashes[:, 2] = rng.integers(1, 2**64, 400, np.uint64)
    assert np.bincount(group(hashes)).max() < 5
    hashes[:, 2] = 1  # what makes it hard is that all are near without the check
    assert np.bincount(group(hashes)).max() == 400


def test_copies_of_drawn_images_share_a_group_and_other_images_do_not(
    competition, tmp_path
):
    sources = sorted((competition / "train").rglob("*.jpg"))
    copies = [tmp_path / source.name for source in sources]
    for source, copy in zip(sources, copies, strict=True):
        with Image.open(source) as image:
            half = image.resize((image.width // 2, image.height // 2))
            half.save(copy, quality=90)
    n = len(sources)
    groups = group(hash_files([*sources, *copies]))
    assert len(set(groups[:n].tolist())) == n
    shared = groups[:n] == groups[n:]
    assert shared.mean() >= 0.95
    assert (near(hash_files(copies), hash_files(sources)) == shared).all()


@pytest.mark.extended
def test_real_images_that_share_a_group_share_local_features(landmarks45):
    """Their geometry is checked by SIFT, which sees none of what hashes see."""
    cv2 = pytest.importorskip("cv2")
    from kaggle_kit import config
    from kaggle_kit.local_features.matching import count_pair_inliers
    from kaggle_kit.local_features.sift import detect_features, shrink

    local, verification = config.Local(), config.Verification()
    paths = sorted(landmarks45.rglob("*.jpg"))
    groups = group(hash_files(paths))
    sizes = np.bincount(groups)
    assert (sizes > 1).sum() >= 20 and sizes.max() < 10
    for number in np.flatnonzero(sizes > 1):
        features = [
            detect_features(shrink(pixels[:, :, ::-1], local.long_side), local)
            for pixels in (
                cv2.imread(str(paths[i])) for i in np.flatnonzero(groups == number)
            )
        ]
        for one, other in combinations(features, 2):
            # chance gives less than 2, and another image of the place some 10 to 50
            assert count_pair_inliers(one, other, verification) > 100
