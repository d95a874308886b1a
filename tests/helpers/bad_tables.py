"""Tables as programs, people and strangers write them, and how Python reads them.

``plain_…`` read a table with Python's ``csv`` module and say with plain checks what it
holds, or None if it is not what it should be.
"""

import csv
import io
import math
import re

from hypothesis import strategies as st

ID_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-"
GOOD_IDS = [
    *("0123456789012345", "1234e56789012345", "0000000000000000", "00000000deadbeef"),
    *("abc", "A-b_9", "1e3", "9" * 64),
]
BAD_IDS = [
    *("", "ab", "../../etc/passwd", "..", "/abs0lute", "a/b/c", "a\\b\\c", "abc.jpg"),
    *(
        "~root",
        "abc\0def",
        "äöü",
        "a" * 65,
        "٣٣٣",
        "a b c",
        "a\nb\nc",
        "C:abc",
        "$(abc)",
    ),
    "x" * 5000,
]
GOOD_LANDMARKS = ["0", "7", "007", "203093", "138982", "9" * 18]
BAD_LANDMARKS = [
    *("", "-7", "7.0", "7.5", "1e3", "0x7", "seven", "٣", "²", "+7", "1_000", "7 8"),
    *("9" * 19, "9" * 5000, "nan", "inf", "None", "\0", "7;8", "1,5"),
]
GOOD_GUESSES = ["", "7 0.9", "203093 1e-300", "0 -0.0", "7 5e-324", "7 .5", "007 +1.E2"]
BAD_GUESSES = [
    *("7", "7 ", "7  0.9", "7;0.9", "7 nan", "7 inf", "7 1e400", "7 0,9", "7 1_0"),
    *("7 0.9 8 0.8", "-7 0.9", "7.0 0.9", "x 0.9", "7 0x1", "7 ٠.٩", "7\t0.9", " 0.9"),
    *("9" * 5000 + " 0.9", "7 " + "9" * 5000),
]
GOOD_TRUTHS = ["", "7", "7 8", "0 12 12", "7  8", "7\t8"]
BAD_TRUTHS = ["seven", "7,8", "7.0", "-7", "7 x", "9" * 19, "nan", "[7]"]
GOOD_USAGES = ["", "Public", "Private", "Ignored"]
BAD_USAGES = ["public", "Test", "0"]
SPLITS = ["train", "validation", "penalty", "test"]


def mostly(good, bad):
    """One of the good values, and now and then one of the bad."""
    return st.integers(0, 39).flatmap(
        lambda i: st.sampled_from(good if i else bad)
    ) | st.sampled_from(good)


IDS = mostly(GOOD_IDS, BAD_IDS) | st.text(ID_LETTERS, min_size=3, max_size=20)
CELLS = {
    "id": IDS,
    "landmark_id": mostly(GOOD_LANDMARKS, BAD_LANDMARKS),
    "guess": mostly(GOOD_GUESSES, BAD_GUESSES),
    "truth": mostly(GOOD_TRUTHS, BAD_TRUTHS),
    "Usage": mostly(GOOD_USAGES, BAD_USAGES),
    "split": mostly(SPLITS, ["", "dev", "Train"]),
    "other": st.text(max_size=5),
}


@st.composite
def table(draw, columns):
    """The bytes of a table; ``columns`` are (name, kind of ``CELLS``) pairs.

    A submission is mostly written as Kaggle wants it: columns in order, without quotes.
    """
    exact = ("landmarks", "guess") in columns and draw(st.integers(0, 7))
    if not exact:
        columns = draw(st.permutations(columns))
    columns = list(columns)
    oddity = draw(st.integers(0, 19))
    if oddity == 0:
        columns = columns[1:]
    elif oddity == 1:
        columns.append(columns[0])
    elif oddity <= 4:
        columns.insert(0, ("url", "other"))
    header = [name for name, _ in columns]
    row = st.tuples(*(CELLS[kind] for _, kind in columns)).map(list)
    places = [i for i, (name, _) in enumerate(columns) if name == "id"]
    unique = (lambda r: r[places[0]]) if places and draw(st.integers(0, 9)) else None
    rows = draw(st.lists(row, max_size=8, unique_by=unique))
    if oddity == 5 and rows:
        rows[-1] = draw(st.sampled_from([rows[-1][:-1], [*rows[-1], "more"], [], [""]]))
    file = io.StringIO()
    end = draw(st.sampled_from(["\n", "\n", "\r\n", "\r"]))
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    if exact:
        quoting = csv.QUOTE_MINIMAL
    delimiter = draw(st.sampled_from(",,,,,,,,,;\t"))
    writer = csv.writer(file, lineterminator=end, quoting=quoting, delimiter=delimiter)
    writer.writerows([header, *rows])
    text = file.getvalue() + draw(st.sampled_from(["", end, " " + end, end * 3]))
    codec = (
        ["utf-8"] * 9
        + ["utf-8-sig"] * (1 if exact else 3)
        + ["utf-16", "utf-32", "cp1252", "utf-7"]
    )
    content = text.encode(draw(st.sampled_from(codec)), "replace")
    return _mutated(draw, content) if oddity in (6, 7) else content


def _mutated(draw, content):
    """With some bytes changed, cut out or put in."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(changed)))
        how = draw(st.integers(0, 3))
        if how == 0:
            del changed[at:]
        elif how == 1:
            changed[at : at + 1] = bytes([draw(st.integers(0, 255))])
        elif how == 2:
            piece = st.sampled_from(
                [b'"', b"\n", b"\r", b",", b"\0", b"\xff", b"\xef\xbb"]
            )
            changed[at:at] = draw(piece)
        else:
            changed[at:at] = changed[: draw(st.integers(0, len(changed)))]
    return bytes(changed)


def plain_rows(content, columns, optional=()):
    """The fields of some columns by name, in the order of the file."""
    try:
        text = content.decode("utf-8-sig")
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error):
        return None
    rows = [[field.strip() for field in row] for row in rows]
    header = rows[0] if rows else []
    if any(header.count(name) != 1 for name in columns):
        return None
    if any(header.count(name) > 1 for name in optional):
        return None
    rows = [row for row in rows[1:] if len(row) == len(header) or any(row)]
    if any(len(row) != len(header) for row in rows):
        return None
    named = [dict(zip(header, row, strict=True)) for row in rows]
    return [[row.get(name, "") for name in (*columns, *optional)] for row in named]


def is_id(text):
    return 3 <= len(text) <= 64 and all(c in ID_LETTERS for c in text)


def is_landmark(text):
    return text.isascii() and text.isdigit() and len(text) <= 18


def unique(values):
    values = list(values)
    return len(set(values)) == len(values)


def plain_labels(content):
    rows = plain_rows(content, ["id", "landmark_id"])
    if rows is None or not unique(row[0] for row in rows):
        return None
    if not all(is_id(i) and is_landmark(landmark) for i, landmark in rows):
        return None
    return [(i, int(landmark)) for i, landmark in rows]


def plain_sample(content):
    rows = plain_rows(content, ["id", "landmarks"])
    if rows is None or not unique(row[0] for row in rows):
        return None
    header = next(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    if [name.strip() for name in header] != ["id", "landmarks"]:
        return None
    return [i for i, _ in rows] if all(is_id(i) for i, _ in rows) else None


def plain_guess(cell):
    """(landmark, confidence), or (); None if the cell is not what it should be."""
    if not cell:
        return ()
    first, _, second = cell.partition(" ")
    try:
        confidence = float(second)
    except ValueError:
        return None
    fine = is_landmark(first) and math.isfinite(confidence)
    return (
        (int(first), confidence)
        if fine and set(second) <= set("0123456789+-.eE")
        else None
    )


def plain_submission(content):
    """As Kaggle parses it: the header byte by byte, and spaces count."""
    if re.split(rb"\r\n|\r|\n", content)[0] != b"id,landmarks":
        return None
    try:
        text = io.StringIO(content.decode("utf-8"), newline="")
        rows = [r for r in csv.reader(text, strict=True) if len(r) == 2 or any(r)][1:]
    except (UnicodeDecodeError, csv.Error):
        return None
    if any(len(row) != 2 for row in rows) or not unique(row[0] for row in rows):
        return None
    if not all(is_id(image_id) for image_id, _ in rows):
        return None
    found = {i: plain_guess(re.sub("(?<=[^ ]) +$", "", cell)) for i, cell in rows}
    return None if None in found.values() else found


def plain_solution(content):
    rows = plain_rows(content, ["id", "landmarks"], ["Usage"])
    if rows is None or not unique(row[0] for row in rows):
        return None
    found = {}
    for image_id, cell, usage in rows:
        if usage not in GOOD_USAGES or not all(map(is_landmark, cell.split())):
            return None
        if not is_id(image_id):
            return None
        found[image_id] = {int(part) for part in cell.split()}, usage
    return found


def plain_subset(content):
    rows = plain_rows(content, ["id", "landmark_id", "split"])
    if rows is None or not unique(row[0] for row in rows):
        return None
    for image_id, landmark, split in rows:
        known = not landmark or is_landmark(landmark)
        if not (is_id(image_id) and known and split in SPLITS):
            return None
    return [(i, int(landmark) if landmark else None, s) for i, landmark, s in rows]
