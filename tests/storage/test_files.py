"""Files and folders appear whole or not at all."""

import os
from pathlib import Path

import pytest

from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.errors import ArtefactError, DataError
from kaggle_kit.storage.files import atomic_write
from kaggle_kit.storage.folders import FolderKind, atomic_write_dir

KIND = FolderKind("marker", ("one", "two"))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_it_is_whole(tmp_path):
    target = tmp_path / "deep" / "x.csv"
    with atomic_write(target) as part:
        part.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new" and names(target.parent) == ["x.csv"]


def test_a_file_that_failed_leaves_the_old_one(tmp_path):
    target = tmp_path / "x.csv"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_write(target) as part:
        part.write_text("half")
        raise KeyboardInterrupt
    assert target.read_text() == "old" and names(tmp_path) == ["x.csv"]


def test_a_folder_appears_when_it_is_whole_and_replaces_its_kind(tmp_path):
    target = tmp_path / "made"
    for content in ("one", "two"):
        with atomic_write_dir(target, KIND) as part:
            (part / "marker").touch()
            (part / content).touch()
    assert names(target) == ["marker", "two"] and names(tmp_path) == ["made"]


def test_a_folder_that_failed_leaves_the_old_one(tmp_path):
    target = tmp_path / "made"
    with atomic_write_dir(target, KIND) as part:
        (part / "marker").write_text("old")
    with (
        pytest.raises(ValueError, match="lost"),
        atomic_write_dir(target, KIND) as part,
    ):
        (part / "marker").write_text("half")
        raise ValueError("lost")
    assert (target / "marker").read_text() == "old" and names(tmp_path) == ["made"]


def test_a_folder_of_other_files_is_not_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ArtefactError, match="found other files"):
        atomic_write_dir(tmp_path, KIND).__enter__()
    file = tmp_path / "thesis.txt"
    with pytest.raises(ArtefactError):
        atomic_write_dir(file, KIND).__enter__()
    assert file.read_text() == "mine"


def test_a_competition_says_what_it_lacks(tmp_path):
    with pytest.raises(DataError, match="found no folder"):
        Competition(tmp_path / "no").require("train.csv")
    with pytest.raises(DataError, match=r"expected train\.csv"):
        Competition(tmp_path).require("train.csv")
    (tmp_path / "test").mkdir()
    with pytest.raises(DataError, match="empty folder"):
        Competition(tmp_path).require("test")
    (tmp_path / "test" / "0").mkdir()
    assert Competition(tmp_path).require("test").root == tmp_path


def test_an_empty_folder_is_filled(tmp_path):
    target = tmp_path / "made"
    target.mkdir()
    with atomic_write_dir(target, KIND) as part:
        assert names(part) == []
        (part / "marker").touch()
    assert names(target) == ["marker"] and names(tmp_path) == ["made"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_first_attempt_that_failed_leaves_nothing(error, tmp_path):
    with pytest.raises(error), atomic_write_dir(tmp_path / "made", KIND) as part:
        (part / "deep").mkdir()
        (part / "deep" / "half").touch()
        raise error
    with pytest.raises(error), atomic_write(tmp_path / "x.csv") as part:
        part.touch()
        raise error
    assert names(tmp_path) == []


def test_what_is_half_written_is_not_seen_under_its_name(tmp_path):
    target = tmp_path / "made"
    with atomic_write_dir(target, KIND) as part:
        (part / "marker").write_text("old")
    with atomic_write_dir(target, KIND) as part:
        (part / "marker").write_text("new")
        assert (target / "marker").read_text() == "old"
    assert (target / "marker").read_text() == "new"


def test_real_images_lie_where_their_ids_say(landmarks45):
    place = Competition(landmarks45)
    for folder in (place.train_dir, place.test_dir):
        images = sorted(folder.rglob("*.jpg"))
        assert len(images) > 500
        assert images == sorted(image_path(folder, image.stem) for image in images)


def test_a_whole_competition_lacks_nothing(competition):
    place = Competition(competition)
    needed = ("train.csv", "sample_submission.csv", "solution.csv", "train", "test")
    assert place.require(*needed) is place
    for path in (place.train_csv, place.sample_csv, place.solution_csv):
        assert path.is_file() and path.parent == competition


def test_a_replacement_that_fails_gives_the_old_folder_back(tmp_path, monkeypatch):
    target = tmp_path / "made"
    with atomic_write_dir(target, KIND) as part:
        (part / "marker").write_text("old")
    replace = os.replace

    def failing(source, destination):
        if str(source).endswith(".part"):
            raise OSError("disk gone")
        replace(source, destination)

    monkeypatch.setattr("os.replace", failing)
    with (
        pytest.raises(OSError, match="gone"),
        atomic_write_dir(target, KIND) as part,
    ):
        (part / "marker").write_text("new")
    assert (target / "marker").read_text() == "old" and names(tmp_path) == ["made"]
