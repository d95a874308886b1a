"""The tables of the public data set that the competition does not have."""

import pytest

from kaggle_kit.errors import TableError
from kaggle_kit.storage.public_tables import (
    check_ids,
    ids_without_landmark,
    read_clean_labels,
    read_public_solution,
)
from kaggle_kit.storage.tables import Truth

A, B, C, D = (letter * 16 for letter in "abcd")


def check_refused(read, path, text, expected):
    """One line: the file, what was expected, and what to do."""
    path.write_text(text)
    with pytest.raises(TableError) as caught:
        read(path)
    line = str(caught.value)
    assert line.startswith(f"{path}: ") and expected in line and "; " in line


def test_a_solution_is_read_as_it_is_published(tmp_path):
    path = tmp_path / "recognition_solution_v2.1.csv"
    path.write_text(
        f"id,landmarks,Usage\n{B},,Private\n{A},7 8,Public\n{D},,Ignored\n{C},,Public\n"
    )
    truths = read_public_solution(path)
    assert truths == {
        B: Truth(frozenset(), "Private"),
        A: Truth(frozenset([7, 8]), "Public"),
        D: Truth(frozenset(), "Ignored"),
        C: Truth(frozenset(), "Public"),
    }
    assert ids_without_landmark(truths) == [B, C]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "expected the columns id,landmarks"),
        ("id,landmarks,Usage\n", "expected a row per image, got none"),
        (
            f"id,landmarks\n{A},\n",
            f"image {A}: expected Usage Public, Private, Ignored",
        ),
        (f"id,landmarks,Usage\n{A},,\n", f"image {A}: expected Usage"),
        (f"id,landmarks,Usage\n{A},,Test\n", "row 2"),
        (f"id,landmarks,Usage\n{A},x,Public\n", "expected landmark ids separated"),
        (f"id,landmarks,Usage\n{A},None,Public\n", "expected landmark ids separated"),
        ("id,landmarks,Usage\n../x,,Public\n", "row 2: expected an image id"),
        ("id,landmarks,Usage\n,,Public\n", "row 2: expected an image id"),
        (f"id,landmarks,Usage\n{A},,Public\n{A},,Public\n", "one row for this id"),
        (f"id,landmarks,Usage\n{A},\n", "row 2: expected 3 fields"),
    ],
)
def test_a_malformed_solution_is_one_line(tmp_path, text, expected):
    path = tmp_path / "recognition_solution_v2.1.csv"
    check_refused(read_public_solution, path, text, expected)


def test_clean_labels_are_read_as_they_are_published(tmp_path):
    path = tmp_path / "train_clean.csv"
    path.write_text(f"landmark_id,images\n9,{B} {A}\n007,{C}\n")
    assert list(read_clean_labels(path).items()) == [(B, 9), (A, 9), (C, 7)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "expected the columns landmark_id,images"),
        ("landmark_id,images\n", "expected image ids, got none"),
        (f"landmark_id,images\nx,{A}\n", "row 2: expected a landmark id"),
        (f"landmark_id,images\n7,{A};{B}\n", "expected image ids separated by blanks"),
        (f"landmark_id,images\n7,{A}\n8,{B} {A}\n", f"row 3: image {A}: expected each"),
    ],
)
def test_malformed_clean_labels_are_one_line(tmp_path, text, expected):
    path = tmp_path / "train_clean.csv"
    check_refused(read_clean_labels, path, text, expected)


def test_ids_of_other_tables_are_checked_by_column(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(f"landmark_id,id,title\n7,{A},x/y\nx,{B},\n8,../x,\n")
    check_ids(path, ("id", "landmark_id", "title"), most=1)
    for columns, expected in (
        (("landmark_id",), "row 3: expected a landmark id (a whole number), got 'x'"),
        (("title", "id"), "row 4: expected an image id such as"),
        (("id", "author"), "row 1: expected the columns id,author"),
    ):
        with pytest.raises(TableError) as caught:
            check_ids(path, columns)
        line = str(caught.value)
        assert line.startswith(f"{path}: ") and expected in line and "; " in line
