"""The selection of images: those of a subset, or those listed in a file."""

from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path

from kaggle_kit.errors import TableError
from kaggle_kit.storage import tables
from kaggle_kit.storage.csv_files import read_rows


@dataclass(frozen=True, slots=True)
class Selection:
    """The images to download.

    Attributes:
        ids: the image ids.
        required: those of them that the tables must list.
        source: the file with the ids.
    """

    ids: list[str]
    required: list[str]
    source: Path


def read_selection(subset: Path | None, ids: Path | None) -> Selection | None:
    """The images of ``--subset`` or ``--ids``; None if neither is given.

    Raises:
        TableError: the file is missing or malformed.
    """
    if subset:
        path = Path(subset) / "subset.csv"
        members = tables.read_subset(path)
        labelled = [m.image_id for m in members if m.landmark_id is not None]
        return Selection([m.image_id for m in members], labelled, path)
    if ids:
        listed = read_image_ids(ids)
        return Selection(listed, listed, Path(ids))
    return None


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


def require_listed(
    selection: Selection, listed: Container[str], table_names: str
) -> None:
    """Check the ids of a selection before any image is downloaded.

    Args:
        listed: the ids in the tables.
        table_names: the tables, for the error message.

    Raises:
        TableError: some are not listed. It names the first one, and says how many.
    """
    unknown = [image_id for image_id in selection.required if image_id not in listed]
    if unknown:
        raise TableError(
            f"{selection.source}: image {unknown[0]}: expected ids of {table_names}, got "
            f"{len(unknown)} unknown; delete them, or make the file from those tables"
        )


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield from file
    except (OSError, ValueError) as error:  # ValueError: not UTF-8
        reason = getattr(error, "strerror", None) or "not text in UTF-8"
        raise TableError(
            f"{path}: expected a file with image ids, got {reason}; check the path"
        ) from None
