"""The sheet of data: what an index lists, broken and repeated files, and a look at it."""

import json
import re
import shutil
from html import unescape

import pytest
from PIL import Image

from kaggle_kit import cli
from kaggle_kit.data.layout import image_path
from kaggle_kit.report.contact_sheets import IMAGES, SHEETS, choose_sheets
from kaggle_kit.report.duplicates import duplicates
from kaggle_kit.storage import tables


@pytest.fixture
def damaged(competition, tmp_path):
    """A competition with a broken image, and copies, two of them labelled otherwise."""
    copy = shutil.copytree(competition, tmp_path / "competition")
    labels = list(tables.read_labels(copy / "train.csv"))
    by_landmark = {}
    for label in labels:
        by_landmark.setdefault(label.landmark_id, []).append(label.image_id)
    (one, two, three, *_), (four, *_), *_ = by_landmark.values()
    source = image_path(copy / "train", one)
    for image_id in (two, four):
        shutil.copyfile(source, image_path(copy / "train", image_id))
    image_path(copy / "train", three).write_text("not an image")
    return copy, (one, two, three, four), {i: len(x) for i, x in by_landmark.items()}


def test_the_sheet_says_what_is_there_and_what_is_wrong(damaged, tmp_path, capsys):
    folder, (one, two, three, four), sizes = damaged
    out = tmp_path / "data" / "images.csv"
    args = ["index", "--competition", str(folder), "--out", str(out), "--report"]
    assert cli.main(args) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["duplicates"] == 2 and made["broken"] == 1
    page = (out.parent / "images.report.html").read_text("utf-8")
    assert made["report"] == str(out.parent / "images.report.html")
    text = unescape(re.sub(r"<[^>]+>", "\n", page.split("<main>")[1]))
    assert re.search(rf"Landmarks\n+{len(sizes)}\n", text)
    broken = page.split("Broken and missing files")[1].split("</section>")[0]
    assert three in broken and "no JPEG, PNG, GIF, BMP or WebP file" in broken
    repeated = page.split("Duplicate files")[1].split("</section>")[0]
    assert ", ".join(sorted([one, two, four])) in repeated
    assert "contradict each other" in repeated
    for landmark, n in sizes.items():
        n -= landmark == next(iter(sizes))  # the broken one
        assert f"landmark {landmark}: {n} images" in text
    shown = page.split("Contact sheets")[1]
    assert shown.count("<img") == IMAGES * (len(sizes) + 1)
    assert made["megabytes"] < 1


def test_duplicates_are_found_by_content_alone(tmp_path):
    for i, colour in enumerate(("red", "red", "blue", "green", "blue", "blue")):
        path = image_path(tmp_path, f"abc{i}")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 64), colour).save(path)
    found = duplicates([f"abc{i}" for i in range(6)], tmp_path)
    assert found == [["abc2", "abc4", "abc5"], ["abc0", "abc1"]]
    sizes = {image_path(tmp_path, f"abc{i}").stat().st_size for i in range(6)}
    assert len(sizes) < 3  # else it would be by size


def test_contact_sheets_are_bounded():
    """Of many landmarks the largest and the smallest, of many images a few."""
    labels = [
        (f"{landmark:04d}{i:04d}", landmark)
        for landmark in range(500)
        for i in range(landmark)
    ]
    labels += [(f"none{i}", None) for i in range(50)]
    found = choose_sheets(labels)
    assert len(found) == SHEETS + 1
    assert found[0][:2] == (499, 499) and found[-2][:2] == (1, 1)
    assert found[-1][:2] == (None, 50)
    for landmark, n, ids in found:
        assert len(ids) == min(n, IMAGES) == len(set(ids))
        assert ids == sorted(ids)
        assert landmark is None or all(int(i[:4]) == landmark for i in ids)


def test_without_images_there_is_a_sheet(tmp_path, capsys):
    (tmp_path / "train" / "x").mkdir(parents=True)
    (tmp_path / "train.csv").write_text("id,landmark_id\nabc0,7\n")
    out = tmp_path / "index.csv"
    args = ["index", "--competition", str(tmp_path), "--out", str(out), "--report"]
    assert cli.main(args) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["labelled"] == 0 and made["broken"] == 1
    assert "There are no images." in (tmp_path / "index.report.html").read_text("utf-8")
