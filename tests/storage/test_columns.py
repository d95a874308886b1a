"""Columns behave as the list of their rows does."""

import numpy as np
import pytest

from kaggle_kit.storage.columns import Columns
from kaggle_kit.storage.tables import Label, Member

LABELS = [Label(f"{i:016x}", i * i % 7, "twins" if i % 3 else "") for i in range(20)]
MEMBERS = [Member("a", 7, "train"), Member("b", None, "penalty")]


@pytest.mark.parametrize(("kind", "rows"), [(Label, LABELS), (Member, MEMBERS)])
def test_they_read_as_the_rows_they_were_made_of(kind, rows):
    columns = Columns.of(kind, rows)
    assert Columns.of(kind, columns) is columns
    assert list(columns) == rows and columns == rows and rows == columns
    assert columns[0] == rows[0] and columns[-1] == rows[-1]
    assert columns[1:9:2] == rows[1:9:2]
    assert list(columns.tuples()) == list(map(tuple, rows))
    assert type(columns[0]) is type(next(iter(columns))) is kind
    for got, expected in zip(columns[1], rows[1], strict=True):
        assert type(got) is type(expected)  # no number of NumPy gets into a file
    with pytest.raises(IndexError):
        columns[len(rows)]


def test_they_are_equal_to_the_same_rows_only():
    columns = Columns.of(Label, LABELS)
    assert columns != LABELS[:-1] and columns != LABELS[::-1] and columns != "rows"
    assert Columns.of(Label, []) == [] != columns


def test_they_are_chosen_from_and_put_together():
    columns = Columns.of(Label, LABELS)
    mask = columns.column("landmark_id") == 4
    assert columns.select(mask) == [row for row in LABELS if row.landmark_id == 4]
    assert columns.select(np.array([3, 1])) == [LABELS[3], LABELS[1]]
    assert columns[:3] + LABELS[5:] == LABELS[:3] + LABELS[5:]
    pool = Columns.of(Member, MEMBERS[:1]) + MEMBERS[1:]
    assert pool == MEMBERS
    for nothing in (Columns.of(Member, []), []):
        assert pool + nothing == MEMBERS
    assert [type(i) for i in pool.column("landmark_id")] == [int, type(None)]
