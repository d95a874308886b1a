"""Bad tables by generation: read as Python's csv module reads them, or one line."""

import os
import random

import pytest
from hypothesis import given
from hypothesis import seed as seeded
from hypothesis import strategies as st

from kaggle_kit import config
from kaggle_kit.data.subset import subset
from kaggle_kit.download.selection import read_image_ids
from kaggle_kit.errors import KitError, TableError
from kaggle_kit.storage import tables
from tests.helpers import bad_tables as bad
from tests.helpers.complaints import KINDS, check_complaint, steady
from tests.helpers.fuzzing import run_blocks


def read(name, path):
    """What the kit makes of a table, in the words of ``bad_tables``."""
    if name == "train.csv":
        return [label[:2] for label in tables.read_labels(path)]
    if name == "sample_submission.csv":
        return tables.read_sample(path)
    if name == "submission.csv":
        found = tables.read_submission(path)
        return {i: tuple(guess or ()) for i, guess in found.items()}
    if name == "solution.csv":
        found = tables.read_solution(path)
        return {i: (set(t.landmark_ids), t.usage) for i, t in found.items()}
    return [tuple(member) for member in tables.read_subset(path)]


def check_table(name, content, folder, tried):
    path = folder / name
    path.write_bytes(content)
    expected = KINDS[name][1](content)
    try:
        found = read(name, path)
    except TableError as error:
        check_complaint(error, path)
        found = None
        tried["malformed tables, each one line"] += 1
    tried["tables read as Python's csv module reads them, or refused"] += 1
    assert found == expected


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    "n", [pytest.param(150, id="some"), pytest.param(8000, marks=pytest.mark.slow)]
)
def test_a_table_is_read_as_python_reads_it_or_refused_in_one_line(
    n, name, tmp_path, tried
):
    """In processes with little memory, which write nothing."""

    def block(first, length, meter):
        @seeded(first)
        @steady(length, derandomize=False)
        @given(content=bad.table(KINDS[name][0]))
        def check(content):
            with meter.attempt(content):
                check_table(name, content, tmp_path, meter.counts)

        check()
        assert [p.name for p in tmp_path.iterdir()] == [name]

    total = run_blocks(f"tables-{name}", n, block, tried, seconds=2, megabytes=200)
    refused = total["malformed tables, each one line"]
    assert n / 10 < refused < n * 0.9  # both ways are taken


@pytest.mark.parametrize("name", KINDS)
def test_bytes_of_no_kind_are_refused(name, tmp_path, tried):
    @steady(200)
    @given(content=st.binary(max_size=300))
    def check(content):
        check_table(name, content, tmp_path, tried)

    check()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xef\xbb\xbf",
        b"\n" * 1000,
        b"," * 100_000,
        b'id,landmark_id\n"abc,7\n' + b"abc,7\n" * 50_000,  # a quote that does not end
        b"id,landmark_id\n" + b"x" * 5_000_000 + b",7\n",
        b"id,landmark_id\nabc," + b"7" * 5_000_000 + b"\n",
        b"id,landmark_id\n" + b"abc,7\n" * 100_000,
        b"id,landmark_id," + b"x," * 20_000 + b"y\nabc,7\n",
        bytes(1000),
    ],
    ids=range(10),
)
def test_huge_and_empty_tables_are_refused_in_one_short_line(content, tmp_path):
    path = tmp_path / "train.csv"
    path.write_bytes(content)
    with pytest.raises(TableError) as caught:
        tables.read_labels(path)
    check_complaint(caught.value, path)


@pytest.mark.parametrize("separator", [b"x", b",", b'"', b"\0", b"\n", b"\r"])
def test_a_table_without_an_end_is_refused_in_little_memory(
    separator, tmp_path, monkeypatch, tried
):
    """A sparse file of a terabyte, or one line, or lines, of 30 MB."""
    monkeypatch.setattr("kaggle_kit.storage.text_files.MOST_LINES", 10**6)
    path = tmp_path / "train.csv"
    path.write_bytes(b"id,landmark_id\nabc,7\n" + separator * (3 * 10**7))
    if separator == b"\0":
        os.truncate(path, 10**12)

    def block(first, length, meter):
        with meter.attempt(separator), pytest.raises(TableError) as caught:
            tables.read_labels(path)
        check_complaint(caught.value, path)
        meter.counts["tables without an end, each one line"] += 1

    run_blocks(None, 1, block, tried, seconds=5, megabytes=20)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_a_table_that_is_no_regular_file_is_refused(kind, tmp_path):
    """A pipe would wait for a writer for ever."""
    path = tmp_path / "train.csv"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    for read_table in (tables.read_labels, tables.read_sample, tables.read_names):
        with pytest.raises(TableError) as caught:
            read_table(path)
        check_complaint(caught.value, path)
        assert "save it to a file first" in str(caught.value)
    with pytest.raises(TableError) as caught:
        read_image_ids(path)
    check_complaint(caught.value, path)


@pytest.mark.slow
def test_five_million_rows_are_read(tmp_path):
    path = tmp_path / "submission.csv"
    rows = (f"{i:016x},{i % 81313} 0.{i}\n" for i in range(5 * 10**6))
    with path.open("w") as file:
        file.write("id,landmarks\n")
        file.writelines(rows)
    assert len(tables.read_submission(path)) == 5 * 10**6


@pytest.mark.parametrize("name", ["x" * 300 + ".csv", "file/train.csv", "a\0b.csv", ""])
def test_a_path_that_is_none_is_one_line(name, tmp_path):
    (tmp_path / "file").write_text("id,landmark_id\nabc,7\n")
    with pytest.raises(TableError) as caught:
        tables.read_labels(tmp_path / name)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "content",
    [
        b"abc\nabd\n",
        b"\xef\xbb\xbfid\r\nabc\r\nabd\r\n",
        b"abc\n" + b"\xff\xfe\n",
        b"id,x\nabc\n",
        b"abc\n../abc\n",
        b"\n \n",
        b"id\n" + b"x" * 300_000,
    ],
    ids=range(7),
)
def test_a_list_of_ids_is_read_or_refused_in_one_line(content, tmp_path):
    path = tmp_path / "ids.txt"
    path.write_bytes(content)
    if b"abd" in content:
        assert read_image_ids(path) == ["abc", "abd"]
        return
    with pytest.raises(TableError) as caught:
        read_image_ids(path)
    check_complaint(caught.value, path)


CLASSES = [
    (b"0,7,1\n1,8,2\n", [(7, 1), (8, 2)]),
    (b"", []),
    (b"0,7,1\n1,7,2\n", None),  # which class is landmark 7?
    ("0,٣,1\n".encode(), None),
    (b"0," + b"9" * 5000 + b",1\n", None),
    (b"0," + b"9" * 19 + b",1\n", None),
    (b"0,-7,1\n", None),
    (b"0,7.0,1\n", None),
    (b"1,7,1\n", None),
    (b"0,7,1\n0,8,1\n", None),
    (b"0,7,1e3\n", None),
]


@pytest.mark.parametrize(("rows", "expected"), CLASSES, ids=range(len(CLASSES)))
def test_classes_are_whole_numbers_each_once(rows, expected, tmp_path):
    path = tmp_path / "classes.csv"
    path.write_bytes(b"class,landmark_id,n_images\n" + rows)
    if expected is not None:
        assert [tuple(row) for row in tables.read_classes(path)] == expected
        return
    with pytest.raises(TableError) as caught:
        tables.read_classes(path)
    check_complaint(caught.value, path)


# What is made of a table.


def test_a_subset_is_of_the_whole_table_or_is_not_there(tmp_path, tried):
    """Also of one class, of one image, and of classes with one image each."""
    path = tmp_path / "train.csv"
    out = tmp_path / "subset"
    plain = config.Subset(near_duplicates="ignored")

    @steady(150)
    @given(content=bad.table(KINDS["train.csv"][0]))
    def check(content):
        path.write_bytes(content)
        expected = bad.plain_labels(content)
        try:
            subset(plain, 0, tmp_path, out)
        except KitError as error:
            assert not expected
            assert str(error).isprintable()
            assert sorted(p.name for p in tmp_path.iterdir()) == ["train.csv"]
            return
        members = tables.read_subset(out / "subset.csv")
        assert {(m.image_id, m.landmark_id) for m in members} == set(expected)
        known = {c.landmark_id for c in tables.read_classes(out / "classes.csv")}
        assert known == {landmark for _, landmark in expected}
        for file in out.iterdir():
            file.unlink()
        out.rmdir()
        tried["subsets of tables"] += 1

    check()


def test_as_many_classes_as_the_whole_data_set_has(tmp_path):
    """203,094 landmarks, of one image each, in no order."""
    landmarks = random.Random(0).sample(range(203_094), 203_094)
    rows = [(f"{i:016x}", landmark) for i, landmark in enumerate(landmarks)]
    tables.write_rows(tmp_path / "train.csv", ("id", "landmark_id"), rows)
    settings = config.Subset(near_duplicates="ignored")
    made = subset(settings, 0, tmp_path, tmp_path / "subset")
    assert made.landmarks == made.train == 203_094
    classes = tables.read_classes(tmp_path / "subset" / "classes.csv")
    assert [c.landmark_id for c in classes] == list(range(203_094))
