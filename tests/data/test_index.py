"""The index: every photo that decodes, and a list of those that do not."""

import csv
import shutil

import pytest
from PIL import Image

from kaggle_kit import tables
from kaggle_kit.data.index import index, photo_ids
from kaggle_kit.errors import TableError
from kaggle_kit.paths import image_path


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_photo_is_listed_with_its_landmark_and_size(competition, tmp_path):
    counts = index(competition, tmp_path / "index.csv")
    landmark = {i: str(n) for i, n, _ in tables.read_labels(competition / "train.csv")}
    listed = rows(tmp_path / "index.csv")
    assert counts == {
        "labelled": len(landmark),
        "unlabelled": len(listed) - len(landmark),
        "broken": 0,
    }
    assert {row["id"] for row in listed} == set(photo_ids(competition / "train"))
    for row in listed:
        assert row["landmark_id"] == landmark.get(row["id"], "")
        with Image.open(image_path(competition / "train", row["id"])) as photo:
            assert (int(row["width"]), int(row["height"])) == photo.size
    assert rows(tmp_path / "index.broken.csv") == []


def test_broken_photos_are_set_aside_with_their_reason(competition, tmp_path):
    copy = tmp_path / "competition"
    shutil.copytree(competition, copy)
    ids = [i for i, _, _ in tables.read_labels(copy / "train.csv")][:4]
    gone, cut, text, empty = (image_path(copy / "train", i) for i in ids)
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:-600])
    text.write_text("not a photo")
    empty.write_bytes(b"")
    counts = index(copy, tmp_path / "index.csv")
    assert counts["broken"] == 4
    reasons = {r["id"]: r["reason"] for r in rows(tmp_path / "index.broken.csv")}
    assert set(reasons) == set(ids)
    assert reasons[ids[0]] == "no file"
    assert "truncated" in reasons[ids[1]]
    assert not set(ids) & {row["id"] for row in rows(tmp_path / "index.csv")}


def test_files_that_are_no_photos_are_passed_over(tmp_path):
    folder = tmp_path / "a" / "b" / "c"
    folder.mkdir(parents=True)
    for name in ("abc0.jpg", "abc1.png", ".DS_Store", "abc2.jpg.part", "a b.jpg"):
        (folder / name).touch()
    (tmp_path / "stray.jpg").touch()
    assert list(photo_ids(tmp_path)) == ["abc0"]


def test_nothing_is_written_when_the_table_is_bad(competition, tmp_path):
    copy = tmp_path / "competition"
    (copy / "train" / "0").mkdir(parents=True)
    (copy / "train.csv").write_text("id,landmark\n")
    with pytest.raises(TableError, match="add landmark_id"):
        index(copy, tmp_path / "index.csv")
    assert [p.name for p in tmp_path.iterdir()] == ["competition"]
