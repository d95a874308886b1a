"""Open regular files only: a named pipe or a device would block, or never end."""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file for reading; links are followed.

    Raises:
        OSError: as for ``open``; or the path is a folder, a pipe, a socket or a device.
    """
    # Without O_NONBLOCK, opening a pipe waits for a process that writes to it.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path, max_bytes: int) -> bytes:
    """Read a regular file of at most ``max_bytes``.

    Raises:
        OSError: as for ``open_regular``; or the file is larger, also if it grows meanwhile.
    """
    content = b""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size <= max_bytes:
            # Memory for max_bytes would take longer than to read a small file.
            content = file.read(size + 1)
        if size < len(content):  # it grows, or the system does not know its size
            content += file.read(max_bytes + 1 - len(content))
    if max(size, len(content)) > max_bytes:
        raise OSError(errno.EFBIG, f"more than {max_bytes} bytes", str(path))
    return content
