"""Locks between processes on files and folders."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kaggle_kit.errors import ArtefactError
from kaggle_kit.storage import places

if TYPE_CHECKING:
    from filelock import BaseFileLock

# What file systems answer that have no locks, such as some network drives.
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)
PATIENCE_S = 0.2  # for a lock file that its holder is removing at that moment
_locked: set[Path] = set()  # paths that this process has locked


@contextmanager
def lock(path: Path, wait: bool = False) -> Iterator[None]:
    """Lock a file or folder against writing by other processes.

    The operating system releases the lock when the process ends, also if it is killed. On a
    file system without locks, a file with the host and the number of the process stands for
    the lock; that of a process that has ended on this host is ignored. On entry, the
    temporary files that a killed process left beside ``path`` are removed. The lock is
    reentrant within a process.

    Args:
        wait: block until the other process releases the lock.

    Raises:
        ArtefactError: another process holds the lock, and ``wait`` is False; or the lock
            file cannot be opened, or ``path`` cannot be written (see ``places.resolve``).
    """
    path = places.resolve(path)
    if path in _locked:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with _hold(path, wait):
        _locked.add(path)
        try:
            _clean_up(path)
            yield
        finally:
            _locked.remove(path)


@contextmanager
def _hold(path: Path, wait: bool) -> Iterator[None]:
    """Hold the lock file of a path; remove it in the end."""
    from filelock import SoftFileLock, Timeout  # 50 ms

    native, soft = (places.temporary(path, end) for end in ("lock", "soft"))
    timeout = -1 if wait else PATIENCE_S
    try:
        held = _acquire_native(native, timeout)
        if held is None:
            held = SoftFileLock(soft, timeout=timeout, thread_local=False)
            held.acquire()
    except Timeout:
        raise ArtefactError(_describe_holder(path, soft)) from None
    except PermissionError as error:
        raise ArtefactError(
            f"{error.filename or native}: expected to lock {path.name} there, got: "
            f"{error.strerror}; let its owner delete it, or choose another --out"
        ) from None
    try:
        yield
    finally:
        if not isinstance(held, SoftFileLock):  # which removes its file itself
            with suppress(PermissionError):  # Windows: a locked file cannot be removed
                native.unlink(missing_ok=True)
        held.release()


def _acquire_native(path: Path, timeout: float) -> "BaseFileLock | None":
    """Acquire a lock of the operating system; None where there are none."""
    from filelock import FileLock, SoftFileLock

    options: dict[str, Any] = {
        "fallback_to_soft": False
    }  # unknown to old versions, which ignore it
    held = FileLock(path, timeout=timeout, thread_local=False, **options)
    try:
        held.acquire()
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        path.unlink(missing_ok=True)
        return None
    if isinstance(held, SoftFileLock):  # without fcntl, or in old versions
        held.release()
        return None
    return held


def _describe_holder(path: Path, soft: Path) -> str:
    """The error message that another process holds the lock."""
    found, advice = "one at work", "wait until it has ended"
    with suppress(OSError, ValueError):
        number, host, *_ = soft.read_text("utf-8").split()
        found = f"one at work (process {int(number)} on {host})"
        advice = f"wait until it has ended, or delete {soft} if it has"
    return (
        f"{path}: expected no other process to write it, found {found}; {advice}, then run "
        f"the same command again"
    )


def _clean_up(path: Path) -> None:
    """Remove the temporary files of a killed process, or restore the old content."""
    part, old = (places.temporary(path, end) for end in ("part", "old"))
    if os.path.lexists(old) and not os.path.lexists(path):
        os.replace(old, path)  # killed between the two renames
    for leftover in (part, old, path / ".kit.part"):
        remove(leftover)


def remove(path: Path) -> None:
    """Remove a file, a link or a whole folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()
