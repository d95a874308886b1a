"""The tables of Google Landmarks Dataset v2 that the competition does not have.

Every error message is one line: file, image or row, what was expected, what came, what to
do.
"""

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

from kaggle_kit.errors import TableError
from kaggle_kit.storage.csv_files import QUOTED, read_rows
from kaggle_kit.storage.tables import (
    IMAGE_ID,
    LANDMARK_ID,
    USAGES,
    Truth,
    read_solution,
    without_gc,
)

IGNORED = "Ignored"  # the Usage of an image whose cell says nothing
ID_FORMS = {
    "id": (IMAGE_ID, "an image id such as 0108dac4511cf183"),
    "landmark_id": (LANDMARK_ID, "a landmark id (a whole number)"),
}


def read_public_solution(path: Path) -> dict[str, Truth]:
    """Read ``recognition_solution_v2.1.csv``: the truth by image id, in file order.

    It has id, landmarks and Usage. Unlike in the solution of a competition, each row needs
    a Usage.

    Raises:
        TableError: the file is missing, without rows or malformed.
    """
    truths = read_solution(path)
    for image_id, truth in truths.items():
        if not truth.usage:
            raise TableError(
                f"{path}: image {image_id}: expected Usage {', '.join(USAGES)}, got none; "
                f"correct the row, or add the column Usage"
            )
    if not truths:
        raise TableError(f"{path}: expected a row per image, got none; fetch it again")
    return truths


def ids_without_landmark(truths: Mapping[str, Truth]) -> list[str]:
    """The images of a solution that are known to show no landmark, in its order.

    Their cell is empty, and their Usage is not ``Ignored``.
    """
    return [
        image_id
        for image_id, truth in truths.items()
        if not truth.landmark_ids and truth.usage != IGNORED
    ]


@without_gc()
def read_clean_labels(path: Path) -> dict[str, int]:
    """Read ``train_clean.csv``: the landmark id by image id, in file order.

    It has landmark_id and images: ids of images separated by blanks.

    Raises:
        TableError: the file is missing, without images or malformed, or an image is in it
            twice.
    """
    landmark_of: dict[str, int] = {}
    is_id = IMAGE_ID.fullmatch
    for row, (landmark, images) in read_rows(path, ("landmark_id", "images")):
        if not LANDMARK_ID.fullmatch(landmark):
            raise TableError(
                f"{path}: row {row}: expected a landmark id (a whole number), got "
                f"{landmark[:QUOTED]!r}; correct or delete the row"
            )
        for image_id in images.split():
            if not is_id(image_id):
                raise TableError(
                    f"{path}: row {row}: expected image ids separated by blanks, got "
                    f"{image_id[:QUOTED]!r}; correct the id"
                )
            if image_id in landmark_of:
                raise TableError(
                    f"{path}: row {row}: image {image_id}: expected each image once, got "
                    f"it again; delete one of the two"
                )
            landmark_of[image_id] = int(landmark)
    if not landmark_of:
        raise TableError(f"{path}: expected image ids, got none; fetch it again")
    return landmark_of


def check_ids(path: Path, columns: Sequence[str], most: int | None = None) -> None:
    """Check that a table has columns, and ids in those named id and landmark_id.

    Args:
        most: how many rows are read; None means all.

    Raises:
        TableError: the file is missing, a column is missing, or an id is malformed.
    """
    for row, fields in islice(read_rows(path, columns), most):
        for column, text in zip(columns, fields, strict=True):
            form, name = ID_FORMS.get(column, (None, ""))
            if form and not form.fullmatch(text):
                raise TableError(
                    f"{path}: row {row}: expected {name}, got {text[:QUOTED]!r}; correct "
                    f"or delete the row"
                )
