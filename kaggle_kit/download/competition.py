"""The competition from Kaggle: all of it, its tables, or only the photos one needs.

Whatever stops a download, the same command goes on with it: nothing that is whole is
fetched again, and nothing appears in its place before it is whole.
"""

import logging
import re
import time
import zipfile
from pathlib import Path
from typing import Any, Self

from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.download.archives import DAMAGE, unpack
from kaggle_kit.download.photos import fetch_photos, fetch_tables
from kaggle_kit.download.selection import Wanted, require_known, wanted
from kaggle_kit.download.staging import (
    SIDECAR,
    Broken,
    Stage,
    drop_unfit,
    free_bytes,
    held,
    is_partial,
    partial_size,
    size_text,
)
from kaggle_kit.errors import IncompleteError, KitError
from kaggle_kit.progress import progress
from kaggle_kit.storage import tables
from kaggle_kit.storage.files import report_full_disk
from kaggle_kit.storage.json_files import read_json, write_json

logger = logging.getLogger(__name__)
RECORD = "download.json"  # says that the whole competition is there
SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def download(
    slug: str,
    out: Path,
    *,
    only_tables: bool = False,
    subset: Path | None = None,
    ids: Path | None = None,
) -> dict[str, Any]:
    """Fetch a competition from Kaggle into the folder ``out``, in its own layout.

    Args:
        slug: its name in addresses, such as landmark-recognition-2021.
        only_tables: ``train.csv`` and ``sample_submission.csv`` alone.
        subset: only the photos of the folder that ``kaggle-kit subset`` made.
        ids: only the photos that this file names, see ``kaggle_kit.download.selection.file_ids``.

    Returns:
        Counts: fetched, there, bytes, seconds; and missing or broken photos.

    Raises:
        KaggleError: by its kind, what Kaggle did not let pass.
        DataError: the disk is full, or the archive would write elsewhere.
        TableError: a table or a list of ids that is not what it should be.
    """
    start = time.monotonic()
    if not SLUG.fullmatch(slug):
        raise KitError(
            f"--slug: expected a competition's name such as landmark-recognition-2021, "
            f"got {slug!r}; it is the last part of the competition's address"
        )
    chosen = wanted(subset, ids)
    with report_full_disk(out), held(out, slug) as stage:
        if only_tables:
            made = _tables(stage, slug)
        elif chosen is None:
            made = _whole(stage, slug)
        else:
            made = _photos(stage, slug, chosen)
    return made | {"seconds": round(time.monotonic() - start, 1)}


def _tables(stage: Stage, slug: str) -> dict[str, Any]:
    place = Competition(stage.root)
    there = sum(path.exists() for path in (place.train_csv, place.sample_csv))
    n_bytes = fetch_tables(stage, slug)
    return {"fetched": 2 - there, "there": there, "bytes": n_bytes}


def _photos(stage: Stage, slug: str, chosen: Wanted) -> dict[str, Any]:
    """The photos chosen; an id of the sample submission is a test photo."""
    fetch_tables(stage, slug)
    place = Competition(stage.root)
    train = {label.image_id for label in tables.read_labels(place.train_csv)}
    test = set(tables.read_sample(place.sample_csv))
    require_known(chosen, train | test, "train.csv or sample_submission.csv")
    names = [
        image_path(Path("test" if image_id in test else "train"), image_id).as_posix()
        for image_id in chosen.ids
    ]
    counts = fetch_photos(stage, slug, names)
    return {
        "fetched": counts.fetched,
        "there": counts.there,
        "missing": counts.missing,
        "bytes": counts.n_bytes,
    }


def _whole(stage: Stage, slug: str) -> dict[str, Any]:
    """The competition's one archive, unpacked; a damaged one is fetched once more."""
    archive = stage.folder / f"{slug}.zip"
    record = stage.root / RECORD
    if record.exists():
        _delete(archive)
        made = read_json(record)
        return {"fetched": 0, "there": made["files"], "broken": made["broken"]} | {
            "bytes": 0
        }
    n_bytes = _fetch_archive(stage, slug, archive)
    try:
        unpacked = unpack(archive, stage)
    except DAMAGE as error:
        logger.warning("%s is damaged (%s): fetching it once more", archive, error)
        _delete(archive)
        n_bytes += _fetch_archive(stage, slug, archive)
        try:
            unpacked = unpack(archive, stage)
        except DAMAGE as again:
            _delete(archive)
            raise IncompleteError(
                f"{slug}: expected a whole archive, got a damaged one twice ({again}); "
                f"run the same command again later"
            ) from None
    broken = Broken(stage).write()
    made = {"slug": slug, "files": unpacked.fetched + unpacked.there}
    made |= {"bytes": unpacked.n_bytes, "broken": broken}
    write_json(made, record)
    _delete(archive)
    return {
        "fetched": unpacked.fetched,
        "there": unpacked.there,
        "broken": broken,
        "bytes": n_bytes,
    }


def _fetch_archive(stage: Stage, slug: str, archive: Path) -> int:
    """Bring the archive to the staging folder, unless a client has; its bytes."""
    if not is_partial(archive) and zipfile.is_zipfile(archive):
        return archive.stat().st_size
    with _Growth(stage, archive) as growth:
        stage.call(
            *("competitions", "download", slug, "-p", str(stage.folder)),
            watch=growth.look,
            before=lambda: drop_unfit(archive),
        )
    if not archive.exists():
        raise IncompleteError(
            f"{slug}: expected {archive.name} to be fetched, found none; run the same "
            f"command again"
        )
    return archive.stat().st_size


class _Growth:
    """Shows how an archive grows, and stops it when the disk cannot hold the rest."""

    def __init__(self, stage: Stage, archive: Path):
        self._stage, self._archive = stage, archive
        self._bar = progress(label=archive.name, unit="B")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def look(self) -> None:
        """Called as the client works; raises DataError when there is too little room."""
        size = partial_size(self._archive)
        have = self._archive.stat().st_size if self._archive.exists() else 0
        if size is None:
            self._stage.require_room(0, self._archive.name)
            return
        if self._bar.total is None:
            self._begin(size, have)
        self._stage.require_room(max(size - have, 0), self._archive.name)
        self._bar.update(have - self._bar.n)

    def _begin(self, size: int, have: int) -> None:
        self._bar.total, self._bar.initial, self._bar.n = size, have, have
        free = free_bytes(self._stage.root)
        logger.info(
            "%s: %s, with %s free", self._archive.name, *map(size_text, (size, free))
        )
        if free < 2 * size - have:
            logger.warning(
                "unpacking it will need about as much again, which is not free: make "
                "room until then"
            )


def _delete(archive: Path) -> None:
    archive.unlink(missing_ok=True)
    archive.with_name(archive.name + SIDECAR).unlink(missing_ok=True)
