"""Files that list image ids."""

from collections.abc import Iterator
from pathlib import Path

from kaggle_kit.errors import TableError
from kaggle_kit.storage import tables
from kaggle_kit.storage.csv_files import read_rows
from kaggle_kit.storage.text_files import open_text


def read_image_ids(path: Path) -> list[str]:
    """Read the image ids of a CSV file with a column id, or of a file with one id per line.

    Repeated ids are returned once.

    Raises:
        TableError: the file is missing or without ids, or an id is malformed.
    """
    path = Path(path)
    lines = (line.strip() for line in _lines(path))
    header = next(filter(None, lines), "").split(",")
    ids: dict[str, None] = {}
    if "id" in [name.strip() for name in header]:
        rows = [(row, fields[0]) for row, fields in read_rows(path, ("id",))]
    else:
        rows = [(row, line.strip()) for row, line in enumerate(_lines(path), 1)]
    for row, image_id in rows:
        if image_id and not tables.IMAGE_ID.fullmatch(image_id):
            raise TableError(
                f"{path}: row {row}: expected an image id such as 0108dac4511cf183, got "
                f"{image_id[:80]!r}; correct the id, or give the file a column id"
            )
        if image_id:
            ids[image_id] = None
    if not ids:
        raise TableError(f"{path}: expected image ids, found none; list one per line")
    return list(ids)


def _lines(path: Path) -> Iterator[str]:
    try:
        with open_text(path, "utf-8-sig", newline=None) as file:
            yield from file
    except (OSError, ValueError) as error:  # ValueError: not UTF-8
        is_text = not isinstance(error, UnicodeError)
        reason = getattr(error, "strerror", None) or (
            f"{error}" if is_text else "not text in UTF-8"
        )
        raise TableError(
            f"{path}: expected a file with image ids, got {reason}; check the path"
        ) from None
