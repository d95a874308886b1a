"""Resized photos in TFRecord files, so that training reads a few large files in order."""

import logging
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_kit import config
from kaggle_kit.data.layout import Competition
from kaggle_kit.data.shard_file import Job, Written, write_shard
from kaggle_kit.errors import ArtefactError, DataError
from kaggle_kit.progress import progress
from kaggle_kit.storage import json_files, tables
from kaggle_kit.storage.files import locked, written_dir
from kaggle_kit.storage.tables import Member

logger = logging.getLogger(__name__)
MARKER = "shards.json"
SPLITS = ("train", "validation")
SHARD = re.compile(r"(?:train|validation)-\d{5,}\.tfrecord", re.ASCII)


Spread = Callable[[Callable[[Job], Written], Sequence[Job]], Iterable[Written]]


def shards(
    settings: config.Data,
    competition: Path,
    subset: Path,
    out: Path,
    spread: Spread = map,
) -> dict[str, Any]:
    """Write the folder ``out``: shards of the subset's landmark photos, and a manifest.

    Photos are decoded, resized and encoded on all cores; memory holds a few at a time.
    One that is missing or broken is left out, named in the manifest and counted.
    Shards that are there already, whole and of the same subset and settings, are kept.

    Args:
        spread: what calls a function with each of several jobs and gives the results in
            their order, as ``map`` does; on other hosts, say, that see the same folders.

    Returns:
        The manifest, as in ``shards.json``: sizes, counts, broken ids, and of each shard
        its name, split, number of photos and SHA-256.

    Raises:
        DataError: a split that should have photos has none that decode, or the disk has
            no room for all shards, by the size of the first.
        ArtefactError: another process makes them.
    """
    place = Competition(Path(competition)).require("train")
    subset = Path(subset)
    form = settings.model_dump(include={"stored_size", "jpeg_quality", "shard_images"})
    with locked(out):
        kept = _kept(form, subset, Path(out))
        return kept or _made(settings, form, place, subset, out, spread)


def _made(
    settings: config.Data,
    form: dict[str, Any],
    place: Competition,
    subset: Path,
    out: Path,
    spread: Spread,
) -> dict[str, Any]:
    """Write the shards anew; the manifest."""
    members = tables.read_subset(subset / "subset.csv")
    classes = tables.read_classes(subset / "classes.csv")
    class_of: dict[int | None, int] = {
        row.landmark_id: i for i, row in enumerate(classes)
    }
    files: list[dict[str, Any]] = []
    broken: list[str] = []
    known = [m for m in members if m.landmark_id in class_of]
    n_left = sum(m.split in SPLITS for m in known)
    with written_dir(out, MARKER) as part:
        for split in SPLITS:
            chosen = [m for m in known if m.split == split]
            jobs = _jobs(settings, place, split, chosen, class_of, part)
            made, lost = _write_split(jobs, n_left, spread)
            n_left -= len(chosen)
            files += made
            broken += lost
            if chosen and not made:
                raise DataError(
                    f"{place.train_dir}: expected the {split} photos of {subset}, none of "
                    f"{len(chosen)} is there and decodes; check --competition"
                )
        manifest = form | {
            "counts": {
                split: sum(f["images"] for f in files if f["split"] == split)
                for split in SPLITS
            },
            "broken": broken,
            "shards": files,
        }
        text = json_files.json_text(manifest)
        (part / MARKER).write_text(text, encoding="utf-8")
        for name in ("subset.csv", "classes.csv"):
            shutil.copyfile(subset / name, part / name)
    if broken:
        logger.warning(
            "%d photos are missing or do not decode: see %s", len(broken), out
        )
    return manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a shards folder, once every shard has the size it should have.

    Raises:
        ArtefactError: there is none, or a shard is missing or cut short.
    """
    path = Path(folder) / MARKER
    try:
        manifest = json_files.read_json(path)
        _check_form(manifest)
    except (*json_files.DAMAGE, KeyError, TypeError) as error:
        raise ArtefactError(
            f"{path}: expected the manifest of a shards folder, got {error!r:.200}; make "
            f"the shards again"
        ) from None
    for shard in manifest["shards"]:
        file = path.parent / shard["file"]
        size = file.stat().st_size if file.exists() else None
        if size != shard["bytes"]:
            raise ArtefactError(
                f"{file}: expected {shard['bytes']} bytes, got {size or 'no file'}; make "
                f"the shards again"
            )
    return manifest


def _check_form(manifest: dict[str, Any]) -> None:
    """Refuse what ``shards`` does not write, such as a file of another folder.

    Raises:
        ValueError, KeyError, TypeError: it is not of that form.
    """
    shards = manifest["shards"]
    counts = [manifest["counts"][split] for split in SPLITS]
    counts += [manifest["stored_size"]]
    counts += [shard[name] for shard in shards for name in ("images", "bytes")]
    if not all(type(count) is int and count >= 0 for count in counts):
        raise ValueError("a count that is none")
    if not all(isinstance(image_id, str) for image_id in manifest["broken"]):
        raise ValueError("broken ids that are none")
    for shard in shards:
        if not SHARD.fullmatch(shard["file"]) or shard["split"] not in SPLITS:
            raise ValueError(f"the shard {shard['file']!r} of {shard['split']!r}")


def shard_paths(folder: Path, manifest: dict[str, Any], split: str) -> list[Path]:
    """The shards of one split, in order."""
    return [
        Path(folder) / shard["file"]
        for shard in manifest["shards"]
        if shard["split"] == split
    ]


def photo_classes(
    folder: Path, manifest: dict[str, Any], split: str
) -> list[NDArray[np.int64]]:
    """The class of every photo of a split, shard by shard, in order.

    Raises:
        ArtefactError: the tables beside the shards are of other photos.
    """
    classes = tables.read_classes(Path(folder) / "classes.csv")
    class_of = {row.landmark_id: i for i, row in enumerate(classes)}
    broken = set(manifest["broken"])
    found = [
        class_of[m.landmark_id]
        for m in tables.read_subset(Path(folder) / "subset.csv")
        if m.split == split and m.landmark_id in class_of and m.image_id not in broken
    ]
    sizes = [s["images"] for s in manifest["shards"] if s["split"] == split]
    if len(found) != sum(sizes):
        raise ArtefactError(
            f"{folder}: expected subset.csv and classes.csv to have the {sum(sizes)} "
            f"{split} photos of the shards, got {len(found)}; make the shards again"
        )
    return np.split(np.array(found, np.int64), np.cumsum(sizes)[:-1])


def _kept(form: dict[str, Any], subset: Path, folder: Path) -> dict[str, Any] | None:
    """The manifest of shards that need not be made again, or None."""
    if not (folder / MARKER).exists():
        return None
    try:
        manifest = read_manifest(folder)
    except ArtefactError:
        return None
    same = (folder / "subset.csv").read_bytes() == (subset / "subset.csv").read_bytes()
    alike = all(manifest.get(name) == value for name, value in form.items())
    return manifest if same and alike and not manifest["broken"] else None


def _jobs(
    settings: config.Data,
    place: Competition,
    split: str,
    members: Sequence[Member],
    class_of: dict[int | None, int],
    folder: Path,
) -> list[Job]:
    """The shards that a split is to become."""
    jobs = []
    for start in range(0, len(members), settings.shard_images):
        chunk = members[start : start + settings.shard_images]
        path = folder / f"{split}-{start // settings.shard_images:05d}.tfrecord"
        ids = tuple(m.image_id for m in chunk)
        classes = tuple(class_of[m.landmark_id] for m in chunk)
        jobs.append(Job(settings, place.train_dir, path, split, ids, classes))
    return jobs


def _write_split(
    jobs: Sequence[Job], n_left: int, spread: Spread
) -> tuple[list[dict[str, Any]], list[str]]:
    """Write the shards of one split; return what was written and the broken ids.

    Args:
        n_left: photos to write, with those of the splits that follow.
    """
    files: list[dict[str, Any]] = []
    broken: list[str] = []
    if not jobs:
        return files, broken
    total = sum(len(job.image_ids) for job in jobs)
    with progress(total=total, label=f"{jobs[0].split} shards") as bar:
        for job, (file, lost) in zip(jobs, spread(write_shard, jobs), strict=True):
            broken += lost
            n_left -= len(job.image_ids)
            if file:
                files.append(file)
                _require_space(file, n_left, job.path.parent)
            bar.update(len(job.image_ids))
    return files, broken


def _require_space(shard: dict[str, Any], n_left: int, folder: Path) -> None:
    """Stop at once if so many more photos as those of a shard do not fit."""
    expected = n_left * shard["bytes"] / shard["images"]
    free = shutil.disk_usage(folder).free
    if expected > free:
        raise DataError(
            f"{folder.parent}: expected {expected / 1e9:.1f} GB of free space for the "
            f"shards of {n_left} more photos, got {free / 1e9:.1f} GB; free some, choose "
            f"another disk (--out, or TMPDIR in a kernel) or lower data.stored_size"
        )
