"""Download single files of a competition; verify each file before it is installed."""

import logging
import re
import shutil
import threading
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from kaggle_kit.data.index import look
from kaggle_kit.data.layout import Competition
from kaggle_kit.download.archives import ARCHIVE_ERRORS
from kaggle_kit.download.staging import (
    SIDECAR,
    StagingFolder,
    drop_unusable_partial,
    is_partial,
)
from kaggle_kit.errors import (
    IncompleteError,
    RulesError,
    TableError,
)
from kaggle_kit.progress import progress
from kaggle_kit.storage import tables
from kaggle_kit.storage.csv_files import write_rows
from kaggle_kit.storage.files import atomic_write
from kaggle_kit.storage.zip_files import extract_file, open_zip

logger = logging.getLogger(__name__)
WORKERS = 4
GIVE_UP_AFTER = 20  # missing images, while none was downloaded
NOT_FOUND = re.compile(r"\b404\b|not found", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ImageCounts:
    """How many images were downloaded, existed and are missing on Kaggle."""

    fetched: int
    there: int
    missing: int
    n_bytes: int  # of the downloaded ones


class _Cancelled(Exception):
    """Another download has failed; this one stops, too."""


def fetch_tables(staging: StagingFolder, slug: str) -> int:
    """Download ``train.csv`` and ``sample_submission.csv``, if they do not exist.

    Returns:
        The number of downloaded bytes.

    Raises:
        KaggleError: the subclass says what failed.
        TableError: a table is malformed.
    """
    layout = Competition(staging.root)
    n_bytes = 0
    for path, read in (
        (layout.train_csv, tables.read_labels),
        (layout.sample_csv, tables.read_sample),
    ):
        if path.exists():
            continue
        staged = _fetch_table(staging, slug, path.name)
        try:
            read(staged)
        except TableError as error:
            shutil.rmtree(_table_folder(staging, path.name))
            text = str(error).replace(f"{staged}", path.name)
            raise TableError(f"{slug}: {text}") from None
        n_bytes += staged.stat().st_size
        staging.install(staged, path.name)
        shutil.rmtree(_table_folder(staging, path.name))
    return n_bytes


def fetch_images(
    staging: StagingFolder, slug: str, names: Sequence[str]
) -> ImageCounts:
    """Download the images (``train/a/b/c/<id>.jpg``) that do not exist, in parallel.

    Images that Kaggle does not have, or that do not decode, are listed in
    ``download.missing.csv`` (file, reason).

    Raises:
        KaggleError: the subclass says what failed. The other downloads are cancelled.
        IncompleteError: none of the images could be downloaded.
        DataError: the disk is full.
    """
    queue = [name for name in names if not (staging.root / name).exists()]
    n_existing = len(names) - len(queue)
    fetcher = _ImageFetcher(staging, slug)
    n_bytes, n_fetched = 0, 0
    reasons: dict[str, str] = {}  # why an image is missing, by its name
    with ThreadPoolExecutor(WORKERS) as pool:
        futures = {pool.submit(fetcher.fetch, name): name for name in queue}
        completed = as_completed(futures)
        try:
            for future in progress(completed, total=len(queue), label="images"):
                result = future.result()
                if isinstance(result, int):
                    n_bytes, n_fetched = n_bytes + result, n_fetched + 1
                else:
                    reasons[futures[future]] = result
                if len(reasons) == GIVE_UP_AFTER and not n_fetched and not n_existing:
                    break
        finally:
            fetcher.stop.set()
            pool.shutdown(cancel_futures=True)
    table = staging.root / "download.missing.csv"
    table.unlink(missing_ok=True)
    if reasons:
        write_rows(table, ("file", "reason"), sorted(reasons.items()))
        logger.warning("%d images are missing: see %s", len(reasons), table)
    if reasons and not n_fetched and not n_existing:
        raise IncompleteError(
            f"{slug}: expected {len(names)} images, got none of the first "
            f"{len(reasons)}; see {table}, and check --slug and the ids"
        )
    return ImageCounts(n_fetched, n_existing, len(reasons), n_bytes)


class _ImageFetcher:
    """Downloads images of a competition; shared by the worker threads."""

    def __init__(self, staging: StagingFolder, slug: str):
        self.stop = threading.Event()
        self._staging, self._slug = staging, slug
        self._slug_lock = threading.Lock()
        self._slug_is_valid = False

    def fetch(self, name: str) -> int | str:
        """Download and install an image; return its bytes, or why it is missing."""
        if self.stop.is_set():
            raise _Cancelled
        folder = self._staging.folder / "images" / Path(name).name
        folder.mkdir(parents=True, exist_ok=True)
        try:
            result = self._download(name, folder)
        except RulesError as error:
            if not NOT_FOUND.search(str(error)):
                raise
            self._require_competition()
            result = "Kaggle does not have it"
        n_bytes = 0
        if isinstance(result, Path):
            n_bytes = result.stat().st_size
            self._staging.install(result, name)
        shutil.rmtree(folder)
        return n_bytes if isinstance(result, Path) else result

    def _download(self, name: str, folder: Path) -> Path | str:
        """The path of the image in ``folder``, or why it cannot be used.

        An image that an earlier run left there is used. One that does not decode is
        downloaded a second time, in case only the download was damaged.
        """
        result = _finished_image(folder)
        for _ in range(2):
            if isinstance(result, Path):
                break
            args = ("competitions", "download", self._slug, "-f", name)
            self._staging.call(
                *args,
                *("-p", str(folder)),
                watch=self._watch,
                before=lambda: _drop_unusable_files(folder),
            )
            result = _finished_image(folder)
        return result

    def _watch(self) -> None:
        if self.stop.is_set():
            raise _Cancelled
        self._staging.require_space(0, "images")

    def _require_competition(self) -> None:
        """Check that the competition exists, since Kaggle answers 404 in both cases."""
        with self._slug_lock:
            if not self._slug_is_valid:
                args = ("competitions", "files", self._slug)
                self._staging.call(*args, watch=self._watch)
            self._slug_is_valid = True


def _finished_image(folder: Path) -> Path | str:
    """The complete image in a folder, or why there is none that can be used."""
    reason = "no file"
    for path in _files(folder):
        if is_partial(path):
            continue
        try:
            path = _unzip(path)
        except ARCHIVE_ERRORS as error:
            reason = f"a damaged archive: {error}"
            continue
        size_or_reason = look(path)
        if not isinstance(size_or_reason, str):
            return path
        reason = size_or_reason
    return reason


def _drop_unusable_files(folder: Path) -> None:
    """Delete all files that the client cannot resume."""
    for path in _files(folder):
        drop_unusable_partial(path)


def _files(folder: Path) -> list[Path]:
    """The files in a folder, also in subfolders, which newer clients create."""
    others = (SIDECAR, ".part")
    return [p for p in folder.rglob("*") if p.is_file() and p.suffix not in others]


def _unzip(path: Path) -> Path:
    """Unpack a file that Kaggle has zipped; return the path of the plain file."""
    if not zipfile.is_zipfile(path):
        return path
    with open_zip(path) as archive:
        members = [m for m in archive.infolist() if not m.is_dir()]
        if len(members) != 1:
            raise zipfile.BadZipFile(f"expected one file in it, got {len(members)}")
        unpacked = path.with_name(f"{path.name}.unpacked")
        with atomic_write(unpacked) as part:
            extract_file(archive, members[0], part)
    path.unlink()
    return unpacked


def _table_folder(staging: StagingFolder, name: str) -> Path:
    return staging.folder / f"table-{name}"


def _fetch_table(staging: StagingFolder, slug: str, name: str) -> Path:
    """Download a table to the staging folder, unless an earlier run has."""
    folder = _table_folder(staging, name)

    def empty_folder() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()

    if not any(map(_is_finished, _files(folder))):
        staging.call(
            *("competitions", "download", slug, "-f", name, "-p", str(folder)),
            before=empty_folder,
            watch=lambda: staging.require_space(0, name),
        )
    try:
        (path,) = _files(folder)
        return _unzip(path)
    except ValueError:
        files = ", ".join(p.name for p in _files(folder)) or "nothing"
        raise IncompleteError(
            f"{slug}: expected the file {name}, got {files}; run the same command again"
        ) from None
    except ARCHIVE_ERRORS as error:
        empty_folder()
        raise IncompleteError(
            f"{slug}: expected {name}, got a damaged archive of it ({str(error)[:200]}); run the "
            f"same command again"
        ) from None


def _is_finished(path: Path) -> bool:
    """Whether the client has completed a file: it then sets the file's date on Kaggle."""
    status = path.stat()
    return not is_partial(path) and status.st_ctime - status.st_mtime > 60
