"""The manifest of a folder of shards, ``shards.json``, and what it says of its images."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.data.non_landmarks import RECORD
from kaggle_kit.data.shard_file import Shard
from kaggle_kit.errors import ArtefactError
from kaggle_kit.storage import json_files, tables
from kaggle_kit.storage.json_files import JsonObject
from kaggle_kit.storage.manifest import describe_file
from kaggle_kit.storage.regular_files import open_regular

MARKER = "shards.json"
RECORD_FRAME = 16  # bytes of a record beside its content: its length, and two checksums
SPLITS = ("train", "validation")
TABLES = ("subset.csv", "classes.csv", RECORD)
SHARD = re.compile(r"(?:train|validation)-\d{5,}\.tfrecord", re.ASCII)


@dataclass(frozen=True)
class SplitCounts(JsonObject):
    """The number of images in the shards of each split."""

    train: int
    validation: int


@dataclass(frozen=True)
class ShardsManifest(JsonObject):
    """The content of ``shards.json``.

    Attributes:
        stored_size, jpeg_quality, shard_images: the settings ``data.*`` of the shards.
        counts: images in the shards.
        broken: ids of the images that are missing or do not decode.
        shards: all shards, those of a split in order.
        tables: the SHA-256 of the tables beside the shards, by name; empty if an earlier
            version made them.
    """

    stored_size: int
    jpeg_quality: int
    shard_images: int
    counts: SplitCounts
    broken: tuple[str, ...]
    shards: tuple[Shard, ...]
    tables: dict[str, str]


def read_manifest(folder: Path) -> ShardsManifest:
    """Read the manifest of a shards folder; check the sizes of shards, and the tables.

    Raises:
        ArtefactError: the manifest is missing or damaged, a shard is missing or has
            another size, or a table is not the one that the shards were made from.
    """
    path = Path(folder) / MARKER
    try:
        manifest = _parse(json_files.read_json(path))
    except (*json_files.DAMAGE, KeyError, TypeError) as error:
        raise ArtefactError(
            f"{path}: expected the manifest of a shards folder, got {error!r:.200}; make "
            f"the shards again"
        ) from None
    for shard in manifest.shards:
        file = path.parent / shard.file
        size = file.stat().st_size if file.is_file() else None
        if size != shard.bytes:
            raise ArtefactError(
                f"{file}: expected {shard.bytes} bytes, got "
                f"{'no file' if size is None else size}; make the shards again"
            )
        problem = _find_misfit(file, shard)
        if problem:
            raise ArtefactError(f"{file}: {problem}; make the shards again")
    for name, sha256 in manifest.tables.items():
        table = path.parent / name
        if not table.exists() or describe_file(table).sha256 != sha256:
            raise ArtefactError(
                f"{table}: expected the table that the shards were made from, got "
                f"{'another' if table.exists() else 'no file'}; make the shards again"
            )
    return manifest


def _find_misfit(path: Path, shard: Shard) -> str | None:
    """Describe where the records of a shard do not fit its size; None if they do.

    TensorFlow allocates as many bytes as a record says it has: its process crashes where
    that is more than the machine has. No record is read, only their lengths.
    """
    n_records = offset = 0
    with open_regular(path) as file:
        while offset < shard.bytes:
            start = os.pread(file.fileno(), 8, offset)
            offset += RECORD_FRAME + int.from_bytes(start, "little")
            n_records += 1
    if (n_records, offset) == (shard.images, shard.bytes):
        return None
    return (
        f"expected {shard.images} records in {shard.bytes} bytes, got {n_records} that "
        f"end at {offset}"
    )


def _parse(values: Any) -> ShardsManifest:
    """Convert parsed JSON; refuse what ``shards`` does not write.

    Raises:
        ValueError, KeyError, TypeError: a key is missing, or a value is malformed.
    """
    broken = values["broken"]
    if not isinstance(broken, list) or not all(isinstance(i, str) for i in broken):
        raise ValueError("the broken ids are not a list of strings")
    return ShardsManifest(
        _count(values["stored_size"]),
        _count(values["jpeg_quality"]),
        _count(values["shard_images"]),
        SplitCounts(**{split: _count(values["counts"][split]) for split in SPLITS}),
        tuple(broken),
        tuple(map(_parse_shard, values["shards"])),
        _parse_tables(values.get("tables", {})),
    )


def _parse_tables(values: Any) -> dict[str, str]:
    if not set(values) <= set(TABLES):
        raise ValueError(f"the tables {list(values)!r:.80}")
    return {name: str(sha256) for name, sha256 in values.items()}


def _parse_shard(values: Any) -> Shard:
    file, split = values["file"], values["split"]
    if not SHARD.fullmatch(file) or split not in SPLITS:
        raise ValueError(f"the shard {file!r} of {split!r}")
    sizes = _count(values["images"]), _count(values["bytes"])
    return Shard(file, split, *sizes, str(values["sha256"]))


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r:.80} instead of a count")
    return value


def shard_paths(folder: Path, manifest: ShardsManifest, split: str) -> list[Path]:
    """The paths of the shards of a split, in order."""
    return [Path(folder) / s.file for s in manifest.shards if s.split == split]


def image_classes(
    folder: Path, manifest: ShardsManifest, split: str
) -> list[NDArray[np.int64]]:
    """The class of each image of a split, in order: an array for each shard.

    Raises:
        ArtefactError: ``subset.csv`` and ``classes.csv`` do not match the shards.
    """
    classes = tables.read_classes(Path(folder) / "classes.csv")
    class_of = {row.landmark_id: i for i, row in enumerate(classes)}
    broken = set(manifest.broken)
    labels = [
        class_of[m.landmark_id]
        for m in tables.read_subset(Path(folder) / "subset.csv")
        if m.split == split and m.landmark_id in class_of and m.image_id not in broken
    ]
    sizes = [shard.images for shard in manifest.shards if shard.split == split]
    if len(labels) != sum(sizes):
        raise ArtefactError(
            f"{folder}: expected subset.csv and classes.csv to have the {sum(sizes)} "
            f"{split} images of the shards, got {len(labels)}; make the shards again"
        )
    return np.split(np.array(labels, np.int64), np.cumsum(sizes)[:-1])
