"""The public Google Landmarks Dataset v2: its tables, and its photos tar by tar.

A tar is fetched, compared with its checksum, unpacked and deleted before the next one, so
that the disk holds the photos that are wanted and one tar.
"""

import hashlib
import logging
import re
import tarfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from kaggle_kit.data.layout import image_path
from kaggle_kit.download import http
from kaggle_kit.download.archives import Unpacked, unpack_tar
from kaggle_kit.download.selection import Wanted, require_known, wanted
from kaggle_kit.download.staging import Broken, Stage, held, size_text
from kaggle_kit.errors import DataError, IncompleteError, KitError, RefusedError
from kaggle_kit.storage import tables
from kaggle_kit.storage.csv_files import read_rows, write_rows
from kaggle_kit.storage.files import report_full_disk
from kaggle_kit.storage.json_files import read_json, write_json

logger = logging.getLogger(__name__)
URL = "https://s3.amazonaws.com/google-landmark"
SOURCE = "Google Landmarks Dataset v2"
N_TARS = 500
RECORD = "tars.json"
OTHERS = ("train_attribution.csv", "train_label_to_category.csv")
MD5 = re.compile(r"[0-9a-f]{32}")
ALL = "all"


@dataclass(frozen=True)
class Limits:
    """What a user allows beyond the rules: checksums, and how much disk in bytes."""

    accepted: frozenset[str] = frozenset()
    n_bytes: float = float("inf")


def tars(
    numbers: Sequence[int],
    out: Path,
    *,
    url: str = URL,
    accept_md5: Sequence[str] = (),
    disk_gb: float | None = None,
    only_tables: bool = False,
    subset: Path | None = None,
    ids: Path | None = None,
) -> dict[str, Any]:
    """Fetch photos of the public data set into ``out``, in the competition's layout.

    Args:
        numbers: which tars, of 0 to 499; those that ``tars.json`` lists are left alone.
        url: where the data set or a mirror of it is.
        accept_md5: checksums to take although the data set's own list has others.
        disk_gb: how much the photos and one tar may take, in 10^9 bytes.
        only_tables: no tar at all.
        subset, ids: keep only those photos, as in ``kaggle_kit.download.competition``.

    Returns:
        Counts: tars, fetched, there, bytes, seconds; missing photos of those asked for.

    Raises:
        KaggleError: by its kind, what the server did not let pass.
        DataError: the disk is full, or an archive would write elsewhere.
        TableError: a table or a list of ids that is not what it should be.
    """
    start = time.monotonic()
    url = url.rstrip("/")
    limits = Limits(frozenset(accept_md5), disk_gb * 1e9 if disk_gb else float("inf"))
    chosen = wanted(subset, ids)
    with report_full_disk(out), held(out, SOURCE) as stage, http.session() as web:
        _fetch_tables(web, url, stage)
        made: dict[str, Any] = {}
        if not only_tables:
            made = _fetch_tars(web, url, stage, numbers, chosen, limits)
    return made | {"seconds": round(time.monotonic() - start, 1)}


def parse_numbers(text: str) -> list[int]:
    """The tars that "0-9" or "3,17,40-42" name, in order.

    Raises:
        KitError: that is not how tars are named.

    >>> parse_numbers("3,0-2")
    [0, 1, 2, 3]
    """
    numbers: set[int] = set()
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d{1,3})(?:-(\d{1,3}))?\s*", part, re.ASCII)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if not first <= last < N_TARS:
            raise KitError(
                f"--tars: expected numbers from 0 to {N_TARS - 1} such as 0-9 or 3,17, "
                f"got {text!r}"
            )
        numbers |= set(range(first, last + 1))
    return sorted(numbers)


def _fetch_tars(
    web: requests.Session,
    url: str,
    stage: Stage,
    numbers: Sequence[int],
    chosen: Wanted | None,
    limits: Limits,
) -> dict[str, Any]:
    keep = None
    if chosen:
        known = {x.image_id for x in tables.read_labels(stage.root / "train.csv")}
        require_known(chosen, known, "train.csv")
        keep = frozenset(chosen.ids)
    kept = ALL if keep is None else _digest(keep)
    done = _read_record(stage)
    fetched = there = n_bytes = 0
    for number in numbers:
        entry = done.get(str(number), {"kept": []})
        if {ALL, kept} & set(entry["kept"]):
            there += entry["photos"]
            continue
        used = sum(entry["bytes"] for entry in done.values())
        got, md5, size = _fetch_tar(web, url, stage, number, keep, limits, used)
        fetched, there, n_bytes = (
            fetched + got.fetched,
            there + got.there,
            n_bytes + size,
        )
        done[str(number)] = {
            "md5": md5,
            "kept": [ALL] if keep is None else [*entry["kept"], kept],
            "photos": max(got.fetched + got.there, entry.get("photos", 0)),
            "bytes": max(got.n_bytes, entry.get("bytes", 0)),
        }
        write_json(done, stage.root / RECORD)
        _tar_path(stage, number).unlink()
    made = {"tars": len(numbers), "fetched": fetched, "there": there, "bytes": n_bytes}
    made["broken"] = Broken(stage).write()
    if keep is not None:
        train = stage.root / "train"
        made["missing"] = sum(not image_path(train, i).exists() for i in keep)
    return made


def _fetch_tar(
    web: requests.Session,
    url: str,
    stage: Stage,
    number: int,
    keep: frozenset[str] | None,
    limits: Limits,
    used: int,
) -> tuple[Unpacked, str, int]:
    """Fetch, compare and unpack a tar; what came of it, its checksum and its size."""
    name = f"images_{number:03}.tar"
    listed = f"{url}/md5sum/train/md5.images_{number:03}.txt"
    expected = (http.text(web, listed).split() or [""])[0].lower()
    if not MD5.fullmatch(expected):
        raise RefusedError(
            f"{listed}: expected a checksum, got {expected[:80]!r}; check --url"
        )
    path = _tar_path(stage, number)

    def room(size: int, have: int) -> None:
        photos = size if keep is None else 0
        _require_room(stage, name, size - have + photos, size + photos, limits, used)

    if not path.exists():  # else it is whole, and a run ended before it was unpacked
        http.fetch(web, f"{url}/train/{name}", path, room)
    with path.open("rb") as file:
        got = hashlib.file_digest(file, "md5").hexdigest()
    if got != expected and got not in limits.accepted:
        path.unlink()
        raise IncompleteError(
            f"{name}: expected the checksum {expected}, got {got}; run the same command "
            f"again, or with --accept-md5 {got} if you trust it"
        )
    size = path.stat().st_size

    def room_for_photos(n_bytes: int) -> None:
        _require_room(stage, name, n_bytes, size + n_bytes, limits, used)

    try:
        return unpack_tar(path, stage, keep, room_for_photos), got, size
    except (tarfile.TarError, EOFError) as error:
        path.unlink()
        raise IncompleteError(
            f"{name}: expected a whole tar, got a damaged one ({error}); run the same "
            f"command again"
        ) from None


def _fetch_tables(web: requests.Session, url: str, stage: Stage) -> None:
    """``train.csv`` in the competition's columns, and the tables of names and authors."""

    def room(size: int, have: int) -> None:
        stage.require_room(size - have, "the tables")

    raw = stage.folder / "metadata.csv"
    if not (stage.root / "train.csv").exists():
        http.fetch(web, f"{url}/metadata/train.csv", raw, room)
        rows = read_rows(raw, ("id", "landmark_id"))
        made = stage.folder / "train.csv"
        write_rows(made, ("id", "landmark_id"), (fields for _, fields in rows))
        tables.read_labels(made)
        stage.place(made, "train.csv")
        raw.unlink()
    for name in OTHERS:
        if (stage.root / name).exists():
            continue
        with suppress(RefusedError):  # not there: they are good to have, no more
            http.fetch(web, f"{url}/metadata/{name}", stage.folder / name, room)
            stage.place(stage.folder / name, name)


def _require_room(
    stage: Stage, name: str, need: int, total: int, limits: Limits, used: int
) -> None:
    """Refuse what the disk, or the user's limit to it, cannot hold."""
    if used + total > limits.n_bytes:
        raise DataError(
            f"{name}: expected to stay within --disk-gb, {size_text(limits.n_bytes)}; "
            f"the photos that are there take {size_text(used)}, and it needs "
            f"{size_text(total)}; allow more, or fetch fewer tars"
        )
    stage.require_room(need, name)


def _read_record(stage: Stage) -> dict[str, Any]:
    path = stage.root / RECORD
    return read_json(path) if path.exists() else {}


def _tar_path(stage: Stage, number: int) -> Path:
    return stage.folder / f"images_{number:03}.tar"


def _digest(ids: frozenset[str]) -> str:
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()[:16]
