"""The benchmarks of speed run, at sizes too small to say anything of speed."""

import pytest

from tests.benchmarks import epoch, predict
from tests.benchmarks.__main__ import line


def test_predict_is_measured_against_a_notebooks_loop_and_the_model_alone():
    rows = predict.measure(n=6, side=32, repeats=1)
    assert [row.floor for row in rows] == [3, 0.9]
    assert "32 px, 6 JPEGs to submission.csv" in line(rows[0])
    for row in rows:
        ours, theirs = (float(text.split()[0]) for text in (row.ours, row.theirs))
        assert row.ratio == pytest.approx(ours / theirs, rel=0.1)


def test_an_epoch_is_measured_against_one_from_memory():
    (row,) = epoch.measure(n=16, side=32, repeats=1)
    assert row.floor == 0.95 and row.ratio > 0
    ours, theirs = (float(text.split()[0]) for text in (row.ours, row.theirs))
    assert row.ratio == pytest.approx(ours / theirs, rel=0.1)
