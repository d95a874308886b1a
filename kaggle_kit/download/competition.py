"""Download a competition from Kaggle: all of it, its tables, or selected images.

Rerun the same command to resume an interrupted download. Complete files are not
downloaded again, and a file appears in its place only when it is complete.
"""

import logging
import re
import time
import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.download.archives import ARCHIVE_ERRORS, unpack_zip
from kaggle_kit.download.images import fetch_images, fetch_tables
from kaggle_kit.download.selection import Selection, read_selection, require_listed
from kaggle_kit.download.staging import (
    SIDECAR,
    BrokenImages,
    StagingFolder,
    drop_unusable_partial,
    expected_size,
    format_size,
    free_bytes,
    is_partial,
    open_staging,
)
from kaggle_kit.errors import ArtefactError, IncompleteError, KitError
from kaggle_kit.progress import progress
from kaggle_kit.storage import json_files, tables
from kaggle_kit.storage.files import report_full_disk
from kaggle_kit.storage.json_files import OPTIONAL

logger = logging.getLogger(__name__)
RECORD = "download.json"  # exists when the whole competition has been downloaded
SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """The counts of a download.

    Attributes:
        fetched: files that were downloaded or unpacked.
        there: files that existed before.
        missing: selected images that Kaggle does not have.
        broken: images of the archive that do not decode.
        bytes: bytes that were downloaded.
        seconds: how long it took.
    """

    fetched: int
    there: int
    missing: int | None = field(default=None, metadata=OPTIONAL)
    broken: int | None = field(default=None, metadata=OPTIONAL)
    bytes: int
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Record:
    """The content of ``download.json``."""

    slug: str
    files: int
    bytes: int
    broken: int


def download(
    slug: str,
    out: Path,
    *,
    only_tables: bool = False,
    subset: Path | None = None,
    ids: Path | None = None,
) -> Download:
    """Download a competition into the folder ``out``, in the competition's layout.

    Args:
        slug: its name in URLs, such as landmark-recognition-2021.
        only_tables: only ``train.csv`` and ``sample_submission.csv``.
        subset: only the images of a folder made by ``kaggle-kit subset``.
        ids: only the images in a file, see ``selection.read_image_ids``.

    Raises:
        KaggleError: the subclass says what failed.
        DataError: the disk is full, or the archive is unsafe to unpack.
        TableError: a table or the file with the ids is malformed.
        ArtefactError: the folder holds images of another source.
    """
    start = time.monotonic()
    if not SLUG.fullmatch(slug):
        raise KitError(
            f"--slug: expected a competition's name such as landmark-recognition-2021, "
            f"got {slug!r}; it is the last part of the competition's URL"
        )
    selection = read_selection(subset, ids)
    with report_full_disk(out), open_staging(out, slug) as staging:
        if only_tables:
            result = _download_tables(staging, slug)
        elif selection is None:
            result = _download_archive(staging, slug)
        else:
            result = _download_images(staging, slug, selection)
    return replace(result, seconds=round(time.monotonic() - start, 1))


def _download_tables(staging: StagingFolder, slug: str) -> Download:
    layout = Competition(staging.root)
    n_existing = sum(path.exists() for path in (layout.train_csv, layout.sample_csv))
    n_bytes = fetch_tables(staging, slug)
    return Download(fetched=2 - n_existing, there=n_existing, bytes=n_bytes)


def _download_images(
    staging: StagingFolder, slug: str, selection: Selection
) -> Download:
    """Download the selected images. Ids of the sample submission are test images."""
    fetch_tables(staging, slug)
    layout = Competition(staging.root)
    train = {label.image_id for label in tables.read_labels(layout.train_csv)}
    test = set(tables.read_sample(layout.sample_csv))
    require_listed(selection, train | test, "train.csv or sample_submission.csv")
    names = [
        image_path(Path("test" if image_id in test else "train"), image_id).as_posix()
        for image_id in selection.ids
    ]
    counts = fetch_images(staging, slug, names)
    return Download(
        fetched=counts.fetched,
        there=counts.there,
        missing=counts.missing,
        bytes=counts.n_bytes,
    )


def _download_archive(staging: StagingFolder, slug: str) -> Download:
    """Download and unpack the competition's archive; retry once if it is damaged."""
    archive = staging.folder / f"{slug}.zip"
    record_path = staging.root / RECORD
    if record_path.exists():
        _delete(archive)
        record = _read_record(record_path)
        return Download(fetched=0, there=record.files, broken=record.broken, bytes=0)
    n_bytes = _fetch_archive(staging, slug, archive)
    try:
        counts = unpack_zip(archive, staging)
    except ARCHIVE_ERRORS as error:
        logger.warning("%s is damaged (%.200s): downloading it again", archive, error)
        _delete(archive)
        n_bytes += _fetch_archive(staging, slug, archive)
        try:
            counts = unpack_zip(archive, staging)
        except ARCHIVE_ERRORS as second_error:
            _delete(archive)
            raise IncompleteError(
                f"{slug}: expected an intact archive, got a damaged one twice "
                f"({str(second_error)[:200]}); run the same command again later"
            ) from None
    n_broken = BrokenImages(staging).write_table()
    record = _Record(slug, counts.n_files, counts.n_bytes, n_broken)
    json_files.write_json(record, record_path)
    _delete(archive)
    return Download(
        fetched=counts.fetched, there=counts.there, broken=n_broken, bytes=n_bytes
    )


def _read_record(path: Path) -> _Record:
    try:
        values = json_files.read_json(path)
        counts = (int(values[name]) for name in ("files", "bytes", "broken"))
        return _Record(str(values["slug"]), *counts)
    except (*json_files.DAMAGE, KeyError, TypeError) as error:
        raise ArtefactError(
            f"{path}: expected the record of a download, got {error!r:.200}; delete it, "
            f"then run the same command again"
        ) from None


def _fetch_archive(staging: StagingFolder, slug: str, archive: Path) -> int:
    """Download the archive to the staging folder, unless it is there; return its bytes."""
    if not is_partial(archive) and zipfile.is_zipfile(archive):
        return archive.stat().st_size
    with _ArchiveProgress(staging, archive) as archive_progress:
        staging.call(
            *("competitions", "download", slug, "-p", str(staging.folder)),
            watch=archive_progress.update,
            before=lambda: drop_unusable_partial(archive),
        )
    if not archive.exists():
        raise IncompleteError(
            f"{slug}: expected the file {archive.name}, got none; run the same command "
            f"again"
        )
    return archive.stat().st_size


class _ArchiveProgress:
    """Shows the progress of the archive's download, and checks the free disk space."""

    def __init__(self, staging: StagingFolder, archive: Path):
        self._staging, self._archive = staging, archive
        self._bar = progress(label=archive.name, unit="B")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def update(self) -> None:
        """Move the bar; called while the client runs.

        Raises:
            DataError: the disk has too little space for the rest.
        """
        size = expected_size(self._archive)
        current = self._archive.stat().st_size if self._archive.exists() else 0
        if size is None:
            self._staging.require_space(0, self._archive.name)
            return
        if self._bar.total is None:
            self._begin(size, current)
        self._staging.require_space(max(size - current, 0), self._archive.name)
        self._bar.update(current - self._bar.n)

    def _begin(self, size: int, current: int) -> None:
        self._bar.total, self._bar.initial, self._bar.n = size, current, current
        free = free_bytes(self._staging.root)
        logger.info(
            "%s: %s, %s free", self._archive.name, *map(format_size, (size, free))
        )
        if free < 2 * size - current:
            logger.warning(
                "unpacking the archive will need about its size again: make room "
                "before the download ends"
            )


def _delete(archive: Path) -> None:
    archive.unlink(missing_ok=True)
    archive.with_name(archive.name + SIDECAR).unlink(missing_ok=True)
