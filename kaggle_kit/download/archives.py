"""Unpack zip and tar archives file by file; verify each file before it is installed."""

import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kaggle_kit.data.index import look
from kaggle_kit.data.layout import image_path
from kaggle_kit.download.staging import FOLDER, BrokenImages, StagingFolder
from kaggle_kit.errors import DataError
from kaggle_kit.progress import progress

# What reading a damaged archive may raise
ARCHIVE_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError),
)
WORKERS = 4
IMAGE_NAME = re.compile(r"(?:\./)?(?:[0-9a-f]/[0-9a-f]/[0-9a-f]/)?([0-9a-f]{16})\.jpg")
MAX_IMAGE_BYTES = 500 * 10**6  # an image of a tar is held in memory
BATCH = 256  # files that wait for a worker
RESERVED_NAMES = ("download.json", "download.broken.csv", "download.missing.csv")


@dataclass(frozen=True, slots=True)
class UnpackCounts:
    """How many files were unpacked, how many existed, and the bytes of all of them."""

    fetched: int
    there: int
    n_bytes: int


def unpack_zip(archive_path: Path, staging: StagingFolder) -> UnpackCounts:
    """Unpack an archive into the root, without the files that exist there.

    A file is installed after its checksum has been verified. Images that do not decode
    are installed as well, and recorded in ``BrokenImages``.

    Raises:
        DataError: a member would be written outside the root, or the disk has too little
            space. Nothing has been unpacked.
        ARCHIVE_ERRORS: the archive is damaged. The files unpacked so far are intact.
    """
    broken = BrokenImages(staging)
    folder = staging.empty_folder("unpacking")
    with zipfile.ZipFile(archive_path) as archive:
        members = _checked_members(archive_path.name, archive)
        missing = [
            m for m in members if not _exists(staging.root / m.filename, m.file_size)
        ]
        n_missing_bytes = sum(m.file_size for m in missing)
        staging.require_space(n_missing_bytes, "the content of the archive")

        def unpack_member(member: zipfile.ZipInfo) -> None:
            part = folder / str(member.header_offset)
            with archive.open(member) as source, part.open("wb") as out:
                shutil.copyfileobj(source, out, 1 << 20)
            _install(staging, part, member.filename, broken)

        with (
            ThreadPoolExecutor(WORKERS) as pool,
            progress(total=len(missing), label="unpack") as bar,
        ):
            for batch in _batches(missing):
                for _ in pool.map(unpack_member, batch):
                    bar.update()
    n_bytes = sum(member.file_size for member in members)
    return UnpackCounts(len(missing), len(members) - len(missing), n_bytes)


def unpack_tar(
    path: Path,
    staging: StagingFolder,
    keep: frozenset[str] | None,
    check_space: Callable[[int], None],
) -> UnpackCounts:
    """Unpack the images of a tar of the public data set, without those that exist.

    Args:
        keep: the ids of the images to unpack; None means all.
        check_space: called with the bytes of these images before any is unpacked.

    Raises:
        DataError: a member would be written outside the root. Nothing has been unpacked.
        tarfile.TarError, EOFError: the tar is damaged. The images unpacked so far are
            intact.
    """
    broken = BrokenImages(staging)
    part = staging.empty_folder("unpacking") / "image"
    _require_end_marker(path)
    with tarfile.open(path, "r:") as archive:
        images = [
            (member, image_path(Path("train"), image_id).as_posix())
            for member, image_id in _tar_images(path.name, archive)
            if keep is None or image_id in keep
        ]
        missing = [(m, n) for m, n in images if not _exists(staging.root / n, m.size)]
        check_space(sum(member.size for member, _ in missing))
        for member, name in progress(missing, label=path.name):
            source = archive.extractfile(member)
            content = source.read() if source else b""
            if len(content) != member.size:
                raise EOFError(f"{member.name} is truncated")
            part.write_bytes(content)
            _install(staging, part, name, broken)
    n_bytes = sum(member.size for member, _ in images)
    return UnpackCounts(len(missing), len(images) - len(missing), n_bytes)


def _require_end_marker(path: Path) -> None:
    """Refuse a tar without the two empty blocks at its end.

    ``tarfile`` would read the members of a truncated tar without an error.
    """
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 1024))
        if file.read() != bytes(1024):
            raise EOFError("it is truncated")


def _tar_images(
    name: str, archive: tarfile.TarFile
) -> Iterator[tuple[tarfile.TarInfo, str]]:
    """The images of a tar and their ids, after all of its members have been checked."""
    members = archive.getmembers()
    for member in members:
        _require_inside(name, member.name)
        if not (member.isreg() or member.isdir()):
            raise DataError(
                f"{name}: expected only files and folders, got {member.name!r}, a link or "
                f"a device; do not use this archive"
            )
    for member in members:
        match = IMAGE_NAME.fullmatch(member.name)
        if not match or not member.isreg():
            continue
        if member.size > MAX_IMAGE_BYTES:
            raise DataError(
                f"{name}: expected images of at most {MAX_IMAGE_BYTES // 10**6} MB, got "
                f"{member.name!r} of {member.size // 10**6}; do not use this archive"
            )
        yield member, match[1]


def _require_inside(archive: str, name: str) -> None:
    """Refuse a member's name that leads outside the folder, or to the kit's own files.

    Raises:
        DataError: the name does.
    """
    path = PurePosixPath(name)
    suspicious = re.search(r"[\\\0]|^[A-Za-z]:", name) or path.is_absolute()
    if suspicious or ".." in path.parts:
        raise DataError(
            f"{archive}: expected paths that stay inside the output folder, got "
            f"{name[:80]!r}; do not use this archive"
        )
    if path.parts[:1] == (FOLDER,) or str(path) in RESERVED_NAMES:
        raise DataError(
            f"{archive}: expected a competition's files, got {name!r}, which the kit "
            f"reserves for itself; do not use this archive"
        )


def _checked_members(name: str, archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The files of an archive, after all of its members have been checked."""
    members = archive.infolist()
    if len(archive.NameToInfo) != len(members):
        raise DataError(
            f"{name}: expected each file once, got repeated names; do not use this archive"
        )
    for member in members:
        _require_inside(name, member.orig_filename)
        mode = member.external_attr >> 16
        kind = stat.S_IFMT(mode)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise DataError(
                f"{name}: expected only files and folders, got {member.filename!r}, a "
                f"link or a device; do not use this archive"
            )
    return [member for member in members if not member.is_dir()]


def _install(
    staging: StagingFolder, part: Path, name: str, broken: BrokenImages
) -> None:
    """Install a file. An image that does not decode is recorded first."""
    size_or_reason = look(part) if name.endswith(".jpg") else None
    if isinstance(size_or_reason, str):
        broken.add(name, size_or_reason)
    staging.install(part, name)


def _exists(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _batches(
    members: Sequence[zipfile.ZipInfo],
) -> Iterator[Sequence[zipfile.ZipInfo]]:
    for start in range(0, len(members), BATCH):
        yield members[start : start + BATCH]
