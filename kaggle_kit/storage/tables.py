"""The CSV tables of the competition and of the stages: strict reading, exact writing.

Image ids are strings: ``0123456789012345`` and ``1234e56789012345`` are not numbers. Every
error message is one line: file, row, what was expected, what came, what to do.
"""

import gc
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kaggle_kit.errors import TableError
from kaggle_kit.storage.columns import Columns
from kaggle_kit.storage.csv_files import QUOTED, read_header, read_rows, write_rows

# An image id becomes part of a path (train/a/b/c/<id>.jpg): no separators, no dots.
IMAGE_ID = re.compile(r"[0-9A-Za-z_-]{3,64}")
LANDMARK_ID = re.compile(r"\d{1,18}", re.ASCII)
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
SUBMISSION = ("id", "landmarks")  # the columns of a submission and of its sample
SPLITS = ("train", "validation", "penalty", "test")
USAGES = ("Public", "Private", "Ignored")


class Label(NamedTuple):
    """A row of ``train.csv``; near-duplicates of an image share a group, "" is no group."""

    image_id: str
    landmark_id: int
    group: str = ""


class Member(NamedTuple):
    """A row of ``subset.csv``; the landmark id of a non-landmark image is None."""

    image_id: str
    landmark_id: int | None
    split: str


class Class(NamedTuple):
    """A row of ``classes.csv``; the index of the row is the class."""

    landmark_id: int
    n_images: int


class Guess(NamedTuple):
    """The guess for one image in a submission."""

    landmark_id: int
    confidence: float


class Truth(NamedTuple):
    """The truth of one image in a solution; a non-landmark image has no landmark ids."""

    landmark_ids: frozenset[int]
    usage: str = ""


@contextmanager
def without_gc() -> Iterator[None]:
    """Disable the cyclic garbage collector in a ``with`` block or a decorated function.

    Records have no reference cycles, and traversing millions of them took half the time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@without_gc()
def read_labels(path: Path, group_column: str | None = None) -> Columns[Label]:
    """Read ``train.csv`` (id, landmark_id and, if it is named, ``group_column``)."""
    columns = ("id", "landmark_id", *([group_column] if group_column else []))
    ids: list[str] = []
    landmarks: list[int] = []
    groups: list[str] = []
    is_id, is_landmark = IMAGE_ID.fullmatch, LANDMARK_ID.fullmatch
    for row, (image_id, landmark, *group) in read_rows(path, columns):
        if not is_id(image_id) or not is_landmark(landmark):
            _raise_bad_label(path, row, image_id, landmark)
        ids.append(image_id)
        landmarks.append(int(landmark))
        groups.extend(group)
    _require_unique(path, ids)
    return Columns(
        Label,
        np.array(ids, object),
        np.array(landmarks, np.int64),
        np.array(groups if group_column else [""] * len(ids), object),
    )


def read_sample(path: Path) -> list[str]:
    """Read the image ids of ``sample_submission.csv``, in file order.

    Raises:
        TableError: the file is malformed, or its columns are not those of a submission.
    """
    header = read_header(path)
    if header != list(SUBMISSION):
        raise TableError(
            f"{path}: row 1: expected the columns {','.join(SUBMISSION)}, got "
            f"{','.join(header)[:QUOTED]!r}; take the competition's sample_submission.csv"
        )
    ids = []
    for row, (image_id, _) in read_rows(path, SUBMISSION):
        require_id(path, row, image_id)
        ids.append(image_id)
    _require_unique(path, ids)
    return ids


def read_submission(path: Path, exact: bool = True) -> dict[str, Guess | None]:
    """Read a submission: the guess by image id; None for an empty cell.

    Args:
        exact: refuse what Kaggle's parser may refuse: another header than
            ``id,landmarks``, a byte-order mark, spaces beside an id or before a guess.
            Those after a guess do no harm to the metric's code. False: for a sample, which
            is not sent.

    Raises:
        TableError: the file, its header or a cell is malformed, or an id is repeated.
    """
    guesses: dict[str, Guess | None] = {}
    for row, (image_id, cell) in read_rows(path, SUBMISSION, exact=exact):
        require_id(path, row, image_id)
        if image_id in guesses:
            raise TableError(
                f"{path}: row {row}: image {image_id[:QUOTED]}: expected one row for this "
                f"id, got another; delete one of the two"
            )
        guesses[image_id] = _guess(path, row, image_id, cell.rstrip(" ") or cell)
    return guesses


def write_submission(
    path: Path, image_ids: Iterable[str], guesses: Mapping[str, Guess]
) -> None:
    """Write a submission atomically: a row for each of ``image_ids``, in their order.

    Confidences are written with all digits, so that they read back as the same float:
    rounding would create ties, and ties change GAP.

    Raises:
        TableError: a confidence is not finite, which Kaggle would refuse; the file is
            unchanged.
    """
    rows = ((i, _cell(path, i, guesses.get(i))) for i in image_ids)
    write_rows(path, SUBMISSION, rows)


def require_ids(
    path: Path, got: Mapping[str, object], expected: Iterable[str], source: Path
) -> None:
    """Check that a submission has exactly the expected ids.

    Args:
        path: the submission, for the error message.
        got: what it has for each id.
        expected: the ids that it must have.
        source: the file with the expected ids, for the error message.

    Raises:
        TableError: ids are unknown or missing; the message has the first, and their number.
    """
    expected = dict.fromkeys(expected)
    unknown = [image_id for image_id in got if image_id not in expected]
    if unknown:
        raise TableError(
            f"{path}: image {unknown[0][:QUOTED]}: expected only ids of {source}, got "
            f"{len(unknown)} unknown; delete those rows"
        )
    missing = [image_id for image_id in expected if image_id not in got]
    if missing:
        raise TableError(
            f"{path}: image {missing[0][:QUOTED]}: expected a row for each of the "
            f"{len(expected)} ids of {source}, got {len(missing)} too few; add the rows, "
            f"with an empty cell where there is no guess"
        )


def read_solution(path: Path) -> dict[str, Truth]:
    """Read a solution (id, landmarks and, optionally, Usage): the truth by image id."""
    truths: dict[str, Truth] = {}
    cache: dict[tuple[str, str], Truth] = {}  # most rows are equal: no landmark
    rows = read_rows(path, ("id", "landmarks"), optional=("Usage",))
    for row, (image_id, cell, usage) in rows:
        require_id(path, row, image_id)
        if image_id in truths:
            raise TableError(
                f"{path}: row {row}: image {image_id[:QUOTED]}: expected one row for this "
                f"id, got another; delete one of the two"
            )
        truth = cache.get((cell, usage))
        if truth is None:
            truth = _truth(f"{path}: row {row}: image {image_id[:QUOTED]}", cell, usage)
            cache[cell, usage] = truth
        truths[image_id] = truth
    return truths


@without_gc()
def read_subset(path: Path) -> list[Member]:
    """Read ``subset.csv`` (id, landmark_id, split)."""
    members: list[Member] = []
    for row, (image_id, landmark, split) in read_rows(
        path, ("id", "landmark_id", "split")
    ):
        require_id(path, row, image_id)
        if landmark and not LANDMARK_ID.fullmatch(landmark):
            _raise_bad_label(path, row, image_id, landmark)
        if split not in SPLITS:
            raise TableError(
                f"{path}: row {row}: image {image_id}: expected split "
                f"{', '.join(SPLITS)}, got {split[:QUOTED]!r}; make the subset again"
            )
        members.append(Member(image_id, int(landmark) if landmark else None, split))
    _require_unique(path, [member.image_id for member in members])
    return members


def read_classes(path: Path) -> list[Class]:
    """Read ``classes.csv`` (class, landmark_id, n_images); classes are 0, 1, 2, ..."""
    classes: list[Class] = []
    row_of: dict[int, int] = {}
    for row, fields in read_rows(path, ("class", "landmark_id", "n_images")):
        if not all(map(LANDMARK_ID.fullmatch, fields)) or int(fields[0]) != len(
            classes
        ):
            raise TableError(
                f"{path}: row {row}: expected the class {len(classes)}, then a landmark id "
                f"and a count, got {','.join(fields)[:QUOTED]!r}; make the subset again"
            )
        landmark = int(fields[1])
        if row_of.setdefault(landmark, row) != row:
            raise TableError(
                f"{path}: row {row}: expected each landmark once, got {landmark} again "
                f"after row {row_of[landmark]}; make the subset again"
            )
        classes.append(Class(landmark, int(fields[2])))
    return classes


def read_names(path: Path) -> dict[int, str]:
    """Read the names of landmarks by id; empty if there is no such file.

    The file has landmark_id and name, or category: an address on Wikimedia Commons.
    """
    names: dict[int, str] = {}
    if not path.exists():
        return names
    rows = read_rows(path, ("landmark_id",), optional=("name", "category"))
    for row, (landmark, name, category) in rows:
        if not LANDMARK_ID.fullmatch(landmark):
            raise TableError(
                f"{path}: row {row}: expected a landmark id (a whole number), got "
                f"{landmark[:QUOTED]!r}; correct or delete the row"
            )
        names[int(landmark)] = readable_name(name or category)
    return names


def readable_name(name: str) -> str:
    """The name of a landmark, from a name or the address of its Commons category.

    >>> readable_name("http://commons.wikimedia.org/wiki/Category:Taj_Mahal")
    'Taj Mahal'
    """
    return name.rpartition("Category:")[2].replace("_", " ").strip() or name


def _cell(path: Path, image_id: str, guess: Guess | None) -> str:
    """The cell of a guess in a submission."""
    if not guess:
        return ""
    if not math.isfinite(guess.confidence):
        raise TableError(
            f"{path}: image {image_id[:QUOTED]}: expected a finite confidence, got "
            f"{guess.confidence}; make the bundle again"
        )
    return f"{guess.landmark_id} {float(guess.confidence)!r}"


def _guess(path: Path, row: int, image_id: str, cell: str) -> Guess | None:
    if not cell:
        return None
    landmark, _, confidence = cell.partition(" ")
    if LANDMARK_ID.fullmatch(landmark) and NUMBER.fullmatch(confidence):
        guess = Guess(int(landmark), float(confidence))
        if math.isfinite(guess.confidence):
            return guess
    raise TableError(
        f"{path}: row {row}: image {image_id[:QUOTED]}: expected '<landmark_id> "
        f"<confidence>' "
        f"(a whole number and a finite number) or nothing, got {cell[:QUOTED]!r}; correct "
        f"the cell"
    )


def _truth(where: str, cell: str, usage: str) -> Truth:
    landmarks = cell.split()
    if not all(map(LANDMARK_ID.fullmatch, landmarks)):
        raise TableError(
            f"{where}: expected landmark ids separated by spaces, got "
            f"{cell[:QUOTED]!r}; correct the row"
        )
    if usage and usage not in USAGES:
        raise TableError(
            f"{where}: expected Usage {', '.join(USAGES)}, got {usage[:QUOTED]!r}; "
            f"correct the row"
        )
    return Truth(frozenset(map(int, landmarks)), usage)


def require_id(path: Path, row: int, image_id: str) -> None:
    """Refuse an image id that could lead out of the folder of its images.

    Raises:
        TableError: names the row.
    """
    if not IMAGE_ID.fullmatch(image_id):
        raise TableError(
            f"{path}: row {row}: expected an image id such as 0108dac4511cf183, got "
            f"{image_id[:QUOTED]!r}; correct the id"
        )


def _raise_bad_label(path: Path, row: int, image_id: str, landmark: str) -> None:
    """Raise the error of a row whose image id or landmark id is malformed."""
    require_id(path, row, image_id)
    raise TableError(
        f"{path}: row {row}: image {image_id}: expected a landmark id (a whole number), "
        f"got {landmark[:QUOTED]!r}; correct or delete the row"
    )


def _require_unique(path: Path, ids: list[str]) -> None:
    if len(set(ids)) == len(ids):
        return
    seen: set[str] = set()
    for image_id in ids:
        if image_id in seen:
            raise TableError(
                f"{path}: image {image_id}: expected one row for this id, got another; "
                f"delete one of the two"
            )
        seen.add(image_id)
