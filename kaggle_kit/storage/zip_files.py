"""Open zip files from untrusted sources: regular files with a bounded number of members."""

import io
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kaggle_kit.storage import text_files
from kaggle_kit.storage.regular_files import open_regular

# Reading a damaged zip file raises one of these. NotImplementedError, RuntimeError: a
# version of the format that Python does not support, and a password.
DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError),
    *(UnicodeDecodeError, struct.error),
)
# Members of the competition's archive: 1.59 million. Each takes 0.6 kB of memory.
MOST_MEMBERS = 4 * 10**6
LARGEST_READ = 2**29  # bytes; the list of that many members
_SIGNATURE = b"PK\x01\x02"  # a member in the list of members
# Python decompresses these two without a limit: 1 MB of bzip2 may become 20 GB.
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class _Source(io.BufferedReader):
    """A zip file. The list of members is read in one piece, before any is created."""

    most = MOST_MEMBERS
    n_bytes = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """At most ``size`` bytes; a list of too many members is refused."""
        left = max(0, self.n_bytes - self.tell())
        # Python would allocate what is asked for, although the file has less.
        size = left if size is None or size < 0 else min(size, left)
        if size > LARGEST_READ:
            raise zipfile.BadZipFile(f"a list of members of {size} bytes")
        content = super().read(size)
        n_members = content.count(_SIGNATURE)
        if n_members > self.most:
            raise zipfile.BadZipFile(f"{n_members} members, more than {self.most}")
        return content


@contextmanager
def open_zip(path: Path, most_members: int = MOST_MEMBERS) -> Iterator[zipfile.ZipFile]:
    """Open a zip file whose members can be read in bounded memory.

    Each member is stored or deflated, and together they have no more bytes in the file
    than the file has: none of them overlap.

    Raises:
        OSError: the file is missing or not a regular file.
        zipfile.BadZipFile: the list of members is damaged or too long, or as above.
    """
    with _Source(open_regular(path).detach()) as source:
        source.most = most_members
        source.n_bytes = source.seek(0, io.SEEK_END)
        try:
            archive = zipfile.ZipFile(source)
        except (ValueError, OverflowError, EOFError, NotImplementedError) as error:
            raise zipfile.BadZipFile(f"a damaged list of members ({error})") from None
        with archive:
            _require_bounded(archive, source.n_bytes)
            yield archive


def extract_file(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    """Write a member of at most ``text_files.LARGEST`` bytes to a new file.

    Raises:
        DAMAGE: the member is damaged, or larger.
    """
    if member.file_size > text_files.LARGEST:
        raise zipfile.BadZipFile(f"{member.file_size} bytes")
    with archive.open(member) as source, path.open("wb") as out:
        shutil.copyfileobj(source, out)


def _require_bounded(archive: zipfile.ZipFile, size: int) -> None:
    members = archive.infolist()
    for member in members:
        if member.compress_type not in METHODS:
            raise zipfile.BadZipFile(
                f"{member.filename[:80]!r}, neither stored nor deflated"
            )
        if not 0 <= member.header_offset < size:
            raise zipfile.BadZipFile(f"{member.filename[:80]!r}, outside the file")
    total = sum(member.compress_size for member in members)
    if total > size:
        raise zipfile.BadZipFile(f"members of {total} bytes in a file of {size}")
