"""Where things lie: the competition's layout, and files that appear whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kaggle_kit.errors import ArtefactError, DataError


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
        return self.root / "train"

    @property
    def test_dir(self) -> Path:
        return self.root / "test"

    @property
    def train_csv(self) -> Path:
        return self.root / "train.csv"

    @property
    def sample_csv(self) -> Path:
        return self.root / "sample_submission.csv"

    @property
    def solution_csv(self) -> Path:
        return self.root / "solution.csv"

    @property
    def names_csv(self) -> Path:
        """Where landmarks have names; the second is the data set's own."""
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


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; it becomes ``path`` if all goes well."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def written_dir(path: Path, marker: str) -> Iterator[Path]:
    """Yield an empty folder beside ``path``; it becomes ``path`` if all goes well.

    An earlier folder of the same kind, known by the file ``marker``, is replaced.

    Raises:
        ArtefactError: ``path`` holds anything else.
    """
    path = Path(path)
    if path.exists() and not replaceable(path, marker):
        raise ArtefactError(
            f"{path}: expected a new or empty folder or one with {marker}, found other "
            f"files; choose another --out"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    old = path.with_name(f"{path.name}.{os.getpid()}.old")
    try:
        part.mkdir()
        yield part
        if path.exists():
            os.replace(path, old)
        try:
            os.replace(part, path)
        except OSError:
            if old.exists():
                os.replace(old, path)
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def replaceable(path: Path, marker: str) -> bool:
    """Whether a folder may be replaced: empty, or an earlier one of the same kind."""
    return path.is_dir() and ((path / marker).exists() or not any(path.iterdir()))


def shipped(name: str) -> Path:
    """A file of ``configs/`` or ``kernels/``: from the installed kit or the checkout."""
    package = Path(__file__).parent
    installed = package / name
    return installed if installed.exists() else package.parent / name
