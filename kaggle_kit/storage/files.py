"""Files and folders that appear whole or not at all, and locks on those being written."""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import kaggle_kit
from kaggle_kit.errors import ArtefactError, DataError, KitError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_locked: set[Path] = set()  # by this process


@contextmanager
def full_disk_told(path: Path) -> Iterator[None]:
    """Raise one error for a full disk, which every library reports in its own way.

    Raises:
        DataError: there was no room to write ``path``.
    """
    try:
        yield
    except KitError:
        raise
    except Exception as error:  # TensorFlow's and HDF5's own kinds too
        reasons = [r for r in map(os.strerror, FULL) if r in str(error)]
        if not reasons:
            raise
        raise DataError(
            f"{path}: expected room to write it, found the disk full ({reasons[0]}); "
            f"make room, then run the same command again"
        ) from None


@contextmanager
def locked(path: Path, wait: bool = False) -> Iterator[None]:
    """Keep other processes from making ``path`` at the same time.

    A lock ends with its process, however that ends. What a killed process left beside
    ``path`` is removed. A process may lock a path again that it has locked already.

    Args:
        wait: until the other process has ended.

    Raises:
        ArtefactError: another process is at work, and ``wait`` is False.
    """
    path = Path(path).absolute()
    if path in _locked:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f"{path.name}.kit.lock")
    while True:
        with lock.open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                raise ArtefactError(
                    f"{path}: expected no other process to write it, found one at work; "
                    f"wait until it has ended, then run the same command again"
                ) from None
            if not _is_at(file.fileno(), lock):
                continue  # whoever held it has removed it
            _locked.add(path)
            try:
                _tidy(path)
                yield
                return
            finally:
                _locked.remove(path)
                lock.unlink(missing_ok=True)


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; it becomes ``path`` if all goes well.

    Processes that write the same file do so one after the other.

    Raises:
        DataError: the disk is full.
    """
    path = Path(path).absolute()
    part, _ = _beside(path)
    with locked(path, wait=True), full_disk_told(path):
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
        ArtefactError: ``path`` holds anything else, or another process makes it.
        DataError: the disk is full.
    """
    path = Path(path).absolute()
    part, old = _beside(path)
    with locked(path), full_disk_told(path):
        if path.exists() and not replaceable(path, marker):
            raise ArtefactError(
                f"{path}: expected a new or empty folder or one with {marker}, found "
                f"other files; choose another --out"
            )
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


def _beside(path: Path) -> list[Path]:
    """Where a path is made, and where an earlier one is put before it goes."""
    return [path.with_name(f"{path.name}.kit.{end}") for end in ("part", "old")]


def _tidy(path: Path) -> None:
    """Remove what a killed process left beside a path, or put back what was there."""
    part, old = _beside(path)
    if old.exists() and not path.exists():  # killed between the two moves
        os.replace(old, path)
    for left in (part, old):
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink(missing_ok=True)


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file still is the one at a path."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def replaceable(path: Path, marker: str) -> bool:
    """Whether a folder may be replaced: empty, or an earlier one of the same kind."""
    return path.is_dir() and ((path / marker).exists() or not any(path.iterdir()))


def shipped(name: str) -> Path:
    """A file of ``configs/`` or ``kernels/``: from the installed kit or the checkout."""
    package = Path(kaggle_kit.__file__).parent
    installed = package / name
    return installed if installed.exists() else package.parent / name
