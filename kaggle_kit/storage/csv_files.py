"""CSV files with any columns: strict reading, atomic writing.

Every error message is one line: file, row, what was expected, what came, what to do.
"""

import csv
import errno
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from kaggle_kit.errors import TableError
from kaggle_kit.storage.files import atomic_write
from kaggle_kit.storage.text_files import open_text

QUOTED = 80  # longest excerpt of a cell in an error message, in characters
LINE_END = "\r\n"
PANDAS_INDEX = (
    "",
    "Unnamed: 0",
)  # names of its column, as it is written and read again


def write_rows(
    path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]
) -> None:
    """Write a CSV file atomically; None becomes an empty field."""
    with (
        atomic_write(path) as part,
        part.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def read_rows(
    path: Path,
    columns: Sequence[str],
    optional: Sequence[str] = (),
    exact: bool = False,
) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, fields of ``columns`` and then of ``optional``) for each row.

    Columns are found by name, in any order. An optional column that is missing gives
    empty fields. Empty lines are skipped. Spaces around a field and a byte-order mark are
    removed.

    Args:
        exact: for a file that Kaggle parses too: the first line must be the names of
            ``columns``, joined by commas, and spaces are part of a field.

    Raises:
        TableError: the file is missing or not UTF-8, a column is missing or repeated, or
            a row has more or fewer fields than the header.
    """
    clean = str if exact else str.strip
    with _open(path, exact) as file:
        first = next(file, "")
        if exact:
            _require_line(path, first, columns)
        reader = csv.reader(itertools.chain([first], file), strict=True)
        header = [name.strip() for name in next(reader, [])]
        indices = _column_indices(path, header, columns, optional)
        width = len(header)
        for fields in reader:
            if len(fields) != width:
                if not any(map(clean, fields)):
                    continue
                raise TableError(
                    f"{path}: row {reader.line_num}: expected {width} fields "
                    f"({','.join(header)[:QUOTED]}), got {len(fields)}: "
                    f"{','.join(fields)[:QUOTED]!r}; correct or delete the row"
                )
            yield (
                reader.line_num,
                ["" if i is None else clean(fields[i]) for i in indices],
            )


def read_header(path: Path) -> list[str]:
    """The names of the columns, without spaces around them and a byte-order mark.

    Raises:
        TableError: the file is missing, or its first line is not CSV.
    """
    with _open(path, errors="replace") as file:
        return [name.strip() for name in next(csv.reader(file, strict=True), [])]


def require_header(path: Path, sample: Path) -> None:
    """Check that the first line of a file is that of a sample.

    Kaggle compares the header of a submission with the sample's, and permits no further
    column. So other capital letters, quotes or spaces that the sample does not have, and a
    byte-order mark, are refused.

    Raises:
        TableError: a file is missing or not UTF-8, or the first line is another.
    """
    with _open(sample, exact=True, errors="replace") as file:
        expected = next(file, "")
    with _open(path, exact=True) as file:
        first = next(file, "")
        if first.rstrip(LINE_END) != expected.rstrip(LINE_END):
            _require_line(path, first, read_header(sample))


@contextmanager
def _open(path: Path, exact: bool = False, errors: str = "strict") -> Iterator[TextIO]:
    """Open a CSV file; with ``exact`` a byte-order mark is part of the first name."""
    codec = "utf-8" if exact else "utf-8-sig"
    try:
        with open_text(path, codec, errors) as file:
            yield file
    except FileNotFoundError:
        raise TableError(
            f"{path}: expected a CSV file, found none; check the path"
        ) from None
    except (OSError, ValueError, csv.Error) as error:  # ValueError: not UTF-8
        if getattr(error, "errno", None) == errno.EINVAL:  # a pipe, as of <(zcat FILE)
            raise TableError(
                f"{path}: expected a CSV file, got a pipe, a device or a folder, which "
                f"cannot be read twice; save it to a file first"
            ) from None
        raise TableError(
            f"{path}: expected a readable CSV file in UTF-8, got {error}; save it again "
            f"as plain CSV"
        ) from error


def _require_line(path: Path, line: str, columns: Sequence[str]) -> None:
    """Refuse a first line that is not the header of ``columns``."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(columns)
    expected, got = text.getvalue(), line.rstrip(LINE_END)
    if got == expected:
        return
    quoted = repr(got[:QUOTED]) if line else "an empty file"
    raise TableError(
        f"{path}: row 1: expected the header {expected[:QUOTED]}, got {quoted}; "
        f"{_advice(got, columns)}"
    )


def _advice(line: str, columns: Sequence[str]) -> str:
    """How to write the header of ``columns`` instead of a line."""
    if line.startswith("\ufeff"):
        return "write it as UTF-8 without a byte-order mark (encoding='utf-8')"
    names = next(csv.reader([line]), [])
    if names and names[0] in PANDAS_INDEX:
        return "write it without pandas' index column (index=False)"
    further = [name for name in names if name not in columns]
    if further and set(columns) <= set(names):
        return f"delete the column {further[0][:QUOTED]!r}"
    if sorted(names) == sorted(columns) and names != list(columns):
        return "write the columns in this order"
    return "write exactly these names, without quotes and spaces"


def _column_indices(
    path: Path, header: list[str], columns: Sequence[str], optional: Sequence[str]
) -> list[int | None]:
    """The index of each column in the header; None for a missing optional column."""
    missing = [name for name in columns if name not in header]
    if missing:
        raise TableError(
            f"{path}: row 1: expected the columns {','.join(columns)}, got "
            f"{','.join(header)[:QUOTED] or 'an empty file'}; add {','.join(missing)}"
        )
    for name in (*columns, *optional):
        if header.count(name) > 1:
            raise TableError(
                f"{path}: row 1: expected the column {name} once, got it "
                f"{header.count(name)} times; delete or rename all but one"
            )
    indices: list[int | None] = [header.index(name) for name in columns]
    return indices + [header.index(n) if n in header else None for n in optional]
