"""Flush files and folders to the disk, so that power loss does not undo a rename.

A file system may write a rename to the disk before the content of the renamed file. So
content is flushed before the rename, and the folder after it.
"""

import ctypes
import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

WORKERS = 16  # flushes at a time: a file system writes them to the disk together
# What file systems answer that cannot flush a folder.
NOT_FOR_FOLDERS = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EISDIR)


def flush_file(path: Path) -> None:
    """Write the content of a file to the disk."""
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_folder(path: Path) -> None:
    """Write the names in a folder to the disk, where the system can do that."""
    if os.name == "nt":
        return
    try:
        flush_file(path)
    except OSError as error:
        if error.errno not in NOT_FOR_FOLDERS:
            raise


def flush_tree(folder: Path) -> None:
    """Write all files below a folder to the disk, and then the names of all of them."""
    files, folders = [], []
    for parent, _, names in os.walk(folder):
        folders.append(Path(parent))
        files += [Path(parent, name) for name in names]
    regular = [path for path in files if path.is_file() and not path.is_symlink()]
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(flush_file, regular))
        list(pool.map(flush_folder, folders))


def flush_disk(folder: Path) -> None:
    """Write all that the file system of a folder still holds in memory to the disk.

    For very many files: one call takes less time than one for each of them.
    """
    if os.name == "nt":
        return
    sync = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if sync is None:
        os.sync()
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if sync(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(descriptor)


def replace(source: Path, target: Path) -> None:
    """Rename a file that has been flushed, and flush the folder of its new name."""
    os.replace(source, target)
    flush_folder(target.parent)
