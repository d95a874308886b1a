"""Images that show no landmark: where they come from, and the pools that they form.

An image is only a non-landmark if somebody says so: the user (``listed``), the solution
of the public test set (``gldv2_test``), or a config that asks for the images that
``train.csv`` does not list (``unlisted``). In the competition's ``train/`` there are none.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kaggle_kit import config
from kaggle_kit.data.index import image_ids
from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.data.near_duplicates import hash_files, near
from kaggle_kit.data.non_landmark_sources import download_command, find_images
from kaggle_kit.errors import ArtefactError, DataError
from kaggle_kit.storage import json_files, tables
from kaggle_kit.storage.json_files import JsonObject
from kaggle_kit.storage.tables import Member

logger = logging.getLogger(__name__)
POOLS = ("penalty", "validation", "test")
RECORD = "non_landmarks.json"  # beside subset.csv
OFF = "no non-landmark images: penalties off"
ORIGINS = {
    "none": OFF,
    "listed": "listed by the user",
    "gldv2_test": "of the public test set, without a landmark in its solution",
    "unlisted": "of train/, but not in train.csv: nobody vouches that they show no landmark",
}
STREAM = 17  # the generator of the pools is another one than that of the splits


@dataclass(frozen=True)
class PoolCounts(JsonObject):
    """How many images the pools of non-landmarks have, and where they come from.

    Attributes:
        source: ``subset.non_landmarks.source``.
        origin: what that means, in words.
        penalty, validation, test: number of images in each pool.
        left_out: images of the source that are near-duplicates of the subset's images or
            of test images, or have the id of a test image.
    """

    source: str
    origin: str
    penalty: int = 0
    validation: int = 0
    test: int = 0
    left_out: int = 0


class Pools(NamedTuple):
    """The images of the pools, their paths by id, and their counts."""

    members: list[Member]
    paths: dict[str, Path]
    counts: PoolCounts


def make_pools(
    settings: config.Subset,
    seed: int,
    place: Competition,
    listed: Sequence[Path],
    landmark_images: Collection[str],
) -> Pools:
    """Find the images of the source, and draw the pools from them.

    Images too similar to one of the subset, or to a test image, are left out. The draw
    depends on the seed and on the images that remain alone.

    Args:
        listed: the paths of ``--non-landmarks``: folders of images, or files of ids.
        landmark_images: ids of the images in the subset.

    Raises:
        DataError: a pool would be empty, or smaller than the number asked for; it names
            the command that gets images. Or an image of the source is in ``train.csv``.
    """
    pools = settings.non_landmarks
    if listed and pools.source != "listed":
        raise DataError(
            f"--non-landmarks: expected subset.non_landmarks.source=listed, got "
            f"{pools.source}; change the setting or leave the option out"
        )
    paths: dict[str, Path] = {}
    left_out: set[str] = set()
    if pools.sizes():
        paths = find_images(pools.source, place, listed)
        _require_not_labelled(paths, place)
        _require_enough(pools, len(paths), 0, place)
        left_out = _find_unfit(settings, paths, place, landmark_images)
        _require_enough(pools, len(paths) - len(left_out), len(left_out), place)
    rng = np.random.default_rng([seed, STREAM])
    members = draw_pools(sorted(set(paths) - left_out), pools, rng)
    if pools.source == "unlisted" and members:
        logger.warning(
            "%s: %d images are not in train.csv and taken for non-landmarks; nobody "
            "vouches for them",
            place.train_dir,
            len(paths),
        )
    return Pools(members, paths, _count(members, pools.source, len(left_out)))


def draw_pools(
    image_ids: Sequence[str], pools: config.Pools, rng: np.random.Generator
) -> list[Member]:
    """Assign images to disjoint pools at random; the order is preserved.

    >>> [m.split for m in draw_pools("abc", config.Pools(
    ...     source="listed", penalty=2, validation=0, test=0), np.random.default_rng(0))]
    ['penalty', 'penalty']
    """
    n = len(image_ids)
    order = rng.permutation(n)
    pool = np.full(n, "", object)
    start = 0.0
    for name, size in pools.sizes().items():
        end = start + (size if size > 1 else size * n)
        pool[order[round(start) : round(end)]] = name
        start = end
    return [
        Member(image_id, None, name)
        for image_id, name in zip(image_ids, pool, strict=True)
        if name
    ]


def write_record(counts: PoolCounts, folder: Path) -> None:
    """Write the counts beside ``subset.csv``."""
    text = json_files.json_text(counts)
    (folder / RECORD).write_text(text, encoding="utf-8")


def read_record(folder: Path) -> PoolCounts | None:
    """The counts beside ``subset.csv``; None if an earlier version made it.

    Raises:
        ArtefactError: the file is damaged.
    """
    path = Path(folder) / RECORD
    if not path.exists():
        return None
    try:
        return PoolCounts(**json_files.read_json(path))
    except (*json_files.DAMAGE, TypeError) as error:
        raise ArtefactError(
            f"{path}: expected the counts of the pools, got {error!r:.200}; make the "
            f"subset again"
        ) from None


def _require_enough(
    pools: config.Pools, n: int, n_left_out: int, place: Competition
) -> None:
    """Check that every pool that is asked for gets its images."""
    sizes = pools.sizes()
    counts = sum(int(size) for size in sizes.values() if size > 1)
    shares = sum(1 for size in sizes.values() if size <= 1)
    drawn = {m.split for m in draw_pools(["x"] * n, pools, np.random.default_rng(0))}
    if n >= counts + shares and drawn >= set(sizes):
        return
    left_out = f" that are not near-duplicates ({n_left_out} are)" if n_left_out else ""
    command = {
        "listed": "list more with --non-landmarks PATH",
        "gldv2_test": f"get them with {download_command(place, max(counts, 5000))}",
        "unlisted": "in Kaggle's train/ there are none: set "
        "subset.non_landmarks.source=gldv2_test and get them with "
        f"{download_command(place, max(counts, 5000))}, or set source=none",
    }[pools.source]
    asked = ", ".join(f"{name} {size:g}" for name, size in sizes.items())
    raise DataError(
        f"subset.non_landmarks: expected images for the pools {asked}, got {n} of source "
        f"{pools.source}{left_out}; {command}"
    )


def _require_not_labelled(paths: Mapping[str, Path], place: Competition) -> None:
    """Refuse images that ``train.csv`` lists with a landmark, by id or by file name."""
    if not place.train_csv.exists():
        return
    labels = tables.read_labels(place.train_csv)
    names = {name: i for i, path in paths.items() for name in (i, path.stem)}
    labelled = [label for label in labels if label.image_id in names]
    if labelled:
        first = labelled[0]
        raise DataError(
            f"{paths[names[first.image_id]]}: expected an image without a landmark, got "
            f"one that train.csv lists with landmark {first.landmark_id} (and "
            f"{len(labelled) - 1} others); remove them from the list"
        )


def _find_unfit(
    settings: config.Subset,
    paths: Mapping[str, Path],
    place: Competition,
    landmark_images: Collection[str],
) -> set[str]:
    """Images with a test image's id, or near-duplicates of landmark or test images."""
    unfit: set[str] = set()
    if place.sample_csv.exists():
        unfit = set(tables.read_sample(place.sample_csv)) & set(paths)
    if settings.near_duplicates == "ignored":
        return unfit
    others = [image_path(place.train_dir, i) for i in landmark_images]
    if place.test_dir.is_dir():
        others += [image_path(place.test_dir, i) for i in image_ids(place.test_dir)]
    ids = sorted(set(paths) - unfit)
    is_near = near(hash_files([paths[i] for i in ids]), hash_files(others))
    return unfit | {ids[row] for row in np.flatnonzero(is_near)}


def _count(members: Sequence[Member], source: str, n_left_out: int) -> PoolCounts:
    sizes = {name: sum(m.split == name for m in members) for name in POOLS}
    return PoolCounts(source, ORIGINS[source], **sizes, left_out=n_left_out)
