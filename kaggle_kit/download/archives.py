"""Unpack zip and tar archives file by file; verify each file before it is installed."""

import re
import shutil
import stat
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from kaggle_kit.data.image_files import DAMAGE
from kaggle_kit.data.index import look
from kaggle_kit.data.layout import image_path
from kaggle_kit.download.member_names import require_distinct
from kaggle_kit.download.resize import shrink
from kaggle_kit.download.staging import FOLDER, BrokenImages, StagingFolder
from kaggle_kit.download.tar_checks import open_tar
from kaggle_kit.errors import DataError
from kaggle_kit.progress import progress
from kaggle_kit.storage import flush, zip_files
from kaggle_kit.storage.inside import check_name

ARCHIVE_ERRORS = zip_files.DAMAGE  # what reading a damaged archive may raise
MOST_TIMES = 200  # as large as the archive: text may shrink to a tenth, images do not
WORKERS = 4
IMAGE_NAME = re.compile(r"(?:\./)?(?:[0-9a-f]/[0-9a-f]/[0-9a-f]/)?([0-9a-f]{16})\.jpg")
MAX_IMAGE_BYTES = 500 * 10**6  # an image of a tar is held in memory
BATCH = 256  # files that wait for a worker
RESERVED_NAMES = ("download.json", "download.broken.csv", "download.missing.csv")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class UnpackCounts:
    """Counts of unpacked files.

    Attributes:
        fetched: files that were unpacked.
        there: of the chosen files, those that existed before.
        n_files, n_bytes: of all files of the archive that exist now.
        left: chosen images that were not unpacked, because enough were.
    """

    fetched: int
    there: int
    n_files: int
    n_bytes: int
    left: int = 0


@dataclass(frozen=True, slots=True)
class Choice:
    """Which images of a tar are unpacked, to where and how.

    Attributes:
        folder: their folder below the root.
        ids: the images; None means all.
        most: of those that do not exist, only the first by id are unpacked, until so many
            of them decode; None means all.
        side: the most pixels of their longer side; None leaves them as they are.
    """

    folder: str
    ids: frozenset[str] | None = None
    most: int | None = None
    side: int | None = None

    def name(self, image_id: str) -> str:
        """The path of an image below the root."""
        return image_path(Path(self.folder), image_id).as_posix()

    def has(self, root: Path, image_id: str, size: int) -> bool:
        """Whether an image of ``size`` bytes in the tar exists; its resized bytes differ."""
        path = root / self.name(image_id)
        return path.is_file() if self.side is not None else _exists(path, size)

    def count_bytes(self, root: Path, image_ids: Iterable[str]) -> int:
        """The bytes that existing images have on the disk."""
        return sum((root / self.name(i)).stat().st_size for i in image_ids)


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
    with zip_files.open_zip(archive_path) as archive:
        members = _checked_members(archive_path.name, archive)
        missing = [
            m for m in members if not _exists(staging.root / m.filename, m.file_size)
        ]
        n_missing_bytes = sum(m.file_size for m in missing)
        staging.require_space(n_missing_bytes, "the content of the archive")
        _require_ratio(archive_path, n_missing_bytes)

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
    flush.flush_disk(staging.root)  # before a record says that all is there
    return UnpackCounts(
        fetched=len(missing),
        there=len(members) - len(missing),
        n_files=len(members),
        n_bytes=sum(member.file_size for member in members),
    )


def unpack_tar(
    path: Path,
    staging: StagingFolder,
    choice: Choice,
    check_space: Callable[[int, int], None],
) -> UnpackCounts:
    """Unpack images of a tar of the public data set, without those that exist.

    Args:
        check_space: called before images are unpacked, with their bytes, and with the bytes
            that all images of the tar then have on the disk, chosen or not. If they are
            resized, it is called for each one.

    Raises:
        DataError: a member would be written outside the root, and nothing has been
            unpacked; or the disk has too little space.
        tarfile.TarError, EOFError: the tar is damaged. The images unpacked so far are
            intact.
    """
    broken = BrokenImages(staging)
    folder = staging.empty_folder("unpacking")
    with open_tar(path) as archive:
        images = {image_id: m for m, image_id in _tar_images(path.name, archive)}
        existing = {i for i, m in images.items() if choice.has(staging.root, i, m.size)}
        chosen = images.keys() if choice.ids is None else images.keys() & choice.ids
        lacking = sorted(chosen - existing)
        sizes = _SpaceCheck(check_space, choice.count_bytes(staging.root, existing))
        reading = threading.Lock()

        def unpack_image(image_id: str) -> bool:
            with reading:
                content = _read_member(archive, images[image_id])
            if choice.side is not None:
                content = _shrink(content, choice.side)
                sizes.add(len(content))
            part = folder / image_id
            part.write_bytes(content)
            return _install(staging, part, choice.name(image_id), broken)

        most = len(lacking) if choice.most is None else choice.most
        unpacked: list[str] = []
        with (
            ThreadPoolExecutor(WORKERS) as pool,
            progress(total=min(most, len(lacking)), label=path.name) as bar,
        ):
            while missing := lacking[len(unpacked) :][:most]:
                if choice.side is None:
                    sizes.add(sum(images[image_id].size for image_id in missing))
                for batch in _batches(missing):
                    for decodes in pool.map(unpack_image, batch):
                        most -= decodes
                        bar.update()
                unpacked += missing
    flush.flush_disk(staging.root)  # before a record says that all is there
    here = existing.union(unpacked)
    return UnpackCounts(
        fetched=len(unpacked),
        there=len(chosen) - len(lacking),
        n_files=len(here),
        n_bytes=choice.count_bytes(staging.root, here),
        left=len(lacking) - len(unpacked),
    )


class _SpaceCheck:
    """Checks that there is space for images before they are written; adds them up."""

    def __init__(self, check: Callable[[int, int], None], existing: int):
        self._check = check
        self._lock = threading.Lock()
        self._total = existing

    def add(self, n_bytes: int) -> None:
        """Check the space for these bytes; those before are on the disk, or soon are."""
        with self._lock:
            self._check(n_bytes, self._total + n_bytes)
            self._total += n_bytes


def _read_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    source = archive.extractfile(member)
    content = source.read() if source else b""
    if len(content) != member.size:
        raise EOFError(f"{member.name} is truncated")
    return content


def _shrink(content: bytes, side: int) -> bytes:
    """``shrink``, but an image that does not decode stays as it is, as without resizing."""
    try:
        return shrink(content, side)
    except DAMAGE:
        return content


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
    try:
        check_name(str(path) if path.parts else "root")  # "./", of a tar of a folder
    except ValueError:
        raise DataError(
            f"{archive}: expected paths that stay inside the output folder, got "
            f"{name[:80]!r}; do not use this archive"
        ) from None
    if path.parts[:1] == (FOLDER,) or str(path) in RESERVED_NAMES:
        raise DataError(
            f"{archive}: expected a competition's files, got {name!r}, which the kit "
            f"reserves for itself; do not use this archive"
        )


def _require_ratio(path: Path, n_bytes: int) -> None:
    """Refuse an archive whose content is out of proportion to its size."""
    size = path.stat().st_size
    if n_bytes > MOST_TIMES * size + MAX_IMAGE_BYTES:
        raise DataError(
            f"{path.name}: expected at most {MOST_TIMES} times its {size} bytes, got "
            f"{n_bytes}; do not use this archive"
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
    require_distinct(name, members)
    return [member for member in members if not member.is_dir()]


def _install(
    staging: StagingFolder, part: Path, name: str, broken: BrokenImages
) -> bool:
    """Install a file. An image that does not decode is recorded first; then return False."""
    size_or_reason = look(part) if name.endswith(".jpg") else None
    if isinstance(size_or_reason, str):
        broken.add(name, size_or_reason)
    staging.install(part, name)
    return not isinstance(size_or_reason, str)


def _exists(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _batches(members: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(members), BATCH):
        yield members[start : start + BATCH]
