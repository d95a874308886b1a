"""A competition's archive: unpacked file by file, each checked before it appears."""

import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from kaggle_kit.data.index import look
from kaggle_kit.data.stage import FOLDER, Broken, Stage
from kaggle_kit.errors import DataError
from kaggle_kit.progress import progress

# What reading a damaged archive may raise
DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)
WORKERS = 4
BATCH = 256  # files that are under way at once
OWN = ("download.json", "download.broken.csv", "download.missing.csv")


class Unpacked(NamedTuple):
    """How many files were unpacked, how many were there, and the bytes of all of them."""

    fetched: int
    there: int
    n_bytes: int


def unpack(archive_path: Path, stage: Stage) -> Unpacked:
    """Unpack an archive below the stage's root, but for the files that are there.

    A file appears whole: its checksum has been compared. Photos that do not decode are
    unpacked all the same, and noted in ``Broken``.

    Raises:
        DataError: a member would land elsewhere, or the disk cannot hold them all;
            nothing has been unpacked then.
        DAMAGE: the archive is not whole; what was unpacked is.
    """
    broken = Broken(stage)
    folder = stage.fresh_dir("unpacking")
    with zipfile.ZipFile(archive_path) as archive:
        members = _safe_members(archive_path.name, archive)
        waiting = [m for m in members if not _is_there(stage.root, m)]
        stage.require_room(sum(m.file_size for m in waiting), "what is in the archive")

        def unpack_one(member: zipfile.ZipInfo) -> None:
            part = folder / str(member.header_offset)
            with archive.open(member) as source, part.open("wb") as out:
                shutil.copyfileobj(source, out, 1 << 20)
            if member.filename.endswith(".jpg"):
                seen = look(part)
                if isinstance(seen, str):
                    broken.add(member.filename, seen)
            stage.place(part, member.filename)

        with (
            ThreadPoolExecutor(WORKERS) as pool,
            progress(total=len(waiting), label="unpack") as bar,
        ):
            for batch in _batches(waiting):
                for _ in pool.map(unpack_one, batch):
                    bar.update()
    n_bytes = sum(member.file_size for member in members)
    return Unpacked(len(waiting), len(members) - len(waiting), n_bytes)


def require_inside(archive: str, name: str) -> None:
    """Refuse a member's name that leads out of the folder, or to the kit's own records.

    Raises:
        DataError: it does.
    """
    path = PurePosixPath(name)
    odd = re.search(r"[\\\0]|^[A-Za-z]:", name) or path.is_absolute()
    if odd or ".." in path.parts:
        raise DataError(
            f"{archive}: expected files inside the folder alone, got {name[:80]!r}; do "
            f"not use this archive"
        )
    if path.parts[:1] == (FOLDER,) or str(path) in OWN:
        raise DataError(
            f"{archive}: expected a competition's files, got {name!r}, a name of the "
            f"kit's own; do not use this archive"
        )


def _safe_members(name: str, archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The files of an archive, once all of its members have been looked at."""
    members = archive.infolist()
    if len(archive.NameToInfo) != len(members):
        raise DataError(
            f"{name}: expected each file once, got names that come twice; do not use "
            f"this archive"
        )
    for member in members:
        require_inside(name, member.orig_filename)
        mode = member.external_attr >> 16
        kind = stat.S_IFMT(mode)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise DataError(
                f"{name}: expected files and folders alone, got {member.filename!r}, a "
                f"link or a device; do not use this archive"
            )
    return [member for member in members if not member.is_dir()]


def _is_there(root: Path, member: zipfile.ZipInfo) -> bool:
    path = root / member.filename
    return path.is_file() and path.stat().st_size == member.file_size


def _batches(
    members: Sequence[zipfile.ZipInfo],
) -> Iterator[Sequence[zipfile.ZipInfo]]:
    for start in range(0, len(members), BATCH):
        yield members[start : start + BATCH]
