"""Download the public Google Landmarks Dataset v2: its tables, and its images by tar.

A tar is downloaded, verified by its checksum, unpacked and deleted before the next one.
So the disk holds the selected images and one tar.
"""

import hashlib
import logging
import re
import tarfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import requests

from kaggle_kit.data.layout import image_path
from kaggle_kit.download import http
from kaggle_kit.download.archives import UnpackCounts, unpack_tar
from kaggle_kit.download.selection import Selection, read_selection, require_listed
from kaggle_kit.download.staging import (
    BrokenImages,
    StagingFolder,
    format_size,
    open_staging,
)
from kaggle_kit.download.tar_records import (
    ALL,
    RECORD,
    TarRecord,
    read_tar_records,
)
from kaggle_kit.errors import (
    DataError,
    IncompleteError,
    KitError,
    RefusedError,
)
from kaggle_kit.limits import require_limit
from kaggle_kit.storage import json_files, tables
from kaggle_kit.storage.csv_files import read_rows, write_rows
from kaggle_kit.storage.files import report_full_disk
from kaggle_kit.storage.json_files import INLINE, OPTIONAL

logger = logging.getLogger(__name__)
URL = "https://s3.amazonaws.com/google-landmark"
SOURCE = "Google Landmarks Dataset v2"
N_TARS = 500
OPTIONAL_TABLES = ("train_attribution.csv", "train_label_to_category.csv")
MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Limits:
    """Additionally accepted checksums, and the bytes of disk that may be used."""

    accepted: frozenset[str] = frozenset()
    n_bytes: float = float("inf")


@dataclass(frozen=True, slots=True)
class TarCounts:
    """The counts of a download of tars.

    Attributes:
        tars: tars that were asked for.
        fetched: images that were unpacked.
        there: images that existed before.
        bytes: bytes of the tars that were downloaded.
        broken: images that do not decode.
        missing: selected images that are in none of the tars.
    """

    tars: int
    fetched: int
    there: int
    bytes: int
    broken: int
    missing: int | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class TarDownload:
    """A download of tars; ``counts`` is None if only tables were downloaded."""

    counts: TarCounts | None = field(default=None, metadata=INLINE)
    seconds: float


def download_tars(
    numbers: Sequence[int],
    out: Path,
    *,
    url: str = URL,
    accept_md5: Sequence[str] = (),
    disk_gb: float | None = None,
    only_tables: bool = False,
    subset: Path | None = None,
    ids: Path | None = None,
) -> TarDownload:
    """Download images of the public data set into ``out``, in the competition's layout.

    Args:
        numbers: the tars, from 0 to 499; those recorded in ``tars.json`` are skipped.
        url: the data set, or a mirror of it.
        accept_md5: checksums that are accepted in addition to those of the data set.
        disk_gb: the disk space that the images and one tar may use, in 10^9 bytes.
        only_tables: download no tar.
        subset, ids: unpack only these images, as in ``competition.download``.

    Raises:
        KaggleError: the subclass says what failed.
        DataError: the disk is full, or an archive is unsafe to unpack.
        TableError: a table or the file with the ids is malformed.
        ArtefactError: the folder holds images of another source.
        KitError: ``disk_gb`` is not a finite number above 0.
    """
    require_limit("disk_gb", disk_gb, "GB")
    start = time.monotonic()
    url = url.rstrip("/")
    n_bytes = float("inf") if disk_gb is None else disk_gb * 1e9
    limits = Limits(frozenset(accept_md5), n_bytes)
    selection = read_selection(subset, ids)
    with (
        report_full_disk(out),
        open_staging(out, SOURCE) as staging,
        http.open_session() as session,
    ):
        downloader = _TarDownloader(session, url, staging, limits)
        downloader.fetch_tables()
        counts = None if only_tables else downloader.fetch_tars(numbers, selection)
    return TarDownload(counts=counts, seconds=round(time.monotonic() - start, 1))


def parse_numbers(text: str) -> list[int]:
    """The tars in "0-9" or "3,17,40-42", sorted.

    Raises:
        KitError: the text has another form, or a number is out of range.

    >>> parse_numbers("3,0-2")
    [0, 1, 2, 3]
    """
    numbers: set[int] = set()
    for item in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,3})(?:-(\d{1,3}))?\s*", item, re.ASCII)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last < N_TARS:
            raise KitError(
                f"--tars: expected numbers from 0 to {N_TARS - 1} such as 0-9 or 3,17, "
                f"got {text!r}"
            )
        numbers |= set(range(first, last + 1))
    return sorted(numbers)


@dataclass(frozen=True, slots=True)
class _TarDownloader:
    """Downloads tables and tars from a server to a staging folder."""

    session: requests.Session
    url: str
    staging: StagingFolder
    limits: Limits

    def fetch_tables(self) -> None:
        """Download ``train.csv`` in the competition's columns, and the optional tables."""
        staging = self.staging

        def check_space(size: int, existing: int) -> None:
            staging.require_space(size - existing, "the tables")

        def fetch(name: str, path: Path) -> None:
            url = f"{self.url}/metadata/{name}"
            http.fetch_file(self.session, url, path, check_space)

        original = staging.folder / "metadata.csv"
        if not (staging.root / "train.csv").exists():
            fetch("train.csv", original)
            rows = read_rows(original, ("id", "landmark_id"))
            converted = staging.folder / "train.csv"
            write_rows(converted, ("id", "landmark_id"), (fields for _, fields in rows))
            tables.read_labels(converted)
            staging.install(converted, "train.csv")
            original.unlink()
        for name in OPTIONAL_TABLES:
            if (staging.root / name).exists():
                continue
            with suppress(RefusedError):  # a mirror may lack them
                fetch(name, staging.folder / name)
                staging.install(staging.folder / name, name)

    def fetch_tars(
        self, numbers: Sequence[int], selection: Selection | None
    ) -> TarCounts:
        """Download and unpack the tars that are not recorded yet for this selection."""
        staging = self.staging
        keep = _selected_ids(staging, selection)
        key = ALL if keep is None else _digest(keep)
        records = read_tar_records(staging.root / RECORD)
        n_fetched = n_existing = n_bytes = 0
        for number in numbers:
            record = records.get(str(number), TarRecord("", [], 0, 0))
            if {ALL, key} & set(record.kept):
                n_existing += record.photos
                continue
            used = sum(other.bytes for other in records.values())
            counts, md5, size = self._fetch_tar(number, keep, used)
            n_fetched += counts.fetched
            n_existing += counts.there
            n_bytes += size
            records[str(number)] = TarRecord(
                md5=md5,
                kept=[ALL] if keep is None else [*record.kept, key],
                photos=max(counts.fetched + counts.there, record.photos),
                bytes=max(counts.n_bytes, record.bytes),
            )
            json_files.write_json(records, staging.root / RECORD)
            _tar_path(staging, number).unlink()
        n_broken = BrokenImages(staging).write_table()
        n_missing = None
        if keep is not None:
            train = staging.root / "train"
            n_missing = sum(not image_path(train, i).exists() for i in keep)
        return TarCounts(
            len(numbers), n_fetched, n_existing, n_bytes, n_broken, n_missing
        )

    def _fetch_tar(
        self, number: int, keep: frozenset[str] | None, used: int
    ) -> tuple[UnpackCounts, str, int]:
        """Download, verify and unpack a tar; return the counts, its MD5 and its size.

        Args:
            used: the bytes of the images that exist.
        """
        name = f"images_{number:03}.tar"
        expected = self._expected_md5(number)
        path = _tar_path(self.staging, number)

        def check_tar_space(size: int, existing: int) -> None:
            images = size if keep is None else 0
            self._require_space(name, size - existing + images, size + images, used)

        if not path.exists():  # else an earlier run completed it, but did not unpack it
            url = f"{self.url}/train/{name}"
            http.fetch_file(self.session, url, path, check_tar_space)
        with path.open("rb") as file:
            md5 = hashlib.file_digest(file, "md5").hexdigest()
        if md5 != expected and md5 not in self.limits.accepted:
            path.unlink()
            raise IncompleteError(
                f"{name}: expected the checksum {expected}, got {md5}; run the same "
                f"command again, or with --accept-md5 {md5} if you trust it"
            )
        size = path.stat().st_size

        def check_image_space(n_bytes: int) -> None:
            self._require_space(name, n_bytes, size + n_bytes, used)

        try:
            counts = unpack_tar(path, self.staging, keep, check_image_space)
            return counts, md5, size
        except (tarfile.TarError, EOFError) as error:
            path.unlink()
            raise IncompleteError(
                f"{name}: expected an intact tar, got a damaged one ({error}); run the "
                f"same command again"
            ) from None

    def _expected_md5(self, number: int) -> str:
        url = f"{self.url}/md5sum/train/md5.images_{number:03}.txt"
        md5 = (http.fetch_text(self.session, url).split() or [""])[0].lower()
        if not MD5.fullmatch(md5):
            raise RefusedError(
                f"{url}: expected an MD5 checksum, got {md5[:80]!r}; check --url"
            )
        return md5

    def _require_space(self, name: str, new: int, total: int, used: int) -> None:
        """Check the disk, and the user's limit, before a tar or its images are written.

        Args:
            new: bytes that will be written.
            total: bytes of the tar and its images, including existing ones.
            used: bytes of the images of other tars.
        """
        limit = self.limits.n_bytes
        if used + total > limit:
            raise DataError(
                f"{name}: expected to stay within --disk-gb, {format_size(limit)}; the "
                f"existing images take {format_size(used)}, and it needs "
                f"{format_size(total)}; allow more, or download fewer tars"
            )
        self.staging.require_space(new, name)


def _selected_ids(
    staging: StagingFolder, selection: Selection | None
) -> frozenset[str] | None:
    """The ids of a selection, after they have been checked; None without a selection."""
    if selection is None:
        return None
    labels = tables.read_labels(staging.root / "train.csv")
    require_listed(selection, {label.image_id for label in labels}, "train.csv")
    return frozenset(selection.ids)


def _tar_path(staging: StagingFolder, number: int) -> Path:
    return staging.folder / f"images_{number:03}.tar"


def _digest(ids: frozenset[str]) -> str:
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()[:16]
