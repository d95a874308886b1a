"""The gallery images that are available to the app, their authors, and example images."""

import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.backends.uploads import CheckedImage, read_upload
from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.errors import DataError
from kaggle_kit.storage import tables
from kaggle_kit.storage.csv_files import read_rows
from kaggle_kit.storage.manifest import read_manifest

THUMBNAILS, EXAMPLES = "thumbnails.zip", "examples"  # in photos/ of an exported folder
ATTRIBUTION = "attribution.csv"
N_EXAMPLES = 6


class Album:
    """Images in a competition folder, or the thumbnails that ``--export`` packed.

    Attributes:
        examples: images to try, by the name on the page.
    """

    def __init__(self, bundle: Path, images: Path | None):
        """List the images.

        Args:
            images: a competition folder or an exported ``photos/``; None: no images.

        Raises:
            DataError: the folder does not exist or is of another kind.
            ArtefactError: the manifest of the bundle is missing or damaged.
        """
        self._train_dir: Path | None = None
        self._thumbnails: zipfile.ZipFile | None = None
        if images and (images / THUMBNAILS).exists():
            self._thumbnails = zipfile.ZipFile(images / THUMBNAILS)
            files = [f for f in sorted((images / EXAMPLES).glob("*")) if f.is_file()]
        elif images:
            competition = Competition(images).require("train")
            self._train_dir = competition.train_dir
            files = choose_examples(competition)
        else:
            files = []
        self.examples = {f"Example {i}": file for i, file in enumerate(files, 1)}
        self._credits = _read_credits(read_manifest(bundle).find(ATTRIBUTION))

    def load_preview(self, image_id: str) -> NDArray[np.uint8] | None:
        """A small copy of a gallery image, or None if it is not available."""
        image = self.load_image(image_id)
        thumbnail = None
        if self._thumbnails is not None:
            with suppress(KeyError):
                thumbnail = self._thumbnails.read(f"{image_id}.jpg")
        try:
            if thumbnail is not None:
                return CheckedImage(image_id, thumbnail).preview
            return image.preview if image else None
        except DataError:
            return None

    def load_image(self, image_id: str) -> CheckedImage | None:
        """A gallery image at full size, or None if it is not available."""
        if self._train_dir is None:
            return None
        path = image_path(self._train_dir, image_id)
        try:
            return read_upload(path)
        except (OSError, DataError):
            return None

    def credit(self, image_id: str) -> tuple[str, str] | None:
        """Title, author and licence of an image, and its URL; None if they are unknown."""
        return self._credits.get(image_id)


def choose_examples(competition: Competition) -> list[Path]:
    """Choose a few test images, evenly spaced, from those that exist."""
    if not competition.sample_csv.exists():
        return []
    ids = tables.read_sample(competition.sample_csv)
    step = max(1, len(ids) // 60)
    paths = [image_path(competition.test_dir, i) for i in ids[::step]]
    files = [path for path in paths if path.is_file()]
    return files[:: max(1, len(files) // N_EXAMPLES)][:N_EXAMPLES]


def _read_credits(path: Path | None) -> dict[str, tuple[str, str]]:
    if path is None:
        return {}
    rows = read_rows(path, ("id", "url", "author", "license", "title"))
    return {
        image_id: (", ".join(part for part in (title, author, licence) if part), url)
        for _, (image_id, url, author, licence, title) in rows
    }
