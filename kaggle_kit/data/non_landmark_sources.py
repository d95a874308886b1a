"""Where images that show no landmark come from."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from kaggle_kit.data.index import image_ids
from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.data.layout_check import require_images
from kaggle_kit.errors import DataError
from kaggle_kit.storage import tables
from kaggle_kit.storage.id_files import read_image_ids
from kaggle_kit.storage.public_tables import ids_without_landmark, read_public_solution

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")


def find_images(
    source: str, place: Competition, listed: Sequence[Path] = ()
) -> dict[str, Path]:
    """The images of a source, by id.

    A user's folder may have two images of one name. So the id of such an image is the
    SHA-256 of its content, shortened to 16 digits.

    Raises:
        DataError: the files that the source needs are missing.
        TableError: a table is malformed.
    """
    if source == "listed":
        return _listed_images(place, listed)
    if source == "gldv2_test":
        return _public_test_images(place)
    place.require("train.csv", "train")
    in_table = set(tables.read_labels(place.train_csv).column("image_id").tolist())
    others = set(image_ids(place.train_dir)) - in_table
    return {i: image_path(place.train_dir, i) for i in others}


def count_sources(place: Competition) -> dict[str, int]:
    """The number of images that each source has in a competition folder.

    Raises:
        DataError, TableError: as ``find_images``, but not because a source has no files.
    """
    here = {
        "listed": place.non_landmarks_csv.exists(),
        "gldv2_test": place.public_test_dir.is_dir()
        and place.public_solution_csv.exists(),
        "unlisted": True,
    }
    return {
        source: len(find_images(source, place)) if is_here else 0
        for source, is_here in here.items()
    }


def _listed_images(place: Competition, listed: Sequence[Path]) -> dict[str, Path]:
    own = [place.non_landmarks_csv] if place.non_landmarks_csv.exists() else []
    if not (own or listed):
        raise DataError(
            f"{place.root}: expected images that show no landmark, found no "
            f"non_landmarks.csv there and no --non-landmarks; add --non-landmarks PATH, a "
            f"folder of images or a file of ids"
        )
    found: dict[str, Path] = {}
    for path in [*listed, *own]:
        if path.is_dir():
            found |= _images_below(path, place)
        else:
            found |= {i: _find_image(i, path, place) for i in read_image_ids(path)}
    return found


def _images_below(folder: Path, place: Competition) -> dict[str, Path]:
    """The images of a folder, by the hash of their content; links are not followed."""
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES and path.is_file()
    ]
    if not files:
        raise DataError(
            f"{folder}: expected images ({', '.join(SUFFIXES)}), found none; check "
            f"--non-landmarks"
        )
    found: dict[str, Path] = {}
    for path in files:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        found.setdefault(digest[:16], path)
    return found


def _find_image(image_id: str, source: Path, place: Competition) -> Path:
    """The file of a listed image: in ``train/``, or of the public data set."""
    for folder in (place.train_dir, place.public_test_dir, place.public_index_dir):
        path = image_path(folder, image_id)
        if path.exists():
            return path
    raise DataError(
        f"{source}: image {image_id}: expected its file below train/, gldv2_test/ or "
        f"gldv2_index/ in {place.root}, found none; download it or delete the id"
    )


def _public_test_images(place: Competition) -> dict[str, Path]:
    folder, table = place.public_test_dir, place.public_solution_csv
    if not (folder.is_dir() and table.exists()):
        missing = table.name if folder.is_dir() else folder.name
        raise DataError(
            f"{place.root}: expected images of the public test set, found no {missing}; "
            f"get them with {download_command(place, 5000)}"
        )
    require_images(folder)
    without = set(ids_without_landmark(read_public_solution(table)))
    found = without.intersection(image_ids(folder))
    return {i: image_path(folder, i) for i in found}


def download_command(place: Competition, n: int) -> str:
    """The command that gets n images without a landmark of the public test set."""
    new = not place.public_test_dir.is_dir()  # else they have the size of before
    resize = " --resize 512" if new else ""
    return (
        f"kaggle-kit download --part test --without-landmark {n}{resize} --out "
        f"{place.root}{'' if new else ' (and --resize as before)'}"
    )
