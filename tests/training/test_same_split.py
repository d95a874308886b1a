"""A run is resumed only with the split that it began with; pools may differ."""

import json
import shutil

import pytest

from kaggle_kit import config
from kaggle_kit.data.index import image_ids
from kaggle_kit.data.layout import image_path
from kaggle_kit.data.shards import shards
from kaggle_kit.data.shards_manifest import read_manifest
from kaggle_kit.data.subset import same_split, subset
from kaggle_kit.errors import ArtefactError
from kaggle_kit.storage import tables
from kaggle_kit.training.kaggle_session import train_from_images
from kaggle_kit.training.trainer import train


def shards_of(settings, competition, folder, seed=0):
    subset(settings.subset, seed, competition, folder / "subset")
    shards(settings.data, competition, folder / "subset", folder / "shards")
    return folder / "shards"


def sort_table(competition):
    """The same rows, in another order: other images are drawn for validation."""
    rows = sorted(row[:2] for row in tables.read_labels(competition / "train.csv"))
    tables.write_rows(competition / "train.csv", ("id", "landmark_id"), rows[::-1])


def test_a_run_is_not_resumed_with_another_split(settings, rerun, tmp_path):
    """The classes are the same, and images that were trained on would validate."""
    first = shards_of(settings, rerun, tmp_path / "one")
    short = config.override(settings, {"train.epochs": 1})
    train(short, first, tmp_path / "run")
    sort_table(rerun)
    second = shards_of(settings, rerun, tmp_path / "two")
    assert (first / "classes.csv").read_bytes() == (second / "classes.csv").read_bytes()
    before = {p: p.read_bytes() for p in (tmp_path / "run").iterdir()}
    with pytest.raises(ArtefactError, match="expected the split of the run in"):
        train(short, second, tmp_path / "run", resume=True)
    assert {p: p.read_bytes() for p in (tmp_path / "run").iterdir()} == before


def test_shards_with_the_tables_of_others_are_refused(settings, rerun, tmp_path):
    first = shards_of(settings, rerun, tmp_path / "one")
    sort_table(rerun)
    second = shards_of(settings, rerun, tmp_path / "two")
    shutil.copy(second / "subset.csv", first / "subset.csv")
    with pytest.raises(ArtefactError, match="expected the table that the shards were"):
        train(settings, first, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_shards_of_another_split_are_written_again(settings, rerun, tmp_path):
    first = shards_of(settings, rerun, tmp_path / "one")
    written = {p.name: p.read_bytes() for p in first.glob("*.tfrecord")}
    sort_table(rerun)
    shards_of(settings, rerun, tmp_path / "one")
    assert {p.name: p.read_bytes() for p in first.glob("*.tfrecord")} != written


def test_other_pools_are_taken_over_without_other_shards(settings, rerun, tmp_path):
    first = shards_of(settings, rerun, tmp_path / "one")
    written = {p.name: p.stat().st_mtime_ns for p in first.glob("*.tfrecord")}
    fewer = config.override(settings, {"subset.non_landmarks.penalty": 5})
    again = shards_of(fewer, rerun, tmp_path / "one")
    assert {p.name: p.stat().st_mtime_ns for p in again.glob("*.tfrecord")} == written
    for name in ("subset.csv", "non_landmarks.json"):
        new = (tmp_path / "one" / "subset" / name).read_bytes()
        assert (again / name).read_bytes() == new
    read_manifest(again)


def test_shards_of_an_earlier_version_have_no_hashes_of_tables(
    settings, rerun, tmp_path
):
    first = shards_of(settings, rerun, tmp_path / "one")
    values = json.loads((first / "shards.json").read_text())
    del values["tables"]
    (first / "shards.json").write_text(json.dumps(values))
    (first / "non_landmarks.json").unlink()
    assert read_manifest(first).tables == {}
    train(config.override(settings, {"train.epochs": 1}), first, tmp_path / "run")


def test_shards_are_not_replaced_before_the_split_is_refused(settings, rerun, tmp_path):
    """Else there would be none left to resume the run with."""
    folder = tmp_path / "one"
    first = shards_of(settings, rerun, folder)
    train(config.override(settings, {"train.epochs": 1}), first, tmp_path / "run")
    written = {p.name: p.read_bytes() for p in first.iterdir()}
    sort_table(rerun)
    subset(settings.subset, 0, rerun, folder / "subset")
    with pytest.raises(ArtefactError, match="expected the split of the run in"):
        train_from_images(settings, rerun, folder / "subset", first, tmp_path / "run")
    assert {p.name: p.read_bytes() for p in first.iterdir()} == written


def test_a_resumed_run_takes_over_the_pools_of_its_subset(settings, rerun, tmp_path):
    first = shards_of(settings, rerun, tmp_path / "one")
    short = config.override(settings, {"train.epochs": 1})
    train(short, first, tmp_path / "run")
    labels = {label.image_id for label in tables.read_labels(rerun / "train.csv")}
    gone = min(set(image_ids(rerun / "train")) - labels)
    image_path(rerun / "train", gone).unlink()
    again = shards_of(settings, rerun, tmp_path / "one")
    train(short, again, tmp_path / "run", resume=True)
    for name in ("subset.csv", "non_landmarks.json"):
        assert (tmp_path / "run" / name).read_bytes() == (again / name).read_bytes()
    assert gone not in (tmp_path / "run" / "subset.csv").read_text()


def test_splits_are_compared_without_their_pools(settings, competition, tmp_path):
    one, two = (
        config.override(settings, {"subset.non_landmarks.penalty": n}).subset
        for n in (4, 9)
    )
    subset(one, 0, competition, tmp_path / "one")
    subset(two, 0, competition, tmp_path / "two")
    subset(two, 1, competition, tmp_path / "three")
    paths = [tmp_path / name / "subset.csv" for name in ("one", "two", "three")]
    assert same_split(paths[0], paths[1])
    assert not same_split(paths[1], paths[2])
