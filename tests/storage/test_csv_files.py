"""CSV files of any columns: found by name, written whole or not at all."""

import pytest

from kaggle_kit.errors import TableError
from kaggle_kit.storage.csv_files import read_rows, write_rows


def test_rows_that_fail_leave_the_old_table(tmp_path):
    def rows():
        yield "a", 1
        raise ValueError("torn")

    path = tmp_path / "table.csv"
    write_rows(path, ("x", "y"), [("old", None)])
    with pytest.raises(ValueError, match="torn"):
        write_rows(path, ("x", "y"), rows())
    assert path.read_text() == "x,y\nold,\n"
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]


def test_columns_are_found_by_name_and_an_optional_one_may_be_absent(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("c,a,b\n3,1,2\n\n6, 4 ,5\n")
    rows = read_rows(path, ("a", "b"), optional=("d", "c"))
    assert list(rows) == [(2, ["1", "2", "", "3"]), (4, ["4", "5", "", "6"])]


def test_rows_before_a_bad_one_are_read(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,b\n1,2\n3\n")
    rows = read_rows(path, ("a",))
    assert next(rows) == (2, ["1"])
    with pytest.raises(TableError, match="row 3: expected 2 fields"):
        next(rows)


def test_what_is_written_reads_back(tmp_path):
    path = tmp_path / "table.csv"
    cells = ['a,"b"', "one\ntwo", "", "Orée"]
    write_rows(path, ("x", "y"), [(cell, 1) for cell in cells])
    assert [fields for _, fields in read_rows(path, ("y", "x"))] == [
        ["1", cell] for cell in cells
    ]
