"""Open text files from untrusted sources, whose lines and whose size have a bound.

A file is read in blocks, and the bounds are checked block by block: a line without an end
would fill the memory, and a file without an end would never be read.
"""

import io
from pathlib import Path
from typing import TextIO

from kaggle_kit.storage.regular_files import open_regular

# The widest line of the public tables has 131 kB, in train_clean.csv. The largest has
# 4.1 million rows, and the largest table that is read whole 500 MB.
LONGEST_LINE = 2**20  # bytes
MOST_LINES = 20 * 10**6
LARGEST = 4 * 10**9  # bytes
BLOCK = 2**16  # bytes; a line may be longer than its bound by one block


class _Bounded(io.RawIOBase):
    """A binary file; reading beyond a bound raises ``ValueError``."""

    def __init__(self, file: io.RawIOBase):
        self._file = file
        self._n_bytes = self._n_lines = self._n_in_line = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """Read a block, and count its lines."""
        n = self._file.readinto(buffer) or 0
        block = bytes(buffer[:n])
        self._n_bytes += n
        self._n_lines += max(block.count(b"\n"), block.count(b"\r"))
        last = max(block.rfind(b"\n"), block.rfind(b"\r"))
        self._n_in_line = n - 1 - last + (self._n_in_line if last < 0 else 0)
        if self._n_in_line > LONGEST_LINE:
            raise ValueError(f"a line of more than {LONGEST_LINE} bytes")
        if self._n_lines > MOST_LINES or self._n_bytes > LARGEST:
            raise ValueError(f"more than {MOST_LINES} lines or {LARGEST} bytes")
        return n

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


def open_text(
    path: Path, encoding: str, errors: str = "strict", newline: str | None = ""
) -> TextIO:
    """Open a regular file as text; the arguments are those of ``open``.

    Raises:
        OSError: the file is missing, or not a regular file.
        ValueError: while it is read: it is not in this encoding; it has a line that is too
            long, or too many of them.
    """
    raw = _Bounded(open_regular(path).detach())
    return io.TextIOWrapper(
        io.BufferedReader(raw, BLOCK), encoding, errors=errors, newline=newline
    )
