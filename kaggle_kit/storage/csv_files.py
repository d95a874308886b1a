"""CSV files with any columns: strict reading, atomic writing.

Every error message is one line: file, row, what was expected, what came, what to do.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from kaggle_kit.errors import TableError
from kaggle_kit.storage.files import atomic_write

QUOTED = 80  # longest excerpt of a cell in an error message, in characters


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
    path: Path, columns: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, fields of ``columns`` and then of ``optional``) for each row.

    Columns are found by name, in any order. An optional column that is missing gives
    empty fields. Empty lines are skipped. Spaces around a field and a byte-order mark are
    removed.

    Raises:
        TableError: the file is missing or not UTF-8, a column is missing or repeated, or
            a row has more or fewer fields than the header.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip() for name in next(reader, [])]
            indices = _column_indices(path, header, columns, optional)
            width = len(header)
            for fields in reader:
                if len(fields) != width:
                    if not any(map(str.strip, fields)):
                        continue
                    raise TableError(
                        f"{path}: row {reader.line_num}: expected {width} fields "
                        f"({','.join(header)[:QUOTED]}), got {len(fields)}: "
                        f"{','.join(fields)[:QUOTED]!r}; correct or delete the row"
                    )
                yield (
                    reader.line_num,
                    ["" if i is None else fields[i].strip() for i in indices],
                )
    except FileNotFoundError:
        raise TableError(
            f"{path}: expected a CSV file, found none; check the path"
        ) from None
    except (OSError, ValueError, csv.Error) as error:  # ValueError: not UTF-8
        raise TableError(
            f"{path}: expected a readable CSV file in UTF-8, got {error}; save it again "
            f"as plain CSV"
        ) from error


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
