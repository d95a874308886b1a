"""Archives, zip and tar: unpacked file by file, each checked before it appears."""

import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from kaggle_kit.data.index import look
from kaggle_kit.data.layout import image_path
from kaggle_kit.download.staging import FOLDER, Broken, Stage
from kaggle_kit.errors import DataError
from kaggle_kit.progress import progress

# What reading a damaged archive may raise
DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)
WORKERS = 4
PHOTO = re.compile(r"(?:\./)?(?:[0-9a-f]/[0-9a-f]/[0-9a-f]/)?([0-9a-f]{16})\.jpg")
LARGEST_PHOTO = 500 * 10**6  # bytes; one of a tar is held in memory
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
        waiting = [
            m for m in members if not _is_there(stage.root / m.filename, m.file_size)
        ]
        stage.require_room(sum(m.file_size for m in waiting), "what is in the archive")

        def unpack_one(member: zipfile.ZipInfo) -> None:
            part = folder / str(member.header_offset)
            with archive.open(member) as source, part.open("wb") as out:
                shutil.copyfileobj(source, out, 1 << 20)
            _place(stage, part, member.filename, broken)

        with (
            ThreadPoolExecutor(WORKERS) as pool,
            progress(total=len(waiting), label="unpack") as bar,
        ):
            for batch in _batches(waiting):
                for _ in pool.map(unpack_one, batch):
                    bar.update()
    n_bytes = sum(member.file_size for member in members)
    return Unpacked(len(waiting), len(members) - len(waiting), n_bytes)


def unpack_tar(
    path: Path,
    stage: Stage,
    keep: frozenset[str] | None,
    room: Callable[[int], None],
) -> Unpacked:
    """Unpack the photos of a tar of the public data set, but for those that are there.

    Args:
        keep: ids of the photos to keep; None keeps all.
        room: called with the bytes that they take, before any is unpacked.

    Raises:
        DataError: a member would land elsewhere; nothing has been unpacked then.
        tarfile.TarError, EOFError: the tar is not whole; what was unpacked is.
    """
    broken = Broken(stage)
    part = stage.fresh_dir("unpacking") / "photo"
    _require_end(path)
    with tarfile.open(path, "r:") as archive:
        photos = [
            (member, image_path(Path("train"), image_id).as_posix())
            for member, image_id in _tar_photos(path.name, archive)
            if keep is None or image_id in keep
        ]
        waiting = [(m, n) for m, n in photos if not _is_there(stage.root / n, m.size)]
        room(sum(member.size for member, _ in waiting))
        for member, name in progress(waiting, label=path.name):
            source = archive.extractfile(member)
            content = source.read() if source else b""
            if len(content) != member.size:
                raise EOFError(f"{member.name} is cut off")
            part.write_bytes(content)
            _place(stage, part, name, broken)
    n_bytes = sum(member.size for member, _ in photos)
    return Unpacked(len(waiting), len(photos) - len(waiting), n_bytes)


def _require_end(path: Path) -> None:
    """Refuse a tar without its two empty blocks; ``tarfile`` reads what is before a cut."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 1024))
        if file.read() != bytes(1024):
            raise EOFError("it is cut off")


def _tar_photos(
    name: str, archive: tarfile.TarFile
) -> Iterator[tuple[tarfile.TarInfo, str]]:
    """The photos of a tar with their ids, once all of its members have been looked at."""
    members = archive.getmembers()
    for member in members:
        _require_inside(name, member.name)
        if not (member.isreg() or member.isdir()):
            raise DataError(
                f"{name}: expected files and folders alone, got {member.name!r}, a link "
                f"or a device; do not use this archive"
            )
    for member in members:
        found = PHOTO.fullmatch(member.name)
        if not found or not member.isreg():
            continue
        if member.size > LARGEST_PHOTO:
            raise DataError(
                f"{name}: expected photos of at most {LARGEST_PHOTO // 10**6} MB, got "
                f"{member.name!r} of {member.size // 10**6}; do not use this archive"
            )
        yield member, found[1]


def _require_inside(archive: str, name: str) -> None:
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
        _require_inside(name, member.orig_filename)
        mode = member.external_attr >> 16
        kind = stat.S_IFMT(mode)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise DataError(
                f"{name}: expected files and folders alone, got {member.filename!r}, a "
                f"link or a device; do not use this archive"
            )
    return [member for member in members if not member.is_dir()]


def _place(stage: Stage, part: Path, name: str, broken: Broken) -> None:
    """Put a file in its place; a photo that does not decode is noted before."""
    seen = look(part) if name.endswith(".jpg") else None
    if isinstance(seen, str):
        broken.add(name, seen)
    stage.place(part, name)


def _is_there(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _batches(
    members: Sequence[zipfile.ZipInfo],
) -> Iterator[Sequence[zipfile.ZipInfo]]:
    for start in range(0, len(members), BATCH):
        yield members[start : start + BATCH]
