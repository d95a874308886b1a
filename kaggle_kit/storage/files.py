"""Atomic writing of files; ``storage.folders`` is for folders."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import kaggle_kit
from kaggle_kit.errors import DataError, KitError
from kaggle_kit.storage import flush, places
from kaggle_kit.storage.locks import lock

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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
def atomic_write(path: Path) -> Iterator[Path]:
    """Write a file atomically: yield a temporary path, then rename it to ``path``.

    A link is followed. After an exception, ``path`` is unchanged; afterwards it is whole,
    also after power loss. Processes that write the same file wait for each other.

    Raises:
        ArtefactError: ``path`` is not one of a file (see ``places.resolve_file``).
        DataError: the disk is full.
    """
    path = places.resolve_file(path)
    part = places.temporary(path, "part")
    with lock(path, wait=True), report_full_disk(path):
        try:
            yield part
            flush.flush_file(part)
            flush.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


def package_path(name: str) -> Path:
    """The path of ``configs/`` or ``kernels/``, or of a file in them.

    Args:
        name: relative to the installed package or, in a checkout, to its root.
    """
    package = Path(kaggle_kit.__file__).parent
    installed = package / name
    return installed if installed.exists() else package.parent / name
