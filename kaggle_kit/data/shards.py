"""Store resized images in TFRecord shards, which training reads sequentially.

A damaged shard stops the training with an ``ArtefactError``; nothing of it is skipped.
``read_manifest`` finds a shard of another size before the training. ``Workers.batches``
(``training.distribute``) finds a record with a wrong checksum while it is read. ``shards``
writes all shards again if one is missing or of another size; it does not read their
records, so after a wrong checksum delete the folder first.
"""

import logging
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from kaggle_kit import config
from kaggle_kit.data.layout import Competition
from kaggle_kit.data.shard_file import Job, JobResult, Shard, write_shard
from kaggle_kit.data.shards_manifest import (
    MARKER,
    SPLITS,
    TABLES,
    ShardsManifest,
    SplitCounts,
    read_manifest,
)
from kaggle_kit.data.subset import same_split
from kaggle_kit.errors import ArtefactError, DataError
from kaggle_kit.progress import progress
from kaggle_kit.storage import json_files, tables
from kaggle_kit.storage.files import atomic_write
from kaggle_kit.storage.folders import FolderKind, atomic_write_dir
from kaggle_kit.storage.locks import lock
from kaggle_kit.storage.manifest import describe_file
from kaggle_kit.storage.tables import Member

logger = logging.getLogger(__name__)
SHARDS = FolderKind(
    MARKER, (*TABLES, *(f"{split}-{'[0-9]' * 5}*.tfrecord" for split in SPLITS))
)

# As ``map`` of a function over jobs: the results are in the order of the jobs.
ParallelMap = Callable[[Callable[[Job], JobResult], Sequence[Job]], Iterable[JobResult]]


def shards(
    settings: config.Data,
    competition: Path,
    subset: Path,
    out: Path,
    parallel_map: ParallelMap = map,
) -> ShardsManifest:
    """Write the folder ``out``: shards of the subset's landmark images, and a manifest.

    Images are decoded, resized and encoded on all cores, a few at a time in memory. An
    image that is missing or does not decode is left out and listed in the manifest. Shards
    that exist are kept if they are complete and of the same subset and settings.

    Args:
        parallel_map: calls a function with each of several jobs, and returns the results
            in order; the default is ``map``. It may use other hosts that see the folders.

    Raises:
        DataError: no image of a split decodes, or the disk is too small for all shards,
            estimated from the size of the first.
        ArtefactError: another process writes ``out``.
    """
    place = Competition(Path(competition)).require("train")
    subset = Path(subset)
    with lock(out):
        existing = _existing(settings, subset, Path(out))
        if existing:
            return _update_tables(existing, subset, Path(out))
        return _write(settings, place, subset, out, parallel_map)


def _write(
    settings: config.Data,
    place: Competition,
    subset: Path,
    out: Path,
    parallel_map: ParallelMap,
) -> ShardsManifest:
    """Write all shards and the manifest."""
    members = tables.read_subset(subset / "subset.csv")
    classes = tables.read_classes(subset / "classes.csv")
    class_of: dict[int | None, int] = {
        row.landmark_id: i for i, row in enumerate(classes)
    }
    files: dict[str, list[Shard]] = {}
    broken: list[str] = []
    labelled = [m for m in members if m.landmark_id in class_of]
    n_left = sum(m.split in SPLITS for m in labelled)
    with atomic_write_dir(out, SHARDS) as part:
        for split in SPLITS:
            images = [m for m in labelled if m.split == split]
            jobs = _jobs(settings, place, split, images, class_of, part)
            files[split], split_broken = _write_split(jobs, n_left, parallel_map)
            n_left -= len(images)
            broken += split_broken
            if images and not files[split]:
                raise DataError(
                    f"{place.train_dir}: expected the {split} images of {subset}, got none "
                    f"of {len(images)} that decodes; check --competition"
                )
        manifest = ShardsManifest(
            settings.stored_size,
            settings.jpeg_quality,
            settings.shard_images,
            SplitCounts(**{s: sum(f.images for f in files[s]) for s in SPLITS}),
            tuple(broken),
            tuple(file for split in SPLITS for file in files[split]),
            _hash_tables(subset),
        )
        text = json_files.json_text(manifest)
        (part / MARKER).write_text(text, encoding="utf-8")
        for name in manifest.tables:
            shutil.copyfile(subset / name, part / name)
    if broken:
        logger.warning(
            "%d images are missing or do not decode: see %s", len(broken), out
        )
    return manifest


def _existing(
    settings: config.Data, subset: Path, folder: Path
) -> ShardsManifest | None:
    """The manifest of complete shards of this subset and settings; None without such."""
    if not (folder / MARKER).exists():
        return None
    try:
        manifest = read_manifest(folder)
    except ArtefactError:
        return None
    names = ("stored_size", "jpeg_quality", "shard_images")
    same_settings = all(getattr(manifest, n) == getattr(settings, n) for n in names)
    same_subset = same_split(folder / "subset.csv", subset / "subset.csv")
    return manifest if same_settings and same_subset and not manifest.broken else None


def _update_tables(
    manifest: ShardsManifest, subset: Path, folder: Path
) -> ShardsManifest:
    """Take over the tables of a subset that differs in its pools of non-landmarks alone."""
    if manifest.tables == _hash_tables(subset):
        return manifest
    # Killed in between, the shards have tables of no known content, and stay usable.
    json_files.write_json(replace(manifest, tables={}), folder / MARKER)
    for name in TABLES:
        if (subset / name).exists():
            with atomic_write(folder / name) as part:
                shutil.copyfile(subset / name, part)
        else:
            (folder / name).unlink(missing_ok=True)
    manifest = replace(manifest, tables=_hash_tables(folder))
    json_files.write_json(manifest, folder / MARKER)
    return manifest


def _hash_tables(folder: Path) -> dict[str, str]:
    """The SHA-256 of each table in a folder."""
    paths = [folder / name for name in TABLES if (folder / name).exists()]
    return {path.name: describe_file(path).sha256 for path in paths}


def _jobs(
    settings: config.Data,
    place: Competition,
    split: str,
    members: Sequence[Member],
    class_of: dict[int | None, int],
    folder: Path,
) -> list[Job]:
    """Divide the images of a split among shards."""
    jobs = []
    for start in range(0, len(members), settings.shard_images):
        chunk = members[start : start + settings.shard_images]
        path = folder / f"{split}-{start // settings.shard_images:05d}.tfrecord"
        ids = tuple(m.image_id for m in chunk)
        classes = tuple(class_of[m.landmark_id] for m in chunk)
        jobs.append(Job(settings, place.train_dir, path, split, ids, classes))
    return jobs


def _write_split(
    jobs: Sequence[Job], n_left: int, parallel_map: ParallelMap
) -> tuple[list[Shard], list[str]]:
    """Write the shards of a split; return them and the ids of broken images.

    Args:
        n_left: images to write in this split and those that follow.
    """
    files: list[Shard] = []
    broken: list[str] = []
    if not jobs:
        return files, broken
    total = sum(len(job.image_ids) for job in jobs)
    with progress(total=total, label=f"{jobs[0].split} shards") as bar:
        for job, result in zip(jobs, parallel_map(write_shard, jobs), strict=True):
            broken += result.broken
            n_left -= len(job.image_ids)
            if result.shard:
                files.append(result.shard)
                _require_space(result.shard, n_left, job.path.parent)
            bar.update(len(job.image_ids))
    return files, broken


def _require_space(shard: Shard, n_left: int, folder: Path) -> None:
    """Raise an error if the remaining images, of the size of this shard's, do not fit."""
    expected = n_left * shard.bytes / shard.images
    free = shutil.disk_usage(folder).free
    if expected > free:
        raise DataError(
            f"{folder.parent}: expected {expected / 1e9:.1f} GB of free space for the "
            f"shards of {n_left} more images, got {free / 1e9:.1f} GB; free some, choose "
            f"another disk (--out, or TMPDIR in a kernel) or lower data.stored_size"
        )
