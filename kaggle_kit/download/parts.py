"""The parts of the public data set: their tars, their folders and their tables."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kaggle_kit.data.layout import GLDV2_INDEX, GLDV2_SOLUTION, GLDV2_TEST
from kaggle_kit.errors import KitError
from kaggle_kit.storage import public_tables, tables
from kaggle_kit.storage.csv_files import read_rows, write_rows
from kaggle_kit.storage.id_files import read_image_ids

# Not index.csv, its name on the server: ``kaggle-kit index`` may write a file of that name
INDEX_LISTING = "gldv2_index.csv"


@dataclass(frozen=True, slots=True)
class PublicTable:
    """A table of the public data set.

    Attributes:
        name: of the file, below the root.
        prepare: called with the downloaded file before it is installed; it validates the
            file, and may change it.
        required: whether the download fails without the table; a mirror may lack others.
        places: the folders on the server that are tried, the data set's own last.
        served_as: the name on the server, if it is another one.
    """

    name: str
    prepare: Callable[[Path], object]
    required: bool = False
    places: tuple[str, ...] = ("metadata",)
    served_as: str | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the public data set.

    Attributes:
        name: its folder on the server.
        n_tars: their numbers begin at 0.
        folder: where its images are, below the root, as ``a/b/c/<id>.jpg``.
        tables: those with its labels and names.
        listing: the one of them that lists its images.
    """

    name: str
    n_tars: int
    folder: str
    tables: tuple[PublicTable, ...]
    listing: str


def _reduce_to_labels(path: Path) -> None:
    """Give ``train.csv`` the competition's columns, id and landmark_id."""
    columns = ("id", "landmark_id")
    write_rows(path, columns, (fields for _, fields in read_rows(path, columns)))
    tables.read_labels(path)


def _check_authors(path: Path) -> None:
    """Check the columns and the first id alone: the file has a gigabyte."""
    columns = ("id", "url", "author", "license", "title")
    public_tables.check_ids(path, columns, most=1)


def _check_index_labels(path: Path) -> None:
    public_tables.check_ids(path, ("id", "landmark_id"))


TRAIN = Part(
    "train",
    500,
    "train",
    (
        PublicTable("train.csv", _reduce_to_labels, required=True),
        PublicTable("train_clean.csv", public_tables.read_clean_labels),
        PublicTable("train_attribution.csv", _check_authors),
        PublicTable("train_label_to_category.csv", tables.read_names),
        PublicTable("train_label_to_hierarchical.csv", tables.read_names),
    ),
    listing="train.csv",
)
INDEX = Part(
    "index",
    100,
    GLDV2_INDEX,
    (
        PublicTable(INDEX_LISTING, read_image_ids, served_as="index.csv"),
        PublicTable("index_image_to_landmark.csv", _check_index_labels),
        PublicTable("index_label_to_category.csv", tables.read_names),
        PublicTable("index_label_to_hierarchical.csv", tables.read_names),
    ),
    listing=INDEX_LISTING,
)
TEST = Part(
    "test",
    20,
    GLDV2_TEST,
    (
        PublicTable(
            GLDV2_SOLUTION,
            public_tables.read_public_solution,
            required=True,
            places=("metadata", "ground_truth"),
        ),
    ),
    listing=GLDV2_SOLUTION,
)
PARTS = {part.name: part for part in (TRAIN, INDEX, TEST)}


def parse_numbers(text: str, part: Part = TRAIN) -> list[int]:
    """The tars of a part in "0-9" or "3,17,40-42", each once, in the given order.

    Raises:
        KitError: the text has another form, or a number is out of range.

    >>> parse_numbers("3,0-2,1")
    [3, 0, 1, 2]
    """
    numbers: list[int] = []
    for item in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,3})(?:-(\d{1,3}))?\s*", item, re.ASCII)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last < part.n_tars:
            raise KitError(
                f"--tars: expected numbers from 0 to {part.n_tars - 1}, which --part "
                f"{part.name} has, such as 0-9 or 3,17, got {text[:80]!r}"
            )
        numbers.extend(range(first, last + 1))
    return list(dict.fromkeys(numbers))
