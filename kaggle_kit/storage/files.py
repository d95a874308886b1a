"""Atomic writing of files and folders, and locks between processes."""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import kaggle_kit
from kaggle_kit.errors import ArtefactError, DataError, KitError

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_locked: set[Path] = set()  # paths that this process has locked


@contextmanager
def report_full_disk(path: Path) -> Iterator[None]:
    """Convert the various errors that libraries raise for a full disk into one.

    Raises:
        DataError: the disk is full; the message names ``path``.
    """
    try:
        yield
    except KitError:
        raise
    except Exception as error:  # TensorFlow and HDF5 raise their own types
        reasons = [r for r in map(os.strerror, DISK_FULL) if r in str(error)]
        if not reasons:
            raise
        raise DataError(
            f"{path}: expected free disk space, found the disk full ({reasons[0]}); make "
            f"room, then run the same command again"
        ) from None


@contextmanager
def lock(path: Path, wait: bool = False) -> Iterator[None]:
    """Lock a file or folder against writing by other processes.

    The operating system releases the lock when the process ends, also if it is killed. On
    entry, the temporary files that a killed process left beside ``path`` are removed. The
    lock is reentrant within a process.

    Args:
        wait: block until the other process releases the lock.

    Raises:
        ArtefactError: another process holds the lock, and ``wait`` is False.
    """
    path = Path(path).absolute()
    if path in _locked:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    lock_path = path.with_name(f"{path.name}.kit.lock")
    while True:
        with lock_path.open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                raise ArtefactError(
                    f"{path}: expected no other process to write it, found one at work; "
                    f"wait until it has ended, then run the same command again"
                ) from None
            if not _is_at(file.fileno(), lock_path):
                continue  # the process that held the lock has removed the file
            _locked.add(path)
            try:
                _clean_up(path)
                yield
                return
            finally:
                _locked.remove(path)
                lock_path.unlink(missing_ok=True)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Write a file atomically: yield a temporary path, then rename it to ``path``.

    After an exception, ``path`` is unchanged. Processes that write the same file wait for
    each other.

    Raises:
        DataError: the disk is full.
    """
    path = Path(path).absolute()
    part, _ = _temporary_paths(path)
    with lock(path, wait=True), report_full_disk(path):
        try:
            yield part
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def atomic_write_dir(path: Path, marker: str) -> Iterator[Path]:
    """Write a folder atomically: yield an empty folder, then rename it to ``path``.

    After an exception, ``path`` is unchanged. An existing folder is replaced if it
    contains the file ``marker``, which identifies folders of the same kind.

    Raises:
        ArtefactError: ``path`` has other content, or another process writes it.
        DataError: the disk is full.
    """
    path = Path(path).absolute()
    part, old = _temporary_paths(path)
    with lock(path), report_full_disk(path):
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


def _temporary_paths(path: Path) -> list[Path]:
    """The path that is written before it is renamed, and the one of the old content."""
    return [path.with_name(f"{path.name}.kit.{end}") for end in ("part", "old")]


def _clean_up(path: Path) -> None:
    """Remove the temporary files of a killed process, or restore the old content."""
    part, old = _temporary_paths(path)
    if old.exists() and not path.exists():  # killed between the two renames
        os.replace(old, path)
    for leftover in (part, old):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one at a path."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def replaceable(path: Path, marker: str) -> bool:
    """Whether a folder is empty or contains the file ``marker``."""
    return path.is_dir() and ((path / marker).exists() or not any(path.iterdir()))


def package_path(name: str) -> Path:
    """The path of ``configs/`` or ``kernels/``, or of a file in them.

    Args:
        name: relative to the installed package or, in a checkout, to its root.
    """
    package = Path(kaggle_kit.__file__).parent
    installed = package / name
    return installed if installed.exists() else package.parent / name
