"""The CSV files: ids stay strings, oddities are read, mistakes are named by their row."""

import csv
import gc
import locale
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaggle_kit.data.index import read_hashes
from kaggle_kit.errors import TableError
from kaggle_kit.report.dataset_page import read_index
from kaggle_kit.storage import tables
from kaggle_kit.storage.csv_files import write_rows
from kaggle_kit.storage.tables import Class, Guess, Label, Member, Truth

A, B = "0123456789012345", "1234e56789012345"  # not numbers, though they look like some


def labels(tmp_path, content, **kwargs):
    path = tmp_path / "train.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return tables.read_labels(path, **kwargs)


def test_ids_that_look_like_numbers_stay_as_they_are(tmp_path):
    assert labels(tmp_path, f"id,landmark_id\n{A},7\n{B},0\n") == [
        Label(A, 7),
        Label(B, 0),
    ]


@pytest.mark.parametrize(
    "content",
    [
        f"\ufeffid,landmark_id\n{A},7\n",
        f"id,landmark_id\r\n{A},7\r\n",
        f'"id","landmark_id"\n"{A}","7"\n',
        f"id,landmark_id\n\n{A},7\n\n \n",
        f"id , landmark_id\n {A} , 7 \n",
        f"landmark_id,id\n7,{A}\n",
        f"id,url,landmark_id\n{A},http://x/y.jpg,7\n",
        f"id,landmark_id\n{A},7",
    ],
    ids=["mark", "crlf", "quotes", "blank lines", "spaces", "order", "more", "no end"],
)
def test_what_programs_write_is_read(content, tmp_path):
    assert labels(tmp_path, content) == [Label(A, 7)]


def test_a_group_column_is_read_by_its_name(tmp_path):
    content = f"id,landmark_id,twin\n{A},7,x\n{B},7,\n"
    assert labels(tmp_path, content, group_column="twin") == [
        Label(A, 7, "x"),
        Label(B, 7, ""),
    ]
    with pytest.raises(TableError, match="add group"):
        labels(tmp_path, content, group_column="group")


@pytest.mark.parametrize(
    ("line", "where"),
    [
        (f"{A},seven", r"row 3: image 0123456789012345: .* got 'seven'"),
        (f"{A},-7", "got '-7'"),
        (f"{A},7.0", "got '7.0'"),
        (f"{A},", "got ''"),
        (f"{A},٣", "got '٣'"),
        (f"{A},7,8", "row 3: expected 2 fields"),
        (f"{A},7,", "row 3: expected 2 fields"),
        (f'"{A}"x,7', "expected a readable CSV file"),
        (A, "row 3: expected 2 fields"),
        (",7", "row 3: expected an image id"),
        ("../../etc/passwd,7", "expected an image id"),
        ("/abs0lute,7", "expected an image id"),
        ("..,7", "expected an image id"),
        ("ab,7", "expected an image id"),
        ("a b c,7", "expected an image id"),
        (f"{B},9", "got another"),
    ],
)
def test_a_bad_line_is_named_by_its_row(line, where, tmp_path):
    with pytest.raises(TableError, match=where) as caught:
        labels(tmp_path, f"id,landmark_id\n{B},7\n{line}\n")
    assert "train.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"\xff\xd8\xff\xe0JFIF", b"id;landmark_id\n", b"\x00" * 9]
)
def test_what_is_no_table_is_refused(content, tmp_path):
    with pytest.raises(TableError):
        labels(tmp_path, content)


IDS = st.lists(st.from_regex(tables.IMAGE_ID, fullmatch=True), unique=True, min_size=1)
CONFIDENCES = st.floats(allow_nan=False, allow_infinity=False)


@given(ids=IDS, data=st.data())
def test_a_submission_reads_back_as_it_was_written(ids, data, tmp_path_factory):
    """To the last bit of every confidence, and in the order of the ids given."""
    path = tmp_path_factory.mktemp("s") / "submission.csv"
    guess = st.none() | st.builds(Guess, st.integers(0, 10**17), CONFIDENCES)
    guesses = {i: data.draw(guess) for i in ids}
    given_ones = {i: g for i, g in guesses.items() if g is not None}
    tables.write_submission(path, ids, given_ones)
    read = tables.read_submission(path)
    assert list(read) == ids
    assert read == guesses


def test_confidences_below_the_smallest_float32_are_not_tied(tmp_path):
    path = tmp_path / "submission.csv"
    guesses = {A: Guess(7, 1e-60), B: Guess(7, math.nextafter(1e-60, 1))}
    tables.write_submission(path, [A, B], guesses)
    read = tables.read_submission(path)
    assert 0 < read[A].confidence < read[B].confidence


def test_nothing_is_left_half_written(tmp_path):
    class Failing(dict):
        def get(self, image_id):
            if image_id == B:
                raise KeyboardInterrupt
            return Guess(7, 0.5)

    path = tmp_path / "submission.csv"
    tables.write_submission(path, [A], {})
    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        tables.write_submission(path, [A, B], Failing())
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["submission.csv"]


def test_a_subset_reads_back(tmp_path):
    members = [Member(A, 7, "train"), Member(B, None, "penalty")]
    path = tmp_path / "subset.csv"
    write_rows(path, ("id", "landmark_id", "split"), members)
    assert tables.read_subset(path) == members
    path.write_text(f"id,landmark_id,split\n{A},7,dev\n")
    with pytest.raises(TableError, match="got 'dev'"):
        tables.read_subset(path)


def test_classes_are_numbered_from_nought(tmp_path):
    path = tmp_path / "classes.csv"
    path.write_text("class,landmark_id,n_images\n0,70,3\n1,80,4\n")
    assert tables.read_classes(path) == [Class(70, 3), Class(80, 4)]
    path.write_text("class,landmark_id,n_images\n1,70,3\n")
    with pytest.raises(TableError, match="expected the class 0"):
        tables.read_classes(path)


def test_a_sample_with_a_repeated_id_is_refused(tmp_path):
    path = tmp_path / "sample_submission.csv"
    path.write_text(f"id,landmarks\n{A},7 0.1\n{A},7 0.1\n")
    with pytest.raises(TableError, match="got another"):
        tables.read_sample(path)


def test_all_that_programs_write_at_once_is_read(tmp_path):
    content = f'\ufeff"url","landmark_id","id"\r\n\r\n"a,b","7","{A}"\r\n,0,{B}\r\n\r\n'
    assert labels(tmp_path, content) == [Label(A, 7), Label(B, 0)]


def test_a_row_is_counted_as_an_editor_counts_lines(tmp_path):
    lines = ["id,landmark_id", f"{A},7", "", f'"{B}","8"', "", "", "0bad,no"]
    content = "\ufeff" + "\r\n".join(lines)
    number = content.split("\r\n").index("0bad,no") + 1
    with pytest.raises(TableError, match=f"row {number}: image 0bad"):
        labels(tmp_path, content)


TRICKS = [
    "../../etc",
    "/abs",
    "a",
    "",
    "..",
    "...",
    "a/b/c/d",
    "a\\b\\c",
    "abc.jpg",
    "~abc",
    "abc\x00",
    "äbc",
    "abc\x1b[2J",
    "../../secret",
    "a" * 300,
    "a" * 65,
]


@pytest.mark.parametrize("image_id", TRICKS)
def test_an_id_that_could_leave_its_folder_is_refused_everywhere(image_id, tmp_path):
    path = tmp_path / "table.csv"
    for columns, rest, read in (
        (["id", "landmark_id"], ["7"], tables.read_labels),
        (["id", "landmarks"], ["7 0.5"], tables.read_sample),
        (["id", "landmark_id", "split"], ["7", "train"], tables.read_subset),
        (["id", "landmarks"], ["7 0.5"], tables.read_submission),
        (["id", "landmarks"], ["7"], tables.read_solution),
        (["id", "hash"], [""], read_hashes),
        (["id", "landmark_id", "width", "height"], ["7", "1", "1"], read_index),
    ):
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([columns, [A, *rest], [image_id, *rest]])
        with pytest.raises(TableError, match="row 3: expected an image id"):
            read(path)


def test_a_confidence_is_written_with_every_digit_it_has(tmp_path):
    path = tmp_path / "submission.csv"
    numbers = [0.1 + 0.2, 1 / 3, 5e-324, 1.7976931348623157e308, 1 - 2**-53, -1e-300]
    ids = [f"{i:016x}" for i in range(len(numbers))]
    tables.write_submission(
        path, ids, {i: Guess(7, n) for i, n in zip(ids, numbers, strict=True)}
    )
    with path.open(newline="") as file:
        cells = [row["landmarks"].split() for row in csv.DictReader(file)]
    assert [float(confidence).hex() for _, confidence in cells] == [
        number.hex() for number in numbers
    ]
    assert {landmark for landmark, _ in cells} == {"7"}


def test_numbers_of_numpy_are_written_as_plain_numbers(tmp_path):
    path = tmp_path / "submission.csv"
    guesses = {A: Guess(np.int64(7), np.float32(0.1)), B: Guess(8, np.float64(0.1))}
    tables.write_submission(path, [B, A], guesses)
    assert path.read_text() == (
        f"id,landmarks\n{B},8 0.1\n{A},7 {float(np.float32(0.1))}\n"
    )


class Torn:
    """Guesses that fail in the middle of a file."""

    def __init__(self, n_good):
        self.n_good = n_good

    def get(self, image_id):
        if self.n_good == 0:
            raise ValueError("torn")
        self.n_good -= 1
        return Guess(7, 0.5)


@pytest.mark.parametrize("n_good", [0, 1, 50_000])
@pytest.mark.parametrize("before", [None, "id,landmarks\n"])
def test_a_file_that_fails_at_any_row_leaves_what_was_there(n_good, before, tmp_path):
    path = tmp_path / "submission.csv"
    if before is not None:
        path.write_text(before)
    ids = [f"{i:016x}" for i in range(n_good + 1)]
    with pytest.raises(ValueError, match="torn"):
        tables.write_submission(path, ids, Torn(n_good))
    assert [p.name for p in tmp_path.iterdir()] == ([path.name] if before else [])
    if before is not None:
        assert path.read_text() == before


def test_a_complaint_stays_on_one_line_whatever_it_quotes(tmp_path):
    with pytest.raises(TableError) as caught:
        labels(tmp_path, 'id,landmark_id\n"a\nb\x1b[31m",7\n')
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("confidence", ["1_0", "٠.٩", "0x1", "1e", "infinity", " 1"])
def test_what_only_python_takes_for_a_number_is_no_confidence(confidence, tmp_path):
    path = tmp_path / "submission.csv"
    path.write_text(f"id,landmarks\n{A},7 {confidence}\n", encoding="utf-8")
    with pytest.raises(TableError, match="expected '<landmark_id> <confidence>'"):
        tables.read_submission(path)


@pytest.mark.parametrize("enabled", [True, False])
def test_a_reader_leaves_the_collector_as_it_was(enabled, tmp_path):
    """Also when it fails."""
    before = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        labels(tmp_path, f"id,landmark_id\n{A},7\n")
        assert gc.isenabled() is enabled
        with pytest.raises(TableError):
            labels(tmp_path, "id,landmark_id\n!,7\n")
        assert gc.isenabled() is enabled
        with tables.without_gc():
            assert not gc.isenabled()
    finally:
        (gc.enable if before else gc.disable)()


# Each complaint: where, what was expected, what came, what to do.

LONG = "x" * 200  # of which a complaint quotes so many letters:
QUOTE = "x" * 80
ID = "x" * 64  # the longest
CUT = f"'{QUOTE}'"
ADD_EMPTY = "add the rows, with an empty cell where there is no guess"
COMPLAINTS = {
    "no file": ("classes", None, "", "a CSV file", "none", "check the path"),
    "not UTF-8": (
        *("classes", b"\xff", "", "a readable CSV file in UTF-8", "'utf-8' codec .*"),
        "save it again as plain CSV",
    ),
    "an empty file": (
        *("solution", "", "row 1", "the columns id,landmarks", "an empty file"),
        "add id,landmarks",
    ),
    "a missing column": (
        *("solution", f"id,{LONG}\n", "row 1", "the columns id,landmarks"),
        *(f"id,{QUOTE[3:]}", "add landmarks"),
    ),
    "two missing columns": (
        *(
            "classes",
            "landmark_id\n",
            "row 1",
            "the columns class,landmark_id,n_images",
        ),
        *("landmark_id", "add class,n_images"),
    ),
    "a column three times": (
        *("solution", "id,id,id,landmarks\n", "row 1", "the column id once"),
        *("it 3 times", "delete or rename all but one"),
    ),
    "an optional column twice": (
        *("solution", "id,landmarks,Usage,Usage\n", "row 1", "the column Usage once"),
        *("it 2 times", "delete or rename all but one"),
    ),
    "a sample of other columns": (
        *("sample", "id,landmarks,score\n", "row 1", "the columns id,landmarks"),
        *("'id,landmarks,score'", r"take the competition's sample_submission\.csv"),
    ),
    "a header with pandas' index": (
        *("submission", ",id,landmarks\n", "row 1", "the header id,landmarks"),
        *("',id,landmarks'", r"write it without .* \(index=False\)"),
    ),
    "a long header of a submission": (
        *("submission", f"id,{LONG}\n", "row 1", "the header id,landmarks"),
        *(f"'id,{QUOTE[3:]}'", "write exactly these names, without quotes and spaces"),
    ),
    "too many fields": (
        *("solution", f"id,landmarks\n\n{LONG},,y\n", "row 3"),
        *(r"2 fields \(id,landmarks\)", f"3: {CUT}", "correct or delete the row"),
    ),
    "a long header": (
        *("solution", f"id,landmarks,{LONG}\nabc,,y,\n", "row 2"),
        rf"3 fields \(id,landmarks,{QUOTE[13:]}\)",
        *("4: 'abc,,y,'", "correct or delete the row"),
    ),
    "an image id": (
        *("sample", f"id,landmarks\n/{LONG},\n", "row 2"),
        "an image id such as 0108dac4511cf183",
        *(f"'/{QUOTE[1:]}'", "correct the id"),
    ),
    "an image id of a subset": (
        *("subset", "id,landmark_id,split\na b,7,train\n", "row 2"),
        *("an image id such as 0108dac4511cf183", "'a b'", "correct the id"),
    ),
    "a landmark id": (
        *("labels", f"id,landmark_id\nabc,{LONG}\n", "row 2: image abc"),
        r"a landmark id \(a whole number\)",
        *(CUT, "correct or delete the row"),
    ),
    "a landmark id of a subset": (
        *("subset", "id,landmark_id,split\nabc,7.0,train\n", "row 2: image abc"),
        *(r"a landmark id \(a whole number\)", "'7.0'", "correct or delete the row"),
    ),
    "a landmark id of a name": (
        *("names", f"landmark_id,name\n7,x\n7{LONG},y\n", "row 3"),
        r"a landmark id \(a whole number\)",
        *(f"'7{QUOTE[1:]}'", "correct or delete the row"),
    ),
    "an id again": (
        *("labels", "id,landmark_id\nabc,7\nabd,7\nabd,8\nabc,7\n", "image abd"),
        *("one row for this id", "another", "delete one of the two"),
    ),
    "an id of a sample again": (
        *("sample", "id,landmarks\nabc,\nabc,\n", "image abc"),
        *("one row for this id", "another", "delete one of the two"),
    ),
    "an id of a submission again": (
        *("submission", f"id,landmarks\n{ID},\n{ID},\n", f"row 3: image {ID}"),
        *("one row for this id", "another", "delete one of the two"),
    ),
    "an id of a solution again": (
        *("solution", f"id,landmarks\n{ID},\n{ID},7\n", f"row 3: image {ID}"),
        *("one row for this id", "another", "delete one of the two"),
    ),
    "an id of a subset again": (
        *("subset", "id,landmark_id,split\nabc,7,train\nabc,7,test\n", "image abc"),
        *("one row for this id", "another", "delete one of the two"),
    ),
    "a guess": (
        *("submission", f"id,landmarks\n{ID},{LONG}\n", f"row 2: image {ID}"),
        r"'<landmark_id> <confidence>' \(a whole number and a finite number\) or nothing",
        *(CUT, "correct the cell"),
    ),
    "a guess of half a landmark": (
        *("submission", "id,landmarks\nabc,7.5 0.9\n", "row 2: image abc"),
        r"'<landmark_id> <confidence>' \(a whole number and a finite number\) or nothing",
        *("'7.5 0.9'", "correct the cell"),
    ),
    "landmarks of a solution": (
        *("solution", f"id,landmarks\n{ID},7 8{LONG}\n", f"row 2: image {ID}"),
        "landmark ids separated by spaces",
        *(f"'7 8{QUOTE[3:]}'", "correct the row"),
    ),
    "a usage": (
        *("solution", f"id,landmarks,Usage\nabc,7,{LONG}\n", "row 2: image abc"),
        *("Usage Public, Private, Ignored", CUT, "correct the row"),
    ),
    "a split": (
        *("subset", f"id,landmark_id,split\nabc,7,{LONG}\n", "row 2: image abc"),
        *("split train, validation, penalty, test", CUT, "make the subset again"),
    ),
    "a class": (
        *("classes", f"class,landmark_id,n_images\n0,7,3\n1,8,4{LONG}\n", "row 3"),
        "the class 1, then a landmark id and a count",
        *(f"'1,8,4{QUOTE[5:]}'", "make the subset again"),
    ),
    "a landmark of two classes": (
        *("classes", "class,landmark_id,n_images\n0,7,3\n1,8,3\n2,7,3\n", "row 4"),
        *("each landmark once", "7 again after row 2", "make the subset again"),
    ),
}


@pytest.mark.parametrize("name", COMPLAINTS)
def test_a_complaint_says_where_what_and_what_to_do(name, tmp_path):
    reader, content, where, expected, got, then = COMPLAINTS[name]
    path = tmp_path / "table.csv"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(TableError) as caught:
        getattr(tables, f"read_{reader}")(path)
    place = re.escape(str(path)) + (where and f": {where}")
    line = f"{place}: expected {expected}, (got|found) {got}; {then}"
    assert re.fullmatch(line, str(caught.value))


def test_ids_that_are_not_those_of_the_sample_are_named_and_counted(tmp_path):
    path, sample = tmp_path / "submission.csv", tmp_path / "sample.csv"
    tables.require_ids(path, dict.fromkeys("cab"), iter("abc"), sample)
    for got, expected, rest in (
        (
            ["a", LONG, "y", "b"],
            "abc",
            f"{QUOTE}: expected only ids of {sample}, got 2 unknown; delete those rows",
        ),
        (
            ["a"],
            ["b", "a", "c"],
            f"b: expected a row for each of the 3 ids of {sample}, got 2 too few; "
            + ADD_EMPTY,
        ),
        (
            [],
            [LONG],
            f"{QUOTE}: expected a row for each of the 1 ids of {sample}, got 1 too few; "
            + ADD_EMPTY,
        ),
    ):
        with pytest.raises(TableError) as caught:
            tables.require_ids(path, dict.fromkeys(got), expected, sample)
        assert str(caught.value) == f"{path}: image {rest}"


# What is taken, and what it is made into.


def test_ids_of_any_letter_digit_dash_and_line_are_taken(tmp_path):
    ids = ["AZ_", "az-", "09a", "A" * 64, "_--"]
    content = "id,landmark_id\n" + "".join(f"{i},7\n" for i in ids)
    assert [label.image_id for label in labels(tmp_path, content)] == ids


def test_a_landmark_id_has_at_most_18_digits(tmp_path):
    largest = "9" * 18
    content = f"id,landmark_id\n{A},{largest}\n{B},000000000000000007\n"
    found = labels(tmp_path, content)
    assert [label.landmark_id for label in found] == [int(largest), 7]
    with pytest.raises(TableError, match="expected a landmark id"):
        labels(tmp_path, f"id,landmark_id\n{A},{largest}9\n")


NUMBERS = ["1", "1.", ".5", "1.5", "+1", "-1", "1e5", "1E5", "1E+05", "-.5e-3", "0"]


def test_numbers_are_taken_in_all_their_plain_forms(tmp_path):
    path = tmp_path / "submission.csv"
    rows = "".join(f"id{i},{i} {number}\n" for i, number in enumerate(NUMBERS))
    path.write_text(f"id,landmarks\n{rows}")
    assert list(tables.read_submission(path).values()) == [
        (i, float(number)) for i, number in enumerate(NUMBERS)
    ]


@pytest.mark.parametrize("rows", ["", f"{A},7,x\n"])
def test_labels_are_whole_numbers_and_strings_as_python_has_them(rows, tmp_path):
    """Also of a table without rows."""
    for group_column in ("group", None):
        found = labels(
            tmp_path, f"id,landmark_id,group\n{rows}", group_column=group_column
        )
        kinds = [column.dtype for column in found.columns]
        assert kinds == [np.dtype(object), np.dtype(np.int64), np.dtype(object)]
        for label in found:
            assert [type(value) for value in label] == [str, int, str]


def test_lines_within_a_cell_stay_as_they_are(tmp_path):
    content = f'id,landmark_id,group\n{A},7,"one\r\ntwo\rthree"\n'
    (label,) = labels(tmp_path, content, group_column="group")
    assert label.group == "one\r\ntwo\rthree"


def test_a_solution_is_read_with_and_without_usage_and_equal_rows_once(tmp_path):
    """Most of millions of rows are equal: they are one object."""
    path = tmp_path / "solution.csv"
    path.write_text(f"id,landmarks\n{A},7 8\n{B},\nabc,\nabd,8 7\n")
    found = tables.read_solution(path)
    assert found[A] == found["abd"] == Truth(frozenset({7, 8}))
    assert found[B] is found["abc"] and found[B] == Truth(frozenset(), "")
    path.write_text(f"id,Usage,landmarks\n{A},Public,7\n{B},Private,7\nabc,,7\n")
    usages = [truth.usage for truth in tables.read_solution(path).values()]
    assert usages == ["Public", "Private", ""]


def test_names_are_read_as_people_write_them(tmp_path):
    path = tmp_path / "names.csv"
    assert tables.read_names(path) == {}
    page = "http://commons.wikimedia.org/wiki/Category"
    path.write_text(
        f"landmark_id,category,name\n7,{page}:Taj_Mahal_,\n8,{page}:x,Eiffel Tower\n9,,\n"
    )
    assert tables.read_names(path) == {7: "Taj Mahal", 8: "Eiffel Tower", 9: ""}
    path.write_text("landmark_id,name\n7,Old_Mill\n")
    assert tables.read_names(path) == {7: "Old Mill"}
    path.write_text("landmark_id\n7\n")
    assert tables.read_names(path) == {7: ""}


def test_a_name_of_nothing_but_an_address_is_the_address():
    assert tables.readable_name("wiki/Category:") == "wiki/Category:"
    assert tables.readable_name("_a__b_") == "a  b"


def test_tables_are_utf_8_whatever_the_locale(tmp_path):
    path = tmp_path / "table.csv"
    before = locale.setlocale(locale.LC_CTYPE)
    try:
        locale.setlocale(locale.LC_CTYPE, "C")
        write_rows(path, ("landmark_id", "name"), [(7, "Orée"), (8, None)])
        assert path.read_bytes() == "landmark_id,name\n7,Orée\n8,\n".encode()
        assert tables.read_names(path) == {7: "Orée", 8: ""}
    finally:
        locale.setlocale(locale.LC_CTYPE, before)
