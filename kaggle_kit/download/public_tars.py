"""Download the public Google Landmarks Dataset v2: its tables, and its images by tar."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from kaggle_kit.download import http
from kaggle_kit.download.part_tables import fetch_tables, replace_advice
from kaggle_kit.download.parts import TEST, TRAIN, Part
from kaggle_kit.download.selection import (
    Selection,
    read_image_ids,
    read_selection,
    require_listed,
)
from kaggle_kit.download.staging import open_staging
from kaggle_kit.download.tar_downloader import (
    Limits,
    TarCounts,
    TarDownloader,
    Wanted,
)
from kaggle_kit.download.tar_records import RECORD, open_part_record, read_tar_records
from kaggle_kit.errors import DataError, TableError
from kaggle_kit.limits import require_limit
from kaggle_kit.storage import public_tables
from kaggle_kit.storage.files import report_full_disk
from kaggle_kit.storage.json_files import INLINE

URL = "https://s3.amazonaws.com/google-landmark"
SOURCE = "Google Landmarks Dataset v2"
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class TarDownload:
    """A download of tars; ``counts`` is None if only tables were downloaded."""

    counts: TarCounts | None = field(default=None, metadata=INLINE)
    seconds: float


def download_tars(
    numbers: Sequence[int],
    out: Path,
    *,
    part: Part = TRAIN,
    url: str = URL,
    accept_md5: Sequence[str] = (),
    disk_gb: float | None = None,
    only_tables: bool = False,
    subset: Path | None = None,
    ids: Path | None = None,
    without_landmark: int | None = None,
    resize: int | None = None,
) -> TarDownload:
    """Download images of the public data set into ``out``, in the competition's layout.

    Images of ``train`` are put into ``train/``, those of ``index`` and ``test`` into
    ``gldv2_index/`` and ``gldv2_test/``, which may be beside the images of a competition.

    Args:
        numbers: the tars of ``part``; those recorded in ``tars.json`` are skipped.
        part: whose tables and images are downloaded.
        url: the data set, or a mirror of it.
        accept_md5: checksums that are accepted in addition to those of the data set.
        disk_gb: the disk space that the images and one tar may use, in 10^9 bytes.
        only_tables: download no tar.
        subset, ids: unpack only these images, as in ``competition.download``.
        without_landmark: of the part ``test``, have this many images without a landmark
            that decode: unpack no others, and only as many as are missing, in the order of
            ``numbers`` and in a tar by id.
        resize: the most pixels of an image's longer side; larger images are resized.

    Raises:
        KaggleError: the subclass says what failed.
        DataError: the disk is full, an archive is unsafe to unpack, or the tars have too
            few images without a landmark.
        TableError: a required table or the file with the ids is malformed.
        ArtefactError: the folder holds images of another source or size.
        KitError: ``disk_gb`` is not a finite number above 0.
    """
    require_limit("disk_gb", disk_gb, "GB")
    start = time.monotonic()
    url = url.rstrip("/")
    n_bytes = float("inf") if disk_gb is None else disk_gb * 1e9
    limits = Limits(frozenset(accept_md5), n_bytes)
    selection = read_selection(subset, ids)
    source = SOURCE if part is TRAIN else None
    with (
        report_full_disk(out),
        open_staging(out, source) as staging,
        http.open_session() as session,
    ):
        if only_tables:
            fetch_tables(session, url, staging, part)
            return TarDownload(seconds=_seconds_since(start))
        records = read_tar_records(staging.root / RECORD)
        open_part_record(records, staging.root, part, resize)
        fetch_tables(session, url, staging, part)
        wanted = _read_wanted(staging.root, part, selection, without_landmark)
        downloader = TarDownloader(session, url, staging, limits, part, wanted, records)
        counts = downloader.fetch(numbers)
    return TarDownload(counts=counts, seconds=_seconds_since(start))


def _read_wanted(
    root: Path, part: Part, selection: Selection | None, without_landmark: int | None
) -> Wanted:
    """The wanted images, after they have been compared with the tables of the part.

    Raises:
        DataError: the part has too few images without a landmark.
        TableError: selected images are unknown, or a table is malformed.
    """
    if without_landmark is not None:
        table = root / TEST.listing
        truths = _read_listing(public_tables.read_public_solution, table)
        ids = public_tables.ids_without_landmark(truths)
        if len(ids) < without_landmark:
            raise DataError(
                f"{table}: expected {without_landmark} images without a landmark, found "
                f"{len(ids)}; ask for at most {len(ids)}"
            )
        return Wanted(frozenset(ids), without_landmark)
    if selection is None:
        return Wanted()
    listing = root / part.listing
    if listing.exists():  # a mirror may lack that of the index
        require_listed(
            selection, set(_read_listing(read_image_ids, listing)), part.listing
        )
    return Wanted(frozenset(selection.ids))


def _read_listing(read: Callable[[Path], T], path: Path) -> T:
    """Read a table that lists images.

    Raises:
        TableError: it is malformed; the message says to delete it.
    """
    try:
        return read(path)
    except TableError as error:
        advice = "delete the file, then run the same command again"
        raise TableError(replace_advice(error, advice)) from None


def _seconds_since(start: float) -> float:
    return round(time.monotonic() - start, 1)
