"""Files and folders appear whole or not at all."""

from pathlib import Path

import pytest

from kaggle_kit.errors import ArtefactError, DataError
from kaggle_kit.paths import Competition, written, written_dir


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_it_is_whole(tmp_path):
    target = tmp_path / "deep" / "x.csv"
    with written(target) as part:
        part.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new" and names(target.parent) == ["x.csv"]


def test_a_file_that_failed_leaves_the_old_one(tmp_path):
    target = tmp_path / "x.csv"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt), written(target) as part:
        part.write_text("half")
        raise KeyboardInterrupt
    assert target.read_text() == "old" and names(tmp_path) == ["x.csv"]


def test_a_folder_appears_when_it_is_whole_and_replaces_its_kind(tmp_path):
    target = tmp_path / "made"
    for content in ("one", "two"):
        with written_dir(target, "marker") as part:
            (part / "marker").touch()
            (part / content).touch()
    assert names(target) == ["marker", "two"] and names(tmp_path) == ["made"]


def test_a_folder_that_failed_leaves_the_old_one(tmp_path):
    target = tmp_path / "made"
    with written_dir(target, "marker") as part:
        (part / "marker").write_text("old")
    with pytest.raises(ValueError, match="lost"), written_dir(target, "marker") as part:
        (part / "marker").write_text("half")
        raise ValueError("lost")
    assert (target / "marker").read_text() == "old" and names(tmp_path) == ["made"]


def test_a_folder_of_other_files_is_not_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ArtefactError, match="found other files"):
        written_dir(tmp_path, "marker").__enter__()
    file = tmp_path / "thesis.txt"
    with pytest.raises(ArtefactError):
        written_dir(file, "marker").__enter__()
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
