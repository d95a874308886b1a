"""Every number of the report, recomputed from the CSV files by its definition.

Nothing of the kit is called for what is expected: the files are read by ``csv``, and the
values are fractions.
"""

import base64
import csv
import json
import re
from collections import Counter
from statistics import median

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kaggle_kit.report import compare, plots
from kaggle_kit.report import page as page_module
from kaggle_kit.report.page import report
from tests.helpers.report_page import Page
from tests.helpers.scored_images import (
    auc_of,
    gap_of,
    kinds_of,
    precisions_of,
    rank,
    read_images,
)

SHARES = {"1.1%": 0.011, "10%": 0.1, "30%": 0.3}
LOSSES = "GAP and its losses"


def name(landmark):
    return "no landmark" if landmark is None else f"landmark {landmark}"


def check_boxes(page, images):
    """The section on GAP."""
    positives = [image for image in images if image.shown]
    n_others = len(images) - len(positives)

    def text(value):
        return "–" if value is None else f"{value:.4f}"

    expected = {
        "Landmark images right (top-1)": text(
            sum(image.right for image in images) / len(positives)
        ),
        "Landmarks against others (AUC)": text(auc_of(images)),
        "GAP on landmarks only": text(gap_of(positives)),
        "Images": str(len(images)),
        "Images of a landmark": str(len(positives)),
        "Guesses": str(len(rank(images))),
    }
    for share_name, share in SHARES.items():
        at_share = None
        if n_others:
            weight = len(positives) * (1 - share) / (share * n_others)
            at_share = gap_of(images, weight)
        expected[f"GAP at {share_name} landmarks"] = text(at_share)
    for usage in ("Public", "Private"):
        part = [image for image in images if image.usage == usage]
        if part:
            expected[f"{usage} GAP"] = text(gap_of(part))
            assert page.boxes[f"{usage} GAP"][1] == f"{len(part)} images"
    assert {box: value for box, (value, _) in page.boxes.items()} == expected


def check_causes(page, images, gap):
    """What GAP was lost to: the words of each row, its share, and its images."""
    wrong = [i for i in images if i.shown and not i.right and i.guess is not None]
    known = [image for image in wrong if not image.unknown]
    unknown = [image for image in wrong if image.unknown]
    none = [image for image in images if not image.shown and image.above]
    missing = [i for i in images if i.shown and i.guess is None]
    first, of_these = (
        "Landmark images with a wrong guess",
        "Of these, ranked above a right",
    )

    def cause(label, lost, column):
        return label, sum(getattr(i, column) for i in lost), len(lost)

    def two(label, lost):
        above = [image for image in lost if image.above]
        return [cause(label, lost, "own"), cause(f"{of_these} guess", above, "above")]

    rows = two(first, known)
    if any(image.unknown for image in images):
        rows = [
            *two("Wrong guesses, the landmark in the bundle", known),
            *two("Wrong guesses, the landmark not in the bundle", unknown),
        ]
    expected = [
        ("Earned: GAP", gap, sum(image.right for image in images)),
        *rows,
        cause("Images of no landmark, ranked above a right guess", none, "above"),
        cause("Landmark images without a guess", missing, "own"),
    ]
    *found, total = page.tables[LOSSES][1:]
    assert [row[0][0] for row in found] == [label for label, _, _ in expected]
    for (_, share, n), (label, value, count) in zip(found, expected, strict=True):
        assert float(share[1]) == pytest.approx(float(value), abs=1e-12), label
        assert share[0] == f"{float(share[1]):.4f}", label
        assert n[0] == f"{count:,}" and float(n[1]) == count, label
    assert sum(value for _, value, _ in expected) == pytest.approx(1, abs=1e-12)
    assert float(total[1][1]) == pytest.approx(1, abs=1e-12)
    strange = [image for image in images if image.unknown]
    says = f": {len(strange):,}, of which {sum(i.right for i in strange):,} are right."
    assert ("not in the bundle" + says in page.text) == bool(strange)


def check_ranking(page, images):
    """The text alternatives of the two figures on the ranking."""
    line = precisions_of(images)
    if not line:
        assert "There are no guesses." in page.text
        return
    precision, confidence = (alt for _, alt, _ in page.figures[:2])
    assert precision == (
        f"Precision over rank: from {line[0]:.2f} at the top to {line[-1]:.2f} after "
        f"all {len(line):,} guesses"
    )
    medians = ", ".join(
        f"{kind}: {median(values):.3g}"
        for kind, values in kinds_of(images).items()
        if values
    )
    assert confidence == f"Histograms of confidence; medians: {medians}"


def check_landmarks(page, images, known):
    """The table by landmark."""
    false = Counter(i.guess for i in images if i.guess is not None and not i.right)
    landmarks = {image.landmark for image in images} | set(false)
    n = len(landmarks - {None})
    rows = page.rows(f"{n:,} landmarks")
    labels = {k: "Not a landmark" if k is None else name(k) for k in landmarks}
    assert set(rows) == set(labels.values())
    total = sum(image.loss for image in images)
    for landmark, label in labels.items():
        own = [image for image in images if image.landmark == landmark]
        right = sum(image.right for image in own)
        share = float(sum(i.loss for i in own) / total) if total else 0.0
        confused = Counter(
            i.guess for i in own if i.guess is not None and not i.right
        ).most_common()
        most = min((-times, guess) for guess, times in confused) if confused else None
        words = []
        if known is not None and landmark is not None and landmark not in known:
            words.append("not in the bundle")
        if most:
            words.append(f"{name(most[1])} × {-most[0]}")
        recall = f"{right / len(own):.1%}" if own and landmark is not None else "–"
        *counts, shown, last = rows[label]
        assert [cell[0] for cell in counts] == [
            f"{len(own):,}",
            "–" if landmark is None else f"{right:,}",
            recall,
            f"{false[landmark]:,}",
        ]
        assert float(shown[1]) == pytest.approx(share, abs=1e-12)
        assert shown[0] == f"{float(shown[1]):.1%}"
        assert last[0] == "; ".join(words)


def check_mistakes(page, images):
    """The table of the costliest mistakes, of a page without images."""
    costly = [image for image in images if image.loss]
    if not costly:
        assert "There are none." in page.text
        return
    rows = page.rows(f"The worst {min(12, len(costly))} images")
    by_id = {image.id: image for image in images}
    costs = [float(by_id[i].loss) for i in rows]
    assert costs == sorted((float(i.loss) for i in costly), reverse=True)[:12]
    for image_id, (shows, guess, place, cost) in rows.items():
        image = by_id[image_id]
        unknown = ", not in the bundle" if image.unknown else ""
        assert shows[0] == name(image.landmark) + unknown
        assert guess[0] == ("nothing" if image.guess is None else name(image.guess))
        assert place[0] == f"{image.rank:,}"
        assert float(cost[1]) == pytest.approx(float(image.loss), abs=1e-12)
        assert cost[0] == f"{float(cost[1]):.4f}"


def check_comparison(page, images, others):
    """The numbers against another submission for the same images."""
    here, there = gap_of(images), gap_of(others)
    assert (
        f"{here - there:+.4f}\n GAP ({here:.4f} here, {there:.4f} there)" in page.text
    )
    pairs = [(a, b) for a, b in zip(images, others, strict=True) if a.right != b.right]
    gained = sum(a.right for a, _ in pairs)
    counts = f"{gained} images are right only here, {len(pairs) - gained} only there."
    assert counts in page.text
    if not pairs:
        return
    rows = page.rows("Images that are right in one submission only")
    assert set(rows) == {a.id for a, _ in pairs}
    for one, other in pairs:
        guesses = [
            "nothing" if i.guess is None else name(i.guess) for i in (one, other)
        ]
        *found, effect = rows[one.id]
        shows = name((one if one.right else other).guess)
        assert [cell[0] for cell in found] == [shows, *guesses]
        expected = float(other.loss - one.loss)
        assert float(effect[1]) == pytest.approx(expected, abs=1e-12)


class Drawn:
    """The figures of a page as they are drawn, in place of their SVG.

    Attributes:
        axes: of each figure.
        histograms: the values and bins of each that is in a legend, by its label.
    """

    def __init__(self, monkeypatch):
        self.axes, self.histograms = [], {}
        hist = Axes.hist

        def record(axis, values, bins, *args, **options):
            if "label" in options:
                self.histograms[options["label"]] = list(values), list(bins)
            return hist(axis, values, bins, *args, **options)

        def draw(function):
            axis = Figure().subplots()
            function(axis)
            self.axes.append(axis)
            return b"<svg/>"

        monkeypatch.setattr(Axes, "hist", record)
        monkeypatch.setattr(plots, "_svg", draw)

    def check(self, images):
        """Compare the figures on the ranking with the files."""
        line = precisions_of(images)
        if not line:
            assert not self.axes
            return
        precision, confidence = self.axes
        drawn, mark = precision.lines
        assert drawn.get_xdata().tolist() == list(range(1, len(line) + 1))
        assert drawn.get_ydata().tolist() == pytest.approx(line, abs=1e-12)
        n_positives = sum(bool(image.shown) for image in images)
        assert set(mark.get_xdata()) == {n_positives}
        kinds = kinds_of(images)
        legend = [text.get_text() for text in confidence.get_legend().get_texts()]
        assert legend == [f"{kind} ({len(v):,})" for kind, v in kinds.items()]
        for label, values in zip(legend, kinds.values(), strict=True):
            drawn_values, bins = self.histograms[label]
            assert sorted(drawn_values) == sorted(values)
            assert all(bins[0] <= value <= bins[-1] for value in values)
        colours = {patch.get_edgecolor() for patch in confidence.patches[1::2]}
        assert len(colours) == len(kinds)


def write_case(rng, folder):
    """Write a small competition of a random kind, and return its known landmarks."""
    n = int(rng.integers(1, 26))
    p_none = rng.choice([0.0, 0.4, 0.9])
    p_guess = rng.choice([0.0, 0.6, 1.0], p=[0.15, 0.25, 0.6])
    levels = int(rng.choice([1, 4, 1000]))  # few: many ties
    with_usage = rng.random() < 0.4
    truths, tables = [], ([], [])
    for i in rng.permutation(n).tolist():
        shown = (
            [] if rng.random() < p_none else rng.integers(1, 7, rng.choice([1, 1, 2]))
        )
        usages = ["Public", "Private", "Ignored"][: 3 if truths else 2]
        usage = rng.choice(usages) if with_usage else ""
        cells = [f"{i:016x}", " ".join(map(str, shown)), usage]
        truths.append(",".join(cells if with_usage else cells[:2]))
        for rows in tables:
            landmark = (
                shown[0] if len(shown) and rng.random() < 0.5 else rng.integers(1, 9)
            )
            guess = f"{landmark} {int(rng.integers(-levels, levels)) / 7}"
            rows.append(f"{i:016x},{guess if rng.random() < p_guess else ''}")
    (folder / "other").mkdir(parents=True)
    head = "id,landmarks,Usage" if with_usage else "id,landmarks"
    files = {
        "solution.csv": [head, *truths],
        "submission.csv": ["id,landmarks", *tables[0]],
        "other/submission.csv": ["id,landmarks", *tables[1]],
    }
    for file, lines in files.items():
        (folder / file).write_text("\n".join(lines) + "\n")
    held = [None, set(), {1, 2, 3}, {2, 5, 8}, set(range(1, 9))][rng.integers(5)]
    if held is not None:
        write_bundle(folder, held)
    return held


def write_bundle(folder, landmarks):
    """What the report reads of a bundle without a network."""
    (folder / "gallery").mkdir()
    rows = [f"{landmark:016x},{landmark}" for landmark in landmarks]
    text = "\n".join(["id,landmark_id", *rows]) + "\n"
    (folder / "gallery" / "gallery.csv").write_text(text)
    manifest = {
        "files": {"gallery/gallery.csv": {"bytes": len(text), "sha256": "0" * 64}}
    }
    (folder / "kit-manifest.json").write_text(json.dumps(manifest))


def check_page(page, images, known):
    """Compare all sections on the result with the files."""
    gap = gap_of(images)
    if gap is None:
        assert "Not defined: no image shows a landmark." in page.text
        assert LOSSES not in page.tables
    else:
        check_boxes(page, images)
        check_causes(page, images, gap)
        check_mistakes(page, images)
    check_ranking(page, images)
    check_landmarks(page, images, known)


def test_the_numbers_of_small_competitions_are_those_of_the_files(
    tmp_path, monkeypatch, tried
):
    """Random ones: ties, none of a landmark or all, no guesses, unknown landmarks."""
    seen = Counter()
    for seed in range(40):
        rng = np.random.default_rng([seed, 31])
        folder = tmp_path / str(seed)
        known = write_case(rng, folder)
        paths = folder / "submission.csv", folder / "solution.csv"
        with monkeypatch.context() as patch:
            patch.setattr(
                page_module, "RESAMPLES", 20
            )  # of intervals, not checked here
            patch.setattr(compare, "RESAMPLES", 20)
            drawn = Drawn(patch)
            report(folder, *paths, folder / "r.html", against=[folder / "other"])
        page = Page((folder / "r.html").read_text("utf-8"))
        images = read_images(*paths, known)
        others = read_images(folder / "other" / "submission.csv", paths[1], None)
        check_page(page, images, known)
        drawn.check(images)
        if gap_of(images) is not None:
            check_comparison(page, images, others)
        below = [
            i for i in images if i.guess is not None and not i.right and not i.above
        ]
        seen["unknown landmarks"] += any(image.unknown for image in images)
        seen["wrong guesses below all right ones"] += bool(below)
        seen["no guesses"] += not rank(images)
        seen["ties"] += len({i.confidence for i in rank(images)}) < len(rank(images))
        seen["no images without a landmark"] += all(image.shown for image in images)
    assert min(seen.values()) >= 3 and len(seen) == 5, seen
    tried["reports whose numbers were recomputed"] += 40


def test_the_numbers_of_the_drawn_competition_are_those_of_the_files(
    competition, tmp_path
):
    """Of a bundle that does not hold one of the four landmarks; with images and figures."""
    with (competition / "solution.csv").open(newline="") as file:
        truths = sorted(csv.DictReader(file), key=lambda row: row["id"])
    landmarks = sorted({int(i) for row in truths for i in row["landmarks"].split()})
    known = set(landmarks[1:])
    write_bundle(tmp_path, known)
    lines = ["id,landmarks"]
    for i, row in enumerate(truths):
        shown = row["landmarks"].split() or [landmarks[i % 4]]
        landmark = shown[0] if i % 2 else landmarks[i % 4]
        lines.append(f"{row['id']},{f'{landmark} {1 - i / 100}' if i % 7 else ''}")
    submission = tmp_path / "submission.csv"
    submission.write_text("\n".join(lines) + "\n")
    paths = submission, competition / "solution.csv"
    report(tmp_path, *paths, tmp_path / "r.html", competition=competition)
    page = Page((tmp_path / "r.html").read_text("utf-8"))
    images = read_images(*paths, known)
    assert any(image.unknown for image in images)
    check_boxes(page, images)
    check_causes(page, images, gap_of(images))
    check_ranking(page, images)
    check_landmarks(page, images, known)
    check_mistake_list(page, images)
    source, _, caption = page.figures[1]
    assert caption.startswith(
        "Confidence of the guesses by kind of image, with their num"
    )
    svg = base64.b64decode(source.split("base64,")[1]).decode()
    legend = re.findall(r"<!-- (.*\(\d+\)) -->", svg)
    assert legend == [f"{kind} ({len(v)})" for kind, v in kinds_of(images).items()]


def check_mistake_list(page, images):
    """The list of the costliest mistakes, of a page with images."""
    costly = sorted(
        (image for image in images if image.loss), key=lambda image: -image.loss
    )[:12]
    texts = re.findall(
        r"Shows (.*), guessed: (.*)\n(?:Rank (\d+), confidence (\S+)\. )?"
        r"Costs (\S+) of GAP\.\n",
        page.text,
    )
    assert len(texts) == len(costly)
    ids = [caption.removeprefix("Test image ") for _, _, caption in page.figures[2:]]
    by_id = {image.id: image for image in images}
    mistakes = [by_id[image_id] for image_id in ids if image_id in by_id]
    assert [i.loss for i in mistakes] == [i.loss for i in costly]
    for image, (shows, guess, place, confidence, cost) in zip(
        mistakes, texts, strict=True
    ):
        unknown = ", not in the bundle" if image.unknown else ""
        assert shows == name(image.landmark) + unknown
        assert guess == ("nothing" if image.guess is None else name(image.guess))
        assert cost == f"{float(image.loss):.4f}"
        if image.guess is not None:
            assert place == str(image.rank) and confidence == f"{image.confidence:.4g}"
