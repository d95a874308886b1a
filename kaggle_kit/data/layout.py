"""The competition's layout: where its tables and photos lie."""

from dataclasses import dataclass
from pathlib import Path

from kaggle_kit.errors import DataError


def image_path(folder: Path, image_id: str) -> Path:
    """The photo of an id below ``train/`` or ``test/``: one folder per leading letter.

    >>> image_path(Path("train"), "0108dac4511cf183").as_posix()
    'train/0/1/0/0108dac4511cf183.jpg'
    """
    return folder / image_id[0] / image_id[1] / image_id[2] / f"{image_id}.jpg"


@dataclass(frozen=True)
class Competition:
    """A folder in the competition's layout."""

    root: Path

    @property
    def train_dir(self) -> Path:
        """The folder of the labelled photos, and of non-landmarks."""
        return self.root / "train"

    @property
    def test_dir(self) -> Path:
        """The folder of the photos to be recognised."""
        return self.root / "test"

    @property
    def train_csv(self) -> Path:
        """The table of the labelled photos."""
        return self.root / "train.csv"

    @property
    def sample_csv(self) -> Path:
        """The table whose ids a submission has."""
        return self.root / "sample_submission.csv"

    @property
    def solution_csv(self) -> Path:
        """The table of what the test photos show, where it is known."""
        return self.root / "solution.csv"

    @property
    def names_csv(self) -> Path:
        """The table of landmarks' names: ``landmarks.csv``, or else the data set's own."""
        own = self.root / "landmarks.csv"
        return own if own.exists() else self.root / "train_label_to_category.csv"

    def require(self, *names: str) -> "Competition":
        """This competition, once ``names`` exist and named folders hold something.

        Raises:
            DataError: what is missing.
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
                    f"{path}: expected photos as a/b/c/<id>.jpg, found an empty folder; "
                    f"download or unpack the competition's images"
                )
        return self
