"""The folder layout of the competition: paths of its tables and images."""

from dataclasses import dataclass
from pathlib import Path

from kaggle_kit.data.layout_check import DEPTH, require_images
from kaggle_kit.errors import DataError

# The other parts of the public data set, below the root of a competition, which has a
# folder test of its own. The landmark ids of the index are others than those of train.csv.
GLDV2_TEST = "gldv2_test"
GLDV2_INDEX = "gldv2_index"
GLDV2_SOLUTION = (
    "recognition_solution_v2.1.csv"  # the truth of the images of GLDV2_TEST
)


def image_path(folder: Path, image_id: str) -> Path:
    """The path of an image below ``train/`` or ``test/``.

    The first three characters of the id are the names of nested folders.

    Raises:
        DataError: the id has fewer characters.

    >>> image_path(Path("train"), "0108dac4511cf183").as_posix()
    'train/0/1/0/0108dac4511cf183.jpg'
    """
    if len(image_id) < DEPTH:
        raise DataError(
            f"{folder}: image {image_id!r}: expected an id of at least {DEPTH} characters, "
            f"which name its folders; correct the id in the table that lists it"
        )
    return folder / image_id[0] / image_id[1] / image_id[2] / f"{image_id}.jpg"


@dataclass(frozen=True)
class Competition:
    """A folder in the competition's layout.

    Attributes:
        root: the folder; the files in it may be missing (see ``require``).
    """

    root: Path

    @property
    def train_dir(self) -> Path:
        """Folder of the labelled images; it may hold others too."""
        return self.root / "train"

    @property
    def test_dir(self) -> Path:
        """Folder of the images to recognise."""
        return self.root / "test"

    @property
    def public_test_dir(self) -> Path:
        """Folder of images of the public data set's test part, from its tars."""
        return self.root / GLDV2_TEST

    @property
    def public_index_dir(self) -> Path:
        """Folder of images of the public data set's index part, from its tars."""
        return self.root / GLDV2_INDEX

    @property
    def public_solution_csv(self) -> Path:
        """Table of the landmarks that those images show, if any."""
        return self.root / GLDV2_SOLUTION

    @property
    def non_landmarks_csv(self) -> Path:
        """The user's list of images that show no landmark, if there is one."""
        return self.root / "non_landmarks.csv"

    @property
    def train_csv(self) -> Path:
        """Table of the labelled images: image id and landmark id."""
        return self.root / "train.csv"

    @property
    def sample_csv(self) -> Path:
        """Table with the image ids that a submission must have."""
        return self.root / "sample_submission.csv"

    @property
    def solution_csv(self) -> Path:
        """Table of the landmark ids that the test images show, if available."""
        return self.root / "solution.csv"

    @property
    def names_csv(self) -> Path:
        """Table of the landmarks' names: ``landmarks.csv``, or else that of the data set."""
        own = self.root / "landmarks.csv"
        return own if own.exists() else self.root / "train_label_to_category.csv"

    def require(self, *names: str, images: bool = True) -> "Competition":
        """Check that ``names`` exist and that folders among them have images.

        Args:
            images: False: a folder may have files of any kind, but it is not empty.

        Returns:
            This competition.

        Raises:
            DataError: a file or folder is missing, or a folder has no image at its place.
        """
        if not self.root.is_dir():
            raise DataError(
                f"{self.root}: expected a competition folder (train.csv, train/, test/,"
                f" sample_submission.csv), found no folder; check --competition"
            )
        for name in names:
            path = self.root / name
            if not path.exists():
                raise DataError(
                    f"{self.root}: expected {name} in the competition folder, found "
                    f"none; check --competition"
                )
            if path.is_dir() and not any(path.iterdir()):
                raise DataError(
                    f"{path}: expected images as a/b/c/<id>.jpg, found an empty folder; "
                    f"download or unpack the competition's images"
                )
            if path.is_dir() and images:
                require_images(path)
        return self
