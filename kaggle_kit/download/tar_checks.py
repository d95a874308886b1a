"""Check the structure of a tar, before ``tarfile`` follows what its headers say.

``tarfile`` goes back and forth in the file by the sizes in it, reads a long name as a
whole, and takes quadratic time for some attributes.
"""

import io
import re
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from kaggle_kit.errors import DataError
from kaggle_kit.storage.regular_files import open_regular

BLOCK = tarfile.BLOCKSIZE
MOST_MEMBERS = 200_000  # a tar of the data set has about 10,000
LARGEST_HEADER = 4096  # bytes of a long name, or of extended attributes
MOST_HEADERS = 4  # such headers of one member
HEADERS = (
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
)
# Attributes that change what a member is, and digits that tarfile searches again and again
SPARSE = re.compile(rb"GNU\.sparse|\d size=|\d{20}")


@contextmanager
def open_tar(path: Path) -> Iterator[tarfile.TarFile]:
    """Open a tar whose members have been read.

    Raises:
        OSError, tarfile.TarError, EOFError, DataError: as for ``check_structure``.
    """
    check_structure(path)
    with ExitStack() as opened:
        try:
            archive = opened.enter_context(tarfile.open(path, "r:"))
            archive.getmembers()
        except (ValueError, OverflowError, RecursionError) as error:
            raise tarfile.ReadError(f"malformed headers ({error})") from None
        yield archive


def check_structure(path: Path) -> None:
    """Refuse a tar that ``tarfile`` could not read in bounded time and memory.

    Raises:
        OSError: the file is missing or not a regular file.
        tarfile.TarError, EOFError: it is damaged: a size is negative or leads beyond the
            end, there are too many members, or the two empty blocks at the end are
            missing, without which a truncated tar would be read.
        DataError: a member is sparse: it would have more bytes than the tar.
    """
    with open_regular(path) as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(max(0, size - 2 * BLOCK))
        if file.read() != bytes(2 * BLOCK):
            raise EOFError("it is truncated")
        offset = n_headers = 0
        is_sparse = False
        for _ in range(MOST_MEMBERS + 1):
            member = _read_header(file, offset, size)
            if member is None:
                return
            if member.type in HEADERS:
                n_headers += 1
                is_sparse |= _is_sparse(file, member, n_headers)
            elif is_sparse or member.type == tarfile.GNUTYPE_SPARSE:
                raise DataError(
                    f"{path.name}: expected only files and folders, got "
                    f"{member.name[:80]!r}, a sparse file; do not use this archive"
                )
            else:
                n_headers = 0
            offset += BLOCK + _count_data(member)
    raise tarfile.ReadError(f"more than {MOST_MEMBERS} members")


def _read_header(file: BinaryIO, offset: int, size: int) -> tarfile.TarInfo | None:
    """The header at an offset; None at the end."""
    file.seek(offset)
    block = file.read(BLOCK)
    if not block.strip(b"\0"):
        return None
    member = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    if not 0 <= member.size <= size - offset - BLOCK:
        raise tarfile.ReadError(f"{member.name[:80]!r} of {member.size} bytes")
    return member


def _is_sparse(file: BinaryIO, header: tarfile.TarInfo, n_headers: int) -> bool:
    """Whether a header of a member says more than a name and plain attributes."""
    if header.size > LARGEST_HEADER or n_headers > MOST_HEADERS:
        raise tarfile.ReadError(f"{n_headers} headers, the last of {header.size} bytes")
    # tarfile parses whole blocks, beyond what the header says.
    return SPARSE.search(file.read(_count_data(header))) is not None


def _count_data(member: tarfile.TarInfo) -> int:
    """The bytes of the blocks between a header and the next one."""
    has_data = member.isreg() or member.type not in tarfile.SUPPORTED_TYPES
    if member.type in HEADERS or has_data:
        return -(-member.size // BLOCK) * BLOCK
    return 0
