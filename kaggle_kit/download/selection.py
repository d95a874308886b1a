"""The selection of images: those of a subset, or those listed in a file."""

from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

from kaggle_kit.errors import TableError
from kaggle_kit.storage import tables
from kaggle_kit.storage.id_files import read_image_ids


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
