"""The gallery's photos as far as they are at hand, whose they are, and some examples."""

import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.backends.uploads import CheckedImage
from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.errors import DataError
from kaggle_kit.storage import tables
from kaggle_kit.storage.csv_files import read_rows

THUMBNAILS, EXAMPLES = "thumbnails.zip", "examples"  # of an exported folder's photos/
ATTRIBUTION = "attribution.csv"
N_EXAMPLES = 6


class Album:
    """Photos in the competition's layout, or what ``--export`` packed of them.

    Attributes:
        examples: files to try, by the name they are shown with.
    """

    def __init__(self, bundle: Path, photos: Path | None):
        """Look at what is there.

        Args:
            photos: a competition folder or an exported ``photos/``; None: no photo.

        Raises:
            DataError: there is no such folder, or it is of another kind.
        """
        self._train_dir: Path | None = None
        self._packed: zipfile.ZipFile | None = None
        self.examples: dict[str, Path] = {}
        if photos and (photos / THUMBNAILS).exists():
            self._packed = zipfile.ZipFile(photos / THUMBNAILS)
            files = sorted((photos / EXAMPLES).glob("*"))
        elif photos:
            place = Competition(photos).require("train")
            self._train_dir = place.train_dir
            files = list(example_files(place))
        else:
            files = []
        self.examples = {f"Example {i}": file for i, file in enumerate(files, 1)}
        self._credits = _credits(bundle / ATTRIBUTION)

    def shown(self, image_id: str) -> NDArray[np.uint8] | None:
        """A gallery photo for a page, or None."""
        photo = self.photo(image_id)
        data = None
        if self._packed is not None:
            with suppress(KeyError):
                data = self._packed.read(f"{image_id}.jpg")
        try:
            if data is not None:
                return CheckedImage(image_id, data).preview
            return photo.preview if photo else None
        except DataError:
            return None

    def photo(self, image_id: str) -> CheckedImage | None:
        """A gallery photo in its whole size, or None."""
        if self._train_dir is None:
            return None
        path = image_path(self._train_dir, image_id)
        try:
            return CheckedImage(path.name, path.read_bytes())
        except (OSError, DataError):
            return None

    def credit(self, image_id: str) -> tuple[str, str] | None:
        """Whose a photo is, with its licence, and where it is from; None: not known."""
        return self._credits.get(image_id)


def example_files(place: Competition) -> Iterator[Path]:
    """A few test photos, evenly spaced, that are there."""
    if not place.sample_csv.exists():
        return
    ids = tables.read_sample(place.sample_csv)
    paths = (image_path(place.test_dir, i) for i in ids[:: max(1, len(ids) // 60)])
    there = [path for path in paths if path.is_file()]
    yield from there[:: max(1, len(there) // N_EXAMPLES)][:N_EXAMPLES]


def _credits(path: Path) -> dict[str, tuple[str, str]]:
    if not path.exists():
        return {}
    rows = read_rows(path, ("id", "url", "author", "license", "title"))
    return {
        image_id: (", ".join(part for part in (title, author, licence) if part), url)
        for _, (image_id, url, author, licence, title) in rows
    }
