"""The benchmarks run, on sizes that take no time; what they measure is another matter."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from tests.benchmarks import epoch, near_duplicates, predict, search, subset
from tests.benchmarks.__main__ import line


@pytest.fixture(autouse=True)
def small(monkeypatch):
    of_search = {"N_GALLERY": 9000, "N_QUERIES": 40, "WIDTH": 16}
    sizes = {
        search: {**of_search, "N_NON_LANDMARKS": 50, "REPEATS": 1},
        near_duplicates: {"SIZES": (300, 3000), "COMPARED": 100},
        subset: {"N_IMAGES": 4000, "N_LANDMARKS": 150, "REPEATS": 1},
    }
    for module, values in sizes.items():
        for name, value in values.items():
            monkeypatch.setattr(module, name, value)


class Flat:
    """What the benchmark asks of the other library."""

    def __init__(self, width):
        self.vectors = np.empty((0, width), np.float32)

    def add(self, vectors):
        self.vectors = np.concatenate([self.vectors, vectors])

    def search(self, queries, k):
        products = queries @ self.vectors.T
        rows = np.argsort(-products, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(products, rows, axis=1), rows


@pytest.mark.parametrize("installed", [True, False])
def test_search_is_measured(installed, monkeypatch):
    other = SimpleNamespace(IndexFlatIP=Flat) if installed else None
    monkeypatch.setitem(sys.modules, "faiss", other)
    rows = search.measure()
    assert len(rows) == 4 and all(line(row).startswith("| ") for row in rows)
    assert ("not installed" in rows[0].theirs) != installed
    assert (rows[0].ratio is None) != installed
    assert "MB" in rows[3].ours and rows[3].ratio > 0


def test_subset_is_measured():
    rows = subset.measure()
    assert len(rows) == 3 and all(row.ratio > 0 for row in rows)
    assert "of 4,000 and split" in rows[0].measure


def test_grouping_of_near_duplicates_is_measured():
    rows = near_duplicates.measure()
    assert [row.floor for row in rows] == [None, None, 1, 1]
    assert all(row.ratio > 0 and line(row).startswith("| ") for row in rows)
    assert "3,000 images" in rows[1].measure and "times the time" in rows[1].measure


@pytest.mark.extended
def test_predict_is_measured_against_a_notebooks_loop_and_the_model_alone():
    rows = predict.measure(n=6, side=32, repeats=1)
    assert [row.floor for row in rows] == [3, 0.9, None, 0.9]
    assert "32 px in 8-bit integers, 6 JPEGs to submission.csv" in line(rows[0])
    assert "32 px in floats, 1 JPEGs to submission.csv" in line(rows[2])
    for row in rows:
        ours, theirs = (float(text.split()[0]) for text in (row.ours, row.theirs))
        assert row.ratio == pytest.approx(ours / theirs, rel=0.1)


@pytest.mark.extended
def test_an_epoch_is_measured_against_one_from_memory():
    (row,) = epoch.measure(n=16, repeats=1)
    assert row.floor == 0.95 and row.ratio > 0
    ours, theirs = (float(text.split()[0]) for text in (row.ours, row.theirs))
    assert row.ratio == pytest.approx(ours / theirs, rel=0.1)
