"""The sheet of data: what an index lists, broken files, near-duplicates, and a look at it."""

import csv
import json
import re
import shutil
from collections import Counter
from html import unescape
from statistics import median

import numpy as np
import pytest
from PIL import Image

from kaggle_kit import cli
from kaggle_kit.data.layout import image_path
from kaggle_kit.report import duplicates, plots
from kaggle_kit.report.contact_sheets import IMAGES, SHEETS, choose_sheets
from kaggle_kit.report.duplicates import duplicates_section, find_groups
from kaggle_kit.storage import tables
from tests.helpers.report_page import Page


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
    assert three in broken and "no JPEG, PNG, GIF, BMP or WebP file" in broken
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


def percentile(values, percent):
    """Between the two nearest of the sorted values, linearly."""
    values = sorted(values)
    place = (len(values) - 1) * percent / 100
    low = int(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (place - low)


def test_the_numbers_of_the_page_are_those_of_the_index(
    damaged, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(plots, "MAX_POINTS", 20)
    folder, *_ = damaged
    out = tmp_path / "data" / "images.csv"
    args = ["index", "--competition", str(folder), "--out", str(out), "--report"]
    assert cli.main(args) == 0
    page = Page((out.parent / "images.report.html").read_text("utf-8"))
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    landmarks = Counter(row["landmark_id"] for row in rows if row["landmark_id"])
    n_labelled = sum(landmarks.values())
    assert {box: value for box, (value, _) in page.boxes.items()} == {
        "Images that decode": f"{len(rows):,}",
        "Images of a landmark": f"{n_labelled:,}",
        "Images that train.csv does not list": f"{len(rows) - n_labelled:,}",
        "Landmarks": f"{len(landmarks):,}",
        "Broken or missing": "1",
        "With near-duplicates": "3",
    }
    table = page.rows(f"{len(landmarks)} landmarks")
    assert {name: [cell[0] for cell in cells] for name, cells in table.items()} == {
        f"landmark {i}": [str(n), f"{n / n_labelled:.2%}"] for i, n in landmarks.items()
    }
    sizes = [(int(row["width"]), int(row["height"])) for row in rows]
    measures = {
        "Width, pixels": [width for width, _ in sizes],
        "Height, pixels": [height for _, height in sizes],
        "Shorter side, pixels": list(map(min, sizes)),
        "Megapixels": [width * height / 1e6 for width, height in sizes],
        "Width / height": [width / height for width, height in sizes],
    }
    for measure, cells in page.rows("Percentiles").items():
        values = [percentile(measures[measure], p) for p in (0, 5, 50, 95, 100)]
        assert [float(value) for _, value in cells] == pytest.approx(values)
    counts, sizes_caption, shorter = (caption for *_, caption in page.figures[:3])
    n = landmarks.values()
    limits = f"{min(n)} to {max(n)} images of a landmark, median {median(n):g}."
    assert counts == limits
    (size, times), *_ = Counter(sizes).most_common(1)
    assert sizes_caption == (
        f"The most frequent is {size[0]} × {size[1]}, {times} images. "
        f"Drawn are 20 of {len(rows)} images."
    )
    middle = median(measures["Shorter side, pixels"])
    assert shorter.startswith(f"Shorter side, median {middle:g} pixels.")


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


def test_an_index_of_no_image_that_decodes_is_an_error(tmp_path, capsys):
    (tmp_path / "train" / "x").mkdir(parents=True)
    (tmp_path / "train.csv").write_text("id,landmark_id\nabc0,7\n")
    out = tmp_path / "index.csv"
    args = ["index", "--competition", str(tmp_path), "--out", str(out), "--report"]
    assert cli.main(args) == 1
    assert "expected images that decode, got none of 1" in capsys.readouterr().err
    assert "abc0,no file" in (tmp_path / "index.broken.csv").read_text("utf-8")
