"""Choosing and splitting the whole competition, against pandas and scikit-learn."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from kaggle_kit import config
from kaggle_kit.data.split import split
from kaggle_kit.data.subset import choose, subset
from kaggle_kit.storage import tables
from kaggle_kit.storage.tables import Label, Member
from tests.benchmarks import Row, medians

N_IMAGES, N_LANDMARKS = 1_580_470, 81_313
FEW = 10  # images of each landmark that has so many, where all choose alike
SHARE = 0.25
REPEATS = 5
PLAIN = config.Subset(near_duplicates="ignored")  # tables alone


def measure() -> list[Row]:
    """Tables in memory on both sides; then ours from file to files."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.csv"
        _write(path)
        labels = tables.read_labels(path)
        frame = pd.read_csv(path, dtype={"id": str})
        fewest = config.Subset(
            min_images=FEW, max_images=FEW, near_duplicates="ignored"
        )
        rows = [
            _row(f"{FEW} images of each landmark chosen", labels, frame, fewest, 3),
            _row("all images", labels, frame, config.Subset(min_images=4), 3),
        ]
        return [*rows, *_from_file(path)]


def _write(path: Path) -> None:
    """A ``train.csv`` with a long tail: more than half of the landmarks have few images."""
    rng = np.random.default_rng(0)
    weights = np.minimum(rng.pareto(1.0, N_LANDMARKS) + 0.4, 200)
    more = rng.multinomial(N_IMAGES - N_LANDMARKS, weights / weights.sum())
    landmark = rng.permutation(np.repeat(np.arange(N_LANDMARKS), 1 + more))
    rows = (
        (f"{i * 0x9E3779B97F4A7C15 % 2**64:016x}", int(c))
        for i, c in enumerate(landmark)
    )
    tables.write_rows(path, ("id", "landmark_id"), rows)


def _row(
    what: str,
    labels: Sequence[Label],
    frame: pd.DataFrame,
    settings: config.Subset,
    floor: float | None,
) -> Row:
    def ours() -> Sequence[Member]:
        with tables.without_gc():  # as ``subset`` does
            rng = np.random.default_rng(0)
            return split(choose(labels, settings, rng), SHARE, rng)

    def theirs() -> list[pd.DataFrame]:
        size = frame.groupby("landmark_id")["id"].transform("size")
        kept = frame[size >= settings.min_images]
        if settings.max_images:
            groups = kept.groupby("landmark_id")
            kept = groups.sample(settings.max_images, random_state=0)
        landmark = kept["landmark_id"]
        return train_test_split(
            kept, test_size=SHARE, stratify=landmark, random_state=0
        )

    members = ours()
    assert len(members) == sum(map(len, theirs()))
    held_out = sum(member.split == "validation" for member in members)
    assert abs(held_out / len(members) - SHARE) < 0.02
    mine, other = medians(REPEATS, ours, theirs)
    name = f"{what} of {len(labels):,} and split: {len(members):,}"
    return Row(name, f"{mine:.2f} s", f"{other:.2f} s", other / mine, floor)


def _from_file(path: Path) -> list[Row]:
    seconds, read_seconds = [], []
    for _ in range(REPEATS):
        start = time.perf_counter()
        tables.read_labels(path)
        read_seconds.append(time.perf_counter() - start)
        start = time.perf_counter()
        subset(PLAIN, 0, path.parent, path.parent / "s")
        seconds.append(time.perf_counter() - start)
    read, whole = float(np.median(read_seconds)), float(np.median(seconds))
    name = f"reading, splitting and writing {N_IMAGES:,} images"
    text = f"{whole:.1f} s, of which reading {read:.1f} s"
    return [Row(name, text, "allowed: 10 s", 10 / whole, 1)]
