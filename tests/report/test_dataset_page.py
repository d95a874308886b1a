"""The sheet of data: what an index lists, broken files, near-duplicates, and a look at it."""

import json
import re
import shutil
from html import unescape

import numpy as np
import pytest
from PIL import Image

from kaggle_kit import cli
from kaggle_kit.data.layout import image_path
from kaggle_kit.report import duplicates
from kaggle_kit.report.contact_sheets import IMAGES, SHEETS, choose_sheets
from kaggle_kit.report.duplicates import duplicates_section, find_groups
from kaggle_kit.storage import tables


@pytest.fixture
def damaged(competition, tmp_path):
    """A competition with a broken image, a copy, and a scaled one, labelled otherwise."""
    copy = shutil.copytree(competition, tmp_path / "competition")
    labels = list(tables.read_labels(copy / "train.csv"))
    by_landmark = {}
    for label in labels:
        by_landmark.setdefault(label.landmark_id, []).append(label.image_id)
    (one, two, three, *_), (four, *_), *_ = by_landmark.values()
    source = image_path(copy / "train", one)
    shutil.copyfile(source, image_path(copy / "train", two))
    with Image.open(source) as image:
        half = image.resize((image.width // 2, image.height // 2))
    half.save(image_path(copy / "train", four))
    image_path(copy / "train", three).write_text("not an image")
    return copy, (one, two, three, four), {i: len(x) for i, x in by_landmark.items()}


def test_the_sheet_says_what_is_there_and_what_is_wrong(damaged, tmp_path, capsys):
    folder, (one, two, three, four), sizes = damaged
    out = tmp_path / "data" / "images.csv"
    args = ["index", "--competition", str(folder), "--out", str(out), "--report"]
    assert cli.main(args) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["duplicate_groups"] == 1 and made["duplicate_images"] == 3
    assert made["broken"] == 1
    page = (out.parent / "images.report.html").read_text("utf-8")
    assert made["report"] == str(out.parent / "images.report.html")
    text = unescape(re.sub(r"<[^>]+>", "\n", page.split("<main>")[1]))
    assert re.search(rf"Landmarks\n+{len(sizes)}\n", text)
    broken = page.split("Broken and missing files")[1].split("</section>")[0]
    assert three in broken and "cannot identify image file" in broken
    repeated = page.split("<h2>Near-duplicates")[1].split("</section>")[0]
    assert ", ".join(sorted([one, two, four])) in repeated
    assert "contradict each other" in repeated
    assert "Groups: 1; images in them: 3." in repeated and repeated.count("<img") == 3
    assert re.search(r"With near-duplicates\n+3\n", text)
    for landmark, n in sizes.items():
        n -= landmark == next(iter(sizes))  # the broken one
        assert f"landmark {landmark}: {n} images" in text
    shown = page.split("Contact sheets")[1]
    assert shown.count("<img") == IMAGES * (len(sizes) + 1)
    assert made["megabytes"] < 1


def test_groups_are_sorted_and_images_without_a_hash_are_in_none():
    one, two = np.random.default_rng(0).integers(0, 2**64, (2, 3), np.uint64)
    none = np.zeros(3, np.uint64)
    ids = [f"abc{i}" for i in range(8)]
    hashes = np.array([one, one, two, none, two, two, none, one ^ two])
    assert find_groups(ids, hashes) == [["abc2", "abc4", "abc5"], ["abc0", "abc1"]]


def test_of_many_groups_the_largest_are_shown(competition):
    most, shown = duplicates.GROUPS, duplicates.SHEETS
    ids = sorted(path.stem for path in (competition / "train").rglob("*.jpg"))
    groups = [ids[:12]] + [ids[i % 20 : i % 20 + 2] for i in range(most + 30)]
    section = duplicates_section(
        groups, dict.fromkeys(ids), competition / "train", lambda i: f"landmark {i}"
    )
    assert f"the {most} largest of {most + 31} groups" in section
    assert section.count("<tr>") == 1 + most
    assert section.count("<h3>") == shown
    assert section.count("<img") == IMAGES + 2 * (shown - 1)
    assert f"The {shown} largest are shown." in section


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
