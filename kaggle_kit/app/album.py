"""The gallery photos that are available to the app, their authors, and example photos."""

import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.backends.uploads import CheckedImage
from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.errors import DataError
from kaggle_kit.storage import tables
from kaggle_kit.storage.csv_files import read_rows

THUMBNAILS, EXAMPLES = "thumbnails.zip", "examples"  # in photos/ of an exported folder
ATTRIBUTION = "attribution.csv"
N_EXAMPLES = 6


class Album:
    """Photos in a competition folder, or the thumbnails that ``--export`` packed.

    Attributes:
        examples: photos to try, by the name on the page.
    """

    def __init__(self, bundle: Path, photos: Path | None):
        """List the photos.

        Args:
            photos: a competition folder or an exported ``photos/``; None: no photos.

        Raises:
            DataError: the folder does not exist or is of another kind.
        """
        self._train_dir: Path | None = None
        self._thumbnails: zipfile.ZipFile | None = None
        if photos and (photos / THUMBNAILS).exists():
            self._thumbnails = zipfile.ZipFile(photos / THUMBNAILS)
            files = sorted((photos / EXAMPLES).glob("*"))
        elif photos:
            competition = Competition(photos).require("train")
            self._train_dir = competition.train_dir
            files = choose_examples(competition)
        else:
            files = []
        self.examples = {f"Example {i}": file for i, file in enumerate(files, 1)}
        self._credits = _read_credits(bundle / ATTRIBUTION)

    def load_preview(self, image_id: str) -> NDArray[np.uint8] | None:
        """A small copy of a gallery photo, or None if it is not available."""
        photo = self.load_photo(image_id)
        thumbnail = None
        if self._thumbnails is not None:
            with suppress(KeyError):
                thumbnail = self._thumbnails.read(f"{image_id}.jpg")
        try:
            if thumbnail is not None:
                return CheckedImage(image_id, thumbnail).preview
            return photo.preview if photo else None
        except DataError:
            return None

    def load_photo(self, image_id: str) -> CheckedImage | None:
        """A gallery photo at full size, or None if it is not available."""
        if self._train_dir is None:
            return None
        path = image_path(self._train_dir, image_id)
        try:
            return CheckedImage(path.name, path.read_bytes())
        except (OSError, DataError):
            return None

    def credit(self, image_id: str) -> tuple[str, str] | None:
        """Title, author and licence of a photo, and its URL; None if they are unknown."""
        return self._credits.get(image_id)


def choose_examples(competition: Competition) -> list[Path]:
    """Choose a few test photos, evenly spaced, from those that exist."""
    if not competition.sample_csv.exists():
        return []
    ids = tables.read_sample(competition.sample_csv)
    step = max(1, len(ids) // 60)
    paths = [image_path(competition.test_dir, i) for i in ids[::step]]
    files = [path for path in paths if path.is_file()]
    return files[:: max(1, len(files) // N_EXAMPLES)][:N_EXAMPLES]


def _read_credits(path: Path) -> dict[str, tuple[str, str]]:
    if not path.exists():
        return {}
    rows = read_rows(path, ("id", "url", "author", "license", "title"))
    return {
        image_id: (", ".join(part for part in (title, author, licence) if part), url)
        for _, (image_id, url, author, licence, title) in rows
    }
