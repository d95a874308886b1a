"""Which photos are asked for: those of a subset, or those that a file names."""

from collections.abc import Container, Iterator
from pathlib import Path
from typing import NamedTuple

from kaggle_kit.errors import TableError
from kaggle_kit.storage import tables
from kaggle_kit.storage.csv_files import read_rows


class Wanted(NamedTuple):
    """The photos that are asked for."""

    ids: list[str]
    listed: list[str]  # those of them that the tables must have
    source: Path


def wanted(subset: Path | None, ids: Path | None) -> Wanted | None:
    """What ``--subset`` or ``--ids`` asks for; None where neither is given.

    Raises:
        TableError: there is no such file, or it is damaged.
    """
    if subset:
        path = Path(subset) / "subset.csv"
        members = tables.read_subset(path)
        listed = [m.image_id for m in members if m.landmark_id is not None]
        return Wanted([m.image_id for m in members], listed, path)
    if ids:
        named = file_ids(ids)
        return Wanted(named, named, Path(ids))
    return None


def file_ids(path: Path) -> list[str]:
    """The image ids of a CSV file with a column id, or of a file with one id a line.

    An id that comes again counts once.

    Raises:
        TableError: no such file, no ids in it, or something that is not an id.
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
        raise TableError(f"{path}: expected image ids, found none; add them")
    return list(ids)


def require_known(wanted: Wanted, known: Container[str], where: str) -> None:
    """Refuse ids that the tables do not have, before any photo is fetched.

    Raises:
        TableError: the first of them, and how many there are.
    """
    unknown = [image_id for image_id in wanted.listed if image_id not in known]
    if unknown:
        raise TableError(
            f"{wanted.source}: image {unknown[0]}: expected ids of {where}, got "
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
