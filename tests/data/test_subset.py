"""Choosing and splitting: seeded, stratified, and nothing on two sides."""

import time
from collections import Counter

import numpy as np
import pytest

from kaggle_kit import config, tables
from kaggle_kit.data.subset import choose, classes_of, pools, split, subset
from kaggle_kit.errors import ArtefactError, DataError
from kaggle_kit.tables import Label


def rng(seed=0):
    return np.random.default_rng(seed)


def labels_of(counts, groups=None):
    """``counts[landmark]`` photos of each landmark, in a shuffled order."""
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


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"landmarks": (7, 99)}, "got 99 "),
        ({"n_landmarks": 7}, "expected 7 landmarks .* train.csv has 6"),
        ({"min_images": 31}, "with at least 31 photos"),
    ],
)
def test_what_cannot_be_chosen_is_named(settings, message):
    with pytest.raises(DataError, match=message):
        chosen(**settings)


@pytest.mark.parametrize("seed", range(10))
def test_every_landmark_keeps_a_photo_in_train(seed):
    members = split(labels_of(COUNTS), 0.9, rng(seed))
    kept = Counter(m.landmark_id for m in members if m.split == "train")
    assert set(kept) == set(COUNTS)
    assert kept[7] == 1  # the only photo of its landmark never leaves train


@pytest.mark.parametrize("n", [2, 3, 10])
def test_validation_has_its_share_of_rare_and_common_landmarks(n):
    members = split(labels_of(dict.fromkeys(range(2000), n)), 0.15, rng())
    held_out = Counter(m.landmark_id for m in members if m.split == "validation")
    assert sum(held_out.values()) / (2000 * n) == pytest.approx(0.15, abs=0.015)
    assert max(held_out.values()) <= int(np.ceil(0.15 * n))


def test_split_is_of_every_photo_once():
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


def test_photos_without_a_group_are_split_one_by_one():
    labels = labels_of({1: 40}, lambda landmark, i: "twins" if i < 10 else "")
    members = split(labels, 0.25, rng())
    assert sum(m.split == "validation" for m in members) in range(8, 11)


def test_pools_share_no_photo():
    ids = [f"{i:016x}" for i in range(100)]
    shares = config.Pools(penalty=0.5, validation=0.2, test=0.1)
    members = pools(ids, shares, rng())
    sizes = Counter(m.split for m in members)
    assert sizes == {"penalty": 50, "validation": 20, "test": 10}
    assert len({m.image_id for m in members}) == 80
    assert {m.landmark_id for m in members} == {None}


def test_pools_of_more_than_all_photos_are_refused():
    with pytest.raises(ValueError, match="add up to more than 1"):
        config.Pools(penalty=0.8, validation=0.8, test=0.8)


def test_classes_are_by_landmark_id_with_their_training_photos():
    members = split(labels_of(COUNTS), 0.3, rng())
    classes = classes_of(members)
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


def test_non_landmarks_are_the_photos_that_no_table_lists(competition, tmp_path):
    counts = subset(config.Subset(), 0, competition, tmp_path / "out")
    members = tables.read_subset(tmp_path / "out" / "subset.csv")
    listed = {x.image_id for x in tables.read_labels(competition / "train.csv")}
    others = {m.image_id for m in members if m.landmark_id is None}
    assert len(others) == 20 and not others & listed
    assert counts == {"landmarks": 4} | {
        name: sum(m.split == name for m in members) for name in tables.SPLITS
    }


def test_the_image_tree_is_not_walked_without_need(tmp_path):
    """``train/`` is not even there."""
    (tmp_path / "train.csv").write_text("id,landmark_id\n0123456789abcdef,7\n")
    none = config.Pools(penalty=0, validation=0, test=0)
    settings = config.Subset(non_landmarks=none)
    assert subset(settings, 0, tmp_path, tmp_path / "out")["train"] == 1


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
