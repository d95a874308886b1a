"""Choosing and splitting: seeded, stratified, and nothing on two sides."""

import hashlib
import re
import shutil
import time
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from kaggle_kit import config
from kaggle_kit.data.index import index
from kaggle_kit.data.layout import image_path
from kaggle_kit.data.non_landmarks import ORIGINS, POOLS, draw_pools
from kaggle_kit.data.split import count_classes, split, split_unknown
from kaggle_kit.data.subset import choose, separate_unknown, subset
from kaggle_kit.errors import ArtefactError, DataError
from kaggle_kit.storage import tables
from kaggle_kit.storage.tables import Label

UNLISTED = config.Pools(source="unlisted")
WITH_POOLS = config.Subset(non_landmarks=UNLISTED)


def rng(seed=0):
    return np.random.default_rng(seed)


def labels_of(counts, groups=None):
    """``counts[landmark]`` images of each landmark, in a shuffled order."""
    labels = [
        Label(f"{landmark:08x}{i:08x}", landmark, groups(landmark, i) if groups else "")
        for landmark, n in counts.items()
        for i in range(n)
    ]
    return [labels[i] for i in rng(9).permutation(len(labels))]


COUNTS = {7: 1, 8: 2, 9: 5, 10: 5, 11: 30, 12: 3}


def chosen(**settings):
    kept = choose(labels_of(COUNTS), config.Subset(**settings), rng())
    return dict(Counter(label.landmark_id for label in kept))


def test_all_take_part_unless_told_otherwise():
    assert chosen() == COUNTS


def test_landmarks_are_chosen_by_list():
    assert chosen(landmarks=(7, 12)) == {7: 1, 12: 3}


def test_landmarks_are_chosen_by_most_images_ties_by_id():
    assert chosen(n_landmarks=2) == {11: 30, 9: 5}
    assert chosen(n_landmarks=3) == {11: 30, 9: 5, 10: 5}


def test_landmarks_are_chosen_at_random_by_seed():
    settings = config.Subset(n_landmarks=3, choice="random")
    draws = [
        frozenset(x.landmark_id for x in choose(labels_of(COUNTS), settings, rng(seed)))
        for seed in (0, 0, 1, 2, 3)
    ]
    assert draws[0] == draws[1] and len(set(draws)) > 1
    assert {len(draw) for draw in draws} == {3}


def test_rare_landmarks_are_left_out_and_common_ones_capped():
    assert chosen(min_images=3, max_images=4) == {9: 4, 10: 4, 11: 4, 12: 3}


LISTED = "subset.landmarks: expected landmarks of train.csv, got"
OTHERS = "others that it does not have; remove them from the list"
LOWER = "lower n_landmarks or min_images"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"landmarks": (7, 99)}, f"{LISTED} 99 and 0 {OTHERS}"),
        (
            {"landmarks": (4000, 70, 7, 1000, 300, 60, 20, 5)},
            f"{LISTED} 5, 20, 60, 70, 300 and 2 {OTHERS}",
        ),
        (
            {"n_landmarks": 7},
            f"subset: expected 7 landmarks with at least 1 images, got 6 in train.csv; {LOWER}",
        ),
        (
            {"min_images": 31},
            f"subset: expected 1 landmarks with at least 31 images, got 0 in train.csv; {LOWER}",
        ),
    ],
)
def test_what_cannot_be_chosen_is_named(settings, message):
    with pytest.raises(DataError) as caught:
        chosen(**settings)
    assert str(caught.value) == message


def test_of_no_images_none_can_be_chosen_and_none_split():
    with pytest.raises(
        DataError, match=r"expected 1 landmarks .* got 0 in train\.csv; lower"
    ):
        choose([], config.Subset(), rng())
    assert split([], 0.3, rng()) == []


@pytest.mark.parametrize("seed", range(10))
def test_every_landmark_keeps_an_image_in_train(seed):
    members = split(labels_of(COUNTS), 0.9, rng(seed))
    kept = Counter(m.landmark_id for m in members if m.split == "train")
    assert set(kept) == set(COUNTS)
    assert kept[7] == 1  # the only image of its landmark never leaves train


@pytest.mark.parametrize("n", [2, 3, 10])
def test_validation_has_its_share_of_rare_and_common_landmarks(n):
    members = split(labels_of(dict.fromkeys(range(2000), n)), 0.15, rng())
    held_out = Counter(m.landmark_id for m in members if m.split == "validation")
    assert sum(held_out.values()) / (2000 * n) == pytest.approx(0.15, abs=0.015)
    assert max(held_out.values()) <= int(np.ceil(0.15 * n))


def test_split_is_of_every_image_once():
    labels = labels_of(COUNTS)
    members = split(labels, 0.3, rng())
    assert [m.image_id for m in members] == [x.image_id for x in labels]
    assert {m.split for m in members} == {"train", "validation"}
    assert {m.split for m in split(labels, 0.0, rng())} == {"train"}


@pytest.mark.parametrize("seed", range(10))
def test_groups_stay_on_one_side_also_across_landmarks(seed):
    labels = labels_of(
        {i: 12 for i in range(30)}, lambda landmark, i: f"{i}-{landmark // 2}"
    )
    members = split(labels, 0.25, rng(seed))
    sides = {}
    for label, member in zip(labels, members, strict=True):
        sides.setdefault(label.group, set()).add(member.split)
    assert all(len(side) == 1 for side in sides.values())
    held_out = sum(m.split == "validation" for m in members)
    assert held_out == pytest.approx(0.25 * len(labels), rel=0.2)


def test_images_without_a_group_are_split_one_by_one():
    labels = labels_of({1: 40}, lambda landmark, i: "twins" if i < 10 else "")
    members = split(labels, 0.25, rng())
    assert sum(m.split == "validation" for m in members) in range(8, 11)
    free, twins = Counter(), Counter()
    for seed in range(40):
        members = split(labels, 0.25, rng(seed))
        sides = [m.split for m in members]
        groups = [label.group for label in labels]
        (side,) = {s for s, g in zip(sides, groups, strict=True) if g}
        twins[side] += 1
        free[
            sum(s != "train" for s, g in zip(sides, groups, strict=True) if not g)
        ] += 1
    assert set(twins) == {"train", "validation"}
    assert set(free) == {0, 10}  # the twins are ten, and fit whole or not at all


def test_pools_share_no_image():
    ids = [f"{i:016x}" for i in range(100)]
    shares = config.Pools(source="unlisted", penalty=0.5, validation=0.2, test=0.1)
    members = draw_pools(ids, shares, rng())
    sizes = Counter(m.split for m in members)
    assert sizes == {"penalty": 50, "validation": 20, "test": 10}
    assert len({m.image_id for m in members}) == 80
    assert {m.landmark_id for m in members} == {None}


def test_pools_of_more_than_all_images_are_refused():
    with pytest.raises(ValueError, match="add up to at most 1"):
        config.Pools(source="unlisted", penalty=0.8, validation=0.8, test=0.8)


def test_classes_are_by_landmark_id_with_their_training_images():
    members = split(labels_of(COUNTS), 0.3, rng())
    classes = count_classes(members)
    assert [row.landmark_id for row in classes] == sorted(COUNTS)
    train = Counter(m.landmark_id for m in members if m.split == "train")
    assert {row.landmark_id: row.n_images for row in classes} == train


# On disk.


def test_same_seed_and_file_give_the_same_bytes(competition, tmp_path):
    settings = config.Subset(n_landmarks=3, choice="random", max_images=9)
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        subset(settings, seed, competition, tmp_path / name)
    for table in ("subset.csv", "classes.csv"):
        one, two, three = (
            (tmp_path / name / table).read_bytes() for name in ("one", "two", "three")
        )
        assert one == two
        assert one != three or table == "classes.csv"


def test_non_landmarks_are_the_images_that_no_table_lists(competition, tmp_path):
    counts = subset(WITH_POOLS, 0, competition, tmp_path / "out")
    members = tables.read_subset(tmp_path / "out" / "subset.csv")
    listed = {x.image_id for x in tables.read_labels(competition / "train.csv")}
    others = {m.image_id for m in members if m.landmark_id is None}
    assert len(others) == 20 and not others & listed
    found = counts.as_json()
    assert found.pop("near_duplicates") == {"groups": 0, "images": 0}
    pools = {
        name: sum(m.split == name for m in members if not m.landmark_id)
        for name in POOLS
    }
    made = found.pop("non_landmarks")
    assert made == pools | {
        "source": "unlisted",
        "origin": ORIGINS["unlisted"],
        "left_out": 0,
    }
    assert found == {"landmarks": 4} | {
        name: sum(m.split == name for m in members) for name in tables.SPLITS
    }


def test_the_image_tree_is_not_walked_without_need(tmp_path, caplog):
    """``train/`` is not even there, which is not worth a word."""
    (tmp_path / "train.csv").write_text("id,landmark_id\n0123456789abcdef,7\n")
    settings = config.Subset(near_duplicates="ignored")
    assert subset(settings, 0, tmp_path, tmp_path / "out").train == 1
    assert not caplog.records


def test_one_pool_alone_is_drawn(competition, tmp_path):
    one = config.Pools(source="unlisted", penalty=0, validation=0, test=0.5)
    counts = subset(config.Subset(non_landmarks=one), 0, competition, tmp_path / "out")
    assert (counts.penalty, counts.test) == (0, 10)


def test_a_competition_without_its_table_or_its_images_is_named(tmp_path):
    with pytest.raises(
        DataError, match=r"expected train\.csv in the competition folder"
    ):
        subset(config.Subset(), 0, tmp_path, tmp_path / "out")
    (tmp_path / "train.csv").write_text("id,landmark_id\n0123456789abcdef,7\n")
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match="expected images as .* found an empty folder"):
        subset(WITH_POOLS, 0, tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_split_is_of_pythons_numbers_and_strings():
    """They go into JSON and keys of dicts."""
    for group in (None, lambda landmark, i: f"{landmark}-{i}"):
        members = split(labels_of(COUNTS, group), 0.3, rng())
        assert [column.dtype.kind for column in members.columns] == ["O", "i", "O"]
        for member in members:
            assert [type(value) for value in member] == [str, int, str]


def test_other_files_are_not_replaced(competition, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ArtefactError, match="found other files"):
        subset(config.Subset(), 0, competition, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.slow
def test_the_size_of_the_whole_competition_is_no_trouble():
    sizes = np.maximum(1, rng().zipf(1.6, 81_313) % 6000)
    landmark = np.repeat(np.arange(81_313), sizes)[:1_580_470]
    labels = [Label(f"{i:016x}", int(c)) for i, c in enumerate(landmark)]
    start = time.monotonic()
    members = split(choose(labels, config.Subset(min_images=2), rng()), 0.1, rng())
    assert len(members) > 1_000_000
    assert time.monotonic() - start < 20


# More of choosing.


def test_ties_are_broken_by_id_whatever_the_order_of_the_file():
    for seed in range(5):
        labels = labels_of({30: 4, 4: 4, 200: 4, 1: 3, 5: 9})
        labels = [labels[i] for i in rng(seed).permutation(len(labels))]
        kept = choose(labels, config.Subset(n_landmarks=3), rng(seed))
        assert {label.landmark_id for label in kept} == {5, 4, 30}
        assert kept == [label for label in labels if label.landmark_id in {5, 4, 30}]


def test_a_random_choice_favours_no_landmark():
    labels = labels_of({i: 1 + 3 * (i % 4) for i in range(8)})
    settings = config.Subset(n_landmarks=2, choice="random")
    drawn = Counter()
    for seed in range(800):
        drawn.update({x.landmark_id for x in choose(labels, settings, rng(seed))})
    assert set(drawn) == set(range(8))
    assert all(140 < n < 260 for n in drawn.values())  # 200 each, 5 deviations


def test_capped_images_are_drawn_from_all():
    labels = labels_of({1: 10, 2: 3})
    drawn = Counter()
    for seed in range(200):
        kept = choose(labels, config.Subset(max_images=4), rng(seed))
        assert Counter(x.landmark_id for x in kept) == {1: 4, 2: 3}
        drawn.update(x.image_id for x in kept if x.landmark_id == 1)
    assert len(drawn) == 10 and all(45 < n < 120 for n in drawn.values())  # 80 each


def test_images_are_counted_before_they_are_capped():
    assert chosen(min_images=5, max_images=2) == {9: 2, 10: 2, 11: 2}


def test_one_absent_landmark_spoils_a_list(competition, tmp_path):
    present = tables.read_labels(competition / "train.csv")[0].landmark_id
    settings = config.Subset(landmarks=(present, 999_999))
    with pytest.raises(DataError, match="got 999999 "):
        subset(settings, 0, competition, tmp_path / "out")
    assert not list(tmp_path.iterdir())


# More of splitting.


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_single_images_never_leave_train(share):
    members = split(labels_of(dict.fromkeys(range(500), 1)), share, rng())
    assert {m.split for m in members} == {"train"}


def test_another_seed_holds_out_other_images_of_the_same_landmarks():
    labels = labels_of(dict.fromkeys(range(50), 20))
    sides = [{m for m in split(labels, 0.2, rng(s))} for s in (0, 0, 1)]
    assert sides[0] == sides[1] != sides[2]
    for members in sides:
        held_out = Counter(m.landmark_id for m in members if m.split == "validation")
        assert held_out == dict.fromkeys(range(50), 4)


def test_every_image_of_a_rare_landmark_may_be_held_out():
    labels = labels_of({1: 3})
    out = Counter()
    for seed in range(600):
        out.update(
            m.image_id for m in split(labels, 0.3, rng(seed)) if m.split != "train"
        )
    assert len(out) == 3 and all(120 < n < 240 for n in out.values())  # 180 each


def test_the_share_holds_over_landmarks_of_many_sizes():
    sizes = 1 + rng(3).geometric(0.3, 5000)
    labels = labels_of(dict(enumerate(sizes.tolist())))
    for share in (0.05, 0.15, 0.4):
        members = split(labels, share, rng())
        n = sum(m.split == "validation" for m in members)
        # two images may give one to validation, not both: no more than that is lost
        possible = np.minimum(sizes * share, sizes - 1).sum()
        assert n == pytest.approx(possible, rel=0.04)


@pytest.mark.parametrize("seed", range(20))
def test_a_group_across_landmarks_empties_none_of_them(seed):
    """Groups of one to three images, of one landmark or two; a share of nearly all."""
    draw = rng([seed, 7])
    labels, image = [], 0
    for group in range(150):
        pair = draw.integers(0, 20, 2)
        for k in range(int(draw.integers(1, 4))):
            landmark = int(pair[k % 2])
            labels.append(Label(f"{image:016x}", landmark, f"g{group}"))
            image += 1
    members = split(labels, 0.9, rng(seed))
    sides = {}
    for label, member in zip(labels, members, strict=True):
        sides.setdefault(label.group, set()).add(member.split)
    assert all(len(side) == 1 for side in sides.values())
    kept = {m.landmark_id for m in members if m.split == "train"}
    assert kept == {label.landmark_id for label in labels}
    n_images = Counter(label.landmark_id for label in labels)
    held_out = Counter(m.landmark_id for m in members if m.split == "validation")
    assert held_out and all(
        n <= np.ceil(0.9 * n_images[landmark]) for landmark, n in held_out.items()
    )


def test_a_group_as_large_as_its_landmark_stays_in_train():
    labels = labels_of({1: 6, 2: 6}, lambda landmark, i: f"all of {landmark}")
    assert {m.split for m in split(labels, 0.5, rng())} == {"train"}


# More of pools.


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 10, 99, 1001])
def test_pools_of_all_images_leave_none_over(n):
    ids = [f"{i:016x}" for i in range(n)]
    members = draw_pools(
        ids,
        config.Pools(source="unlisted", penalty=0.6, validation=0.3, test=0.1),
        rng(n),
    )
    assert [m.image_id for m in members] == ids
    sizes = Counter(m.split for m in members)
    for name, share in (("penalty", 0.6), ("validation", 0.3), ("test", 0.1)):
        assert abs(sizes[name] - share * n) <= 1


def test_pools_are_drawn_at_random_by_seed():
    ids = [f"{i:016x}" for i in range(200)]
    shares = config.Pools(source="unlisted", penalty=0.5, validation=0.0, test=0.0)
    drawn = [[m.image_id for m in draw_pools(ids, shares, rng(s))] for s in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(len(one) == 100 and one == sorted(one) for one in drawn)
    assert drawn[0] != ids[:100]


# More of the files.


def test_another_seed_gives_other_bytes(competition, tmp_path):
    for name, seed in (("one", 3), ("two", 3), ("three", 4)):
        subset(WITH_POOLS, seed, competition, tmp_path / name)
    one, two, three = (
        (tmp_path / name / "subset.csv").read_bytes()
        for name in ("one", "two", "three")
    )
    assert one == two != three


def test_files_hold_what_was_split(competition, tmp_path):
    """Each image once, pools and sides apart, and the classes of those in train."""
    counts = subset(WITH_POOLS, 5, competition, tmp_path / "out")
    members = tables.read_subset(tmp_path / "out" / "subset.csv")
    assert len({m.image_id for m in members}) == len(members)
    landmark = {
        x.image_id: x.landmark_id for x in tables.read_labels(competition / "train.csv")
    }
    assert {m.image_id: m.landmark_id for m in members if m.landmark_id} == landmark
    sides = {m.split for m in members if m.landmark_id is not None}
    assert sides == {"train", "validation"}
    other = Counter(m.split for m in members if m.landmark_id is None)
    assert other == {"penalty": 12, "validation": 4, "test": 4}  # of twenty
    classes = tables.read_classes(tmp_path / "out" / "classes.csv")
    in_train = Counter(m.landmark_id for m in members if m.split == "train")
    assert {c.landmark_id: c.n_images for c in classes} == in_train
    assert counts.train == in_train.total()


def test_an_earlier_subset_is_replaced_and_an_empty_folder_filled(
    competition, tmp_path
):
    out = tmp_path / "out"
    out.mkdir()
    for n in (4, 2):
        assert subset(config.Subset(n_landmarks=n), 0, competition, out).landmarks == n
    assert len(tables.read_classes(out / "classes.csv")) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


# A test split of landmarks.


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("shares", [(0.3, 0.3), (0.9, 0.9), (0.0, 0.4), (0.15, 0.1)])
def test_every_landmark_keeps_an_image_in_train_beside_two_splits(seed, shares):
    labels = labels_of(COUNTS)
    members = split(labels, shares[0], rng(seed), shares[1])
    assert [m[:2] for m in members] == [x[:2] for x in labels]  # each image once
    kept = Counter(m.landmark_id for m in members if m.split == "train")
    assert set(kept) == set(COUNTS) and kept[7] == 1
    for name, share in zip(("validation", "test"), shares, strict=True):
        out = Counter(m.landmark_id for m in members if m.split == name)
        assert all(n <= np.ceil(share * COUNTS[k]) for k, n in out.items())
        assert share or not out


@pytest.mark.parametrize("n", [2, 3, 10])
def test_test_has_its_share_of_rare_and_common_landmarks(n):
    labels = labels_of(dict.fromkeys(range(2000), n))
    sizes = Counter(m.split for m in split(labels, 0.15, rng(), 0.25))
    assert sizes["validation"] / len(labels) == pytest.approx(0.15, abs=0.015)
    assert sizes["test"] / len(labels) == pytest.approx(0.25, abs=0.015)


def test_validation_is_the_same_whatever_the_share_of_test():
    for groups in (None, lambda landmark, i: f"{landmark}-{i // 3}"):
        labels = labels_of(dict.fromkeys(range(40), 12), groups)
        sides = [
            {m for m in split(labels, 0.25, rng(), share) if m.split == "validation"}
            for share in (0.0, 0.1, 0.5)
        ]
        assert sides[0] == sides[1] == sides[2] != set()


@pytest.mark.parametrize("seed", range(10))
def test_groups_stay_in_one_of_three_splits(seed):
    labels = labels_of(
        {i: 12 for i in range(30)}, lambda landmark, i: f"{i}-{landmark // 2}"
    )
    members = split(labels, 0.25, rng(seed), 0.25)
    sides = {}
    for label, member in zip(labels, members, strict=True):
        sides.setdefault(label.group, set()).add(member.split)
    assert all(len(side) == 1 for side in sides.values())
    sizes = Counter(m.split for m in members)
    for name in ("validation", "test"):
        assert sizes[name] == pytest.approx(0.25 * len(labels), rel=0.2)


# Landmarks that train lacks.


def test_unknown_landmarks_are_drawn_whole_and_by_seed():
    labels = labels_of(dict.fromkeys(range(20), 5))
    draws = []
    for seed in (0, 0, 1):
        known, unknown = separate_unknown(labels, 7, rng(seed))
        assert sorted(known + unknown) == sorted(labels)
        ids = {x.landmark_id for x in unknown}
        assert len(ids) == 7 and ids.isdisjoint(x.landmark_id for x in known)
        draws.append(ids)
    assert draws[0] == draws[1] != draws[2]


def test_without_unknown_landmarks_nothing_is_drawn():
    labels, used = labels_of(COUNTS), rng()
    assert separate_unknown(labels, 0, used) == (labels, [])
    assert split_unknown([], used) == []
    assert used.bit_generator.state == rng().bit_generator.state


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_images_of_unknown_landmarks_go_half_to_validation_half_to_test(n):
    labels = labels_of(dict.fromkeys(range(400), n))
    members = split_unknown(labels, rng())
    assert [m[:2] for m in members] == [x[:2] for x in labels]
    sizes = Counter(m.split for m in members)
    assert set(sizes) == {"validation", "test"}
    assert sizes["test"] == pytest.approx(200 * n, abs=60 if n % 2 else 0)
    of_each = Counter(m.landmark_id for m in members if m.split == "test")
    assert set(of_each.values()) <= {n // 2, n - n // 2}


def test_groups_of_unknown_landmarks_stay_on_one_side():
    labels = labels_of(
        dict.fromkeys(range(100), 8), lambda landmark, i: f"{landmark // 2}-{i // 2}"
    )
    members = split_unknown(labels, rng())
    sides = {}
    for label, member in zip(labels, members, strict=True):
        sides.setdefault(label.group, set()).add(member.split)
    assert all(len(side) == 1 for side in sides.values())
    sizes = Counter(m.split for m in members)
    assert sizes["validation"] == sizes["test"] == 400


@pytest.mark.parametrize("seed", range(10))
def test_a_near_duplicate_of_a_known_landmarks_image_is_left_out(seed, caplog):
    """Each landmark shares a group with the next, and has images without one."""
    labels = labels_of(
        dict.fromkeys(range(10), 6),
        lambda k, i: "" if i > 1 else f"{k} and {k + 1}" if i else f"{k - 1} and {k}",
    )
    known, unknown = separate_unknown(labels, 3, rng(seed))
    drawn = {x.landmark_id for x in unknown}
    assert len(drawn) == 3 and len(known) == 7 * 6
    shared = {x.group for x in known} & {x.group for x in unknown}
    assert shared == {""}
    left_out = set(labels) - set(known) - set(unknown)
    assert left_out and {x.landmark_id for x in left_out} <= drawn
    assert {x.group for x in left_out} <= {x.group for x in known}
    (record,) = caplog.records
    assert record.name == "kaggle_kit.data.subset"
    assert record.getMessage() == (
        f"{len(left_out)} images of unknown landmarks are dropped: their groups also "
        f"have images of known landmarks"
    )


@pytest.mark.parametrize("n", [6, 7, 1000])
def test_landmarks_are_left_for_train(n):
    with pytest.raises(DataError, match=f"fewer than the 6 .* got {n}; lower it"):
        separate_unknown(labels_of(COUNTS), n, rng())
    known, _ = separate_unknown(labels_of(COUNTS), 5, rng())
    assert len({x.landmark_id for x in known}) == 1


def test_classes_are_of_landmarks_with_training_images():
    members = [
        tables.Member("a", 9, "train"),
        tables.Member("b", 9, "test"),
        tables.Member("c", 4, "validation"),
        tables.Member("d", 4, "test"),
        tables.Member("e", None, "penalty"),
        tables.Member("f", 2, "train"),
        tables.Member("g", 9, "train"),
    ]
    assert count_classes(members) == [(2, 1), (9, 2)]


# Both, on disk.


def made(folder, settings, seed=5):
    """600 listed images of 16 landmarks in groups of three, and 40 that are not."""
    root = folder / "competition"
    for i in range(600, 640):
        name = f"{i:016x}"
        path = root / "train" / name[0] / name[1] / name[2] / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    rows = (f"{i:016x},{i * i % 31},{i // 3}\n" for i in range(600))
    (root / "train.csv").write_text("id,landmark_id,group\n" + "".join(rows))
    counts = subset(settings, seed, root, folder / "out")
    return counts, [
        (folder / "out" / name).read_bytes() for name in ("subset.csv", "classes.csv")
    ]


# sha256 of subset.csv and classes.csv, one after the other, as they were made before
# there was a test split or an unknown landmark.
BEFORE = {
    "c53ddebbdbc8bb958302a2f7da3fb5980e8238f4e2cb820a16876b577878ce4e": config.Subset(
        n_landmarks=12, max_images=9
    ),
    "3197b013a419880e665284ba58fb2b1ec39bccaa72cff4e56fb0ab75f8879c00": config.Subset(
        n_landmarks=7, choice="random", validation_share=0.3
    ),
    "43ebc36bfb1efce461618c0e5c24d9ad4acd3719f0e617bd8fd31221725ddbf7": config.Subset(
        group_column="group", validation_share=0.4
    ),
}


@pytest.mark.parametrize(("sha256", "settings"), BEFORE.items())
def test_a_subset_has_the_bytes_it_always_had(sha256, settings, tmp_path):
    _, written = made(tmp_path, settings)
    assert hashlib.sha256(b"".join(written)).hexdigest() == sha256


@pytest.mark.parametrize("group_column", [None, "group"])
def test_unknown_landmarks_are_neither_in_train_nor_in_classes(group_column, tmp_path):
    settings = config.Subset(
        validation_share=0.2,
        test_share=0.2,
        unknown_landmarks=5,
        group_column=group_column,
        non_landmarks=UNLISTED,
        near_duplicates="ignored",  # the images are empty files
    )
    counts, written = made(tmp_path / "one", settings)
    assert made(tmp_path / "two", settings)[1] == written
    assert made(tmp_path / "three", settings, seed=6)[1] != written
    members = tables.read_subset(tmp_path / "one" / "out" / "subset.csv")
    classes = tables.read_classes(tmp_path / "one" / "out" / "classes.csv")
    assert len({m.image_id for m in members}) == len(members)
    of = {
        name: Counter(m.landmark_id for m in members if m.split == name)
        for name in tables.SPLITS
    }
    assert {c.landmark_id: c.n_images for c in classes} == of["train"]
    known = set(of["train"])
    assert None not in known and len(known) == 11 == counts.landmarks
    n_known = sum(of[name][k] for name in tables.SPLITS for k in known)
    for name in ("validation", "test"):
        held_out = sum(of[name][k] for k in known)
        assert held_out == pytest.approx(0.2 * n_known, rel=0.2)
    unknown = {m.landmark_id for m in members if m.landmark_id is not None} - known
    assert unknown
    if group_column is None:
        assert len(unknown) == 5
        halves = [[of[name][k] for k in unknown] for name in ("validation", "test")]
        assert all(abs(a - b) <= 1 for a, b in zip(*halves, strict=True))
    found = counts.as_json()
    del found["near_duplicates"], found["non_landmarks"]
    assert found == {"landmarks": 11} | {
        name: sum(m.split == name for m in members) for name in tables.SPLITS
    }
    assert of["penalty"] == {None: 24} and of["test"][None] == 8


def test_a_subset_of_unknown_landmarks_alone_is_refused(tmp_path):
    with pytest.raises(DataError) as caught:
        made(tmp_path, config.Subset(n_landmarks=3, unknown_landmarks=3))
    assert str(caught.value) == (
        "subset.unknown_landmarks: expected fewer than the 3 landmarks of the subset, "
        "got 3; lower it or choose more landmarks"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_all_landmarks_of_the_competition_are_split_in_time():
    """81,313 landmarks and 1,580,470 images, with and without groups."""
    weights = rng().pareto(1.2, 81_313)
    more = rng(1).choice(81_313, 1_580_470 - 81_313, p=weights / weights.sum())
    landmark = np.concatenate([np.arange(81_313), more])
    for group in ("", "{}"):
        labels = [
            Label(f"{i:016x}", c, group.format(i // 2))
            for i, c in enumerate(landmark.tolist())
        ]
        start = time.monotonic()
        members = split(choose(labels, config.Subset(), rng()), 0.1, rng())
        assert time.monotonic() - start < 20
        assert len(members) == 1_580_470
        assert len({m.landmark_id for m in members if m.split == "train"}) == 81_313


def test_before_there_are_images_a_subset_can_be_chosen(competition, tmp_path, caplog):
    shutil.copy(competition / "train.csv", tmp_path / "train.csv")
    made = subset(config.Subset(), 0, tmp_path, tmp_path / "out")
    assert made.train > 0
    assert made.penalty == 0
    assert made.near_duplicates is None
    n = made.train + made.validation
    assert f"{tmp_path / 'train'}: {n} of {n} images are missing" in caplog.text


# Near-duplicates.


def add_copies(place, n):
    """Smaller copies of n images of each landmark, as rows of the table."""
    rows = [label[:2] for label in tables.read_labels(place / "train.csv")]
    copies = []
    for landmark in sorted({row[1] for row in rows}):
        for image_id in [row[0] for row in rows if row[1] == landmark][:n]:
            copy = image_id[::-1]
            path = image_path(place / "train", copy)
            path.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(image_path(place / "train", image_id)) as image:
                size = (image.width * 2 // 3, image.height * 2 // 3)
                image.resize(size).save(path, quality=80)
            copies.append((copy, landmark))
    tables.write_rows(place / "train.csv", ("id", "landmark_id"), rows + copies)
    return [copy for copy, _ in copies]


@pytest.mark.parametrize("by", ["images", "index"])
def test_copies_are_on_one_side_of_the_split(by, rerun, tmp_path):
    copies = add_copies(rerun, 4)
    index_csv = None
    if by == "index":
        index_csv = tmp_path / "index.csv"
        index(rerun, index_csv)
    settings = config.Subset(validation_share=0.4)
    made = subset(settings, 0, rerun, tmp_path / "out", index=index_csv)
    assert made.near_duplicates.as_json() == {"groups": 16, "images": 32}
    members = tables.read_subset(tmp_path / "out" / "subset.csv")
    side = {m.image_id: m.split for m in members}
    assert all(side[copy] == side[copy[::-1]] for copy in copies)
    assert {side[copy] for copy in copies} == {"train", "validation"}
    apart = settings.model_copy(update={"near_duplicates": "ignored"})
    subset(apart, 0, rerun, tmp_path / "apart")
    members = tables.read_subset(tmp_path / "apart" / "subset.csv")
    side = {m.image_id: m.split for m in members}
    assert any(side[copy] != side[copy[::-1]] for copy in copies)


def test_an_index_gives_the_bytes_that_the_images_give(competition, tmp_path):
    index(competition, tmp_path / "index.csv")
    subset(WITH_POOLS, 0, competition, tmp_path / "a")
    subset(WITH_POOLS, 0, competition, tmp_path / "b", index=tmp_path / "index.csv")
    for name in ("subset.csv", "classes.csv", "non_landmarks.json"):
        assert (tmp_path / "a" / name).read_bytes() == (
            tmp_path / "b" / name
        ).read_bytes()


@pytest.mark.parametrize(
    "text", ["id,landmark_id,width,height\nabc,7,4,4\n", "id,hash\n", "id,hash\nabc,\n"]
)
def test_an_index_without_hashes_of_the_images_is_refused(text, competition, tmp_path):
    (tmp_path / "index.csv").write_text(text)
    with pytest.raises(DataError, match=r"make the index again with kaggle-kit index"):
        subset(
            config.Subset(),
            0,
            competition,
            tmp_path / "s",
            index=tmp_path / "index.csv",
        )


def test_an_index_of_some_images_says_how_many_are_missing(
    competition, tmp_path, caplog
):
    index(competition, tmp_path / "whole.csv")
    lines = (tmp_path / "whole.csv").read_text().splitlines()
    (tmp_path / "part.csv").write_text("\n".join(lines[:-10]) + "\n")
    subset(config.Subset(), 0, competition, tmp_path / "s", index=tmp_path / "part.csv")
    assert re.search(r"part\.csv: \d+ of \d+ images are missing or do not", caplog.text)


def test_ids_that_are_far_apart_are_split_as_those_that_are_not():
    """From 1 to some 10^13: no array of all numbers between would fit in memory."""
    far_id = {1: 1, 4: 4 << 40, 9: 9 << 40}
    near = labels_of({1: 7, 4: 30, 9: 2})
    far = [label._replace(landmark_id=far_id[label.landmark_id]) for label in near]
    settings = config.Subset(min_images=4)
    one, other = (split(choose(x, settings, rng()), 0.3, rng(1)) for x in (near, far))
    assert len(one) == 37
    assert [m._replace(landmark_id=far_id[m.landmark_id]) for m in one] == list(other)
