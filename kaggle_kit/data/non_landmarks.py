"""Images that show no landmark: where they come from, and the pools that they form.

An image is only a non-landmark if somebody says so: the user (``listed``), the solution
of the public test set (``gldv2_test``), or a config that asks for the images that
``train.csv`` does not list (``unlisted``). In the competition's ``train/`` there are none.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kaggle_kit import config
from kaggle_kit.data.index import image_ids
from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.data.near_duplicates import group, hash_files, near
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
    "unlisted": "of the folder train/ and not in train.csv: nobody vouches that they show "
    "no landmark",
}
STREAM = 17  # any constant: the pools have a random generator of their own


@dataclass(frozen=True)
class PoolCounts(JsonObject):
    """How many images the pools of non-landmarks have, and where they come from.

    Attributes:
        source: ``subset.non_landmarks.source``.
        origin: what that means, in words.
        penalty, validation, test: number of images in each pool.
        left_out: images of the source that no pool may have: test images, near-duplicates
            of test images, of the subset's images or of one another, and what does not
            decode.
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


def check_listed(source: str, listed: Sequence[Path]) -> None:
    """Refuse ``--non-landmarks`` where another source is asked for.

    Raises:
        DataError: it is given, and the source is not ``listed``.
    """
    if listed and source != "listed":
        raise DataError(
            f"--non-landmarks: expected subset.non_landmarks.source=listed, got {source}; "
            f"change the setting or leave the option out"
        )


def find_candidates(
    pools: config.Pools, place: Competition, listed: Sequence[Path]
) -> dict[str, Path]:
    """The images of the source, by id; no image is decoded.

    Args:
        listed: the paths of ``--non-landmarks``: folders of images, or files of ids.

    Returns:
        An empty dictionary if no pool is asked for.

    Raises:
        DataError: a pool would be empty, or smaller than the number asked for; it names
            the command that gets images. Or an image of the source is in ``train.csv``.
    """
    check_listed(pools.source, listed)
    if not pools.sizes():
        return {}
    paths = find_images(pools.source, place, listed)
    _require_not_labelled(paths, place)
    _require_enough(pools, len(paths), 0, place)
    return paths


def make_pools(
    settings: config.Subset,
    seed: int,
    place: Competition,
    candidates: Mapping[str, Path],
    landmark_hashes: NDArray[np.uint64] | None,
) -> Pools:
    """Draw the pools from the candidates that are fit.

    Test images are left out, by id and by file name. With hashes, three more kinds are:
    near-duplicates of landmark or test images, all but one of near-duplicates among the
    candidates, and what does not decode. The draw depends on the seed and on the images
    that remain alone.

    Args:
        candidates: of ``find_candidates``.
        landmark_hashes: (n, 3) of the images of landmarks; None: candidates are not hashed.

    Raises:
        DataError: too few images remain; it names the command that gets more.
    """
    pools = settings.non_landmarks
    fit: list[str] = []
    n_left_out = 0
    if candidates:
        fit = _choose_fit(candidates, place, landmark_hashes)
        n_left_out = len(candidates) - len(fit)
        _require_enough(pools, len(fit), n_left_out, place)
    if pools.source == "unlisted" and candidates:
        logger.warning(
            "%s: %d images are not in train.csv and taken for non-landmarks; nobody "
            "vouches for them",
            place.train_dir,
            len(candidates),
        )
    members = draw_pools(fit, pools, np.random.default_rng([seed, STREAM]))
    counts = count_pools(pools.source, members, n_left_out)
    return Pools(members, dict(candidates), counts)


def count_pools(
    source: str, members: Sequence[Member], n_left_out: int = 0
) -> PoolCounts:
    """The counts of the images in pools."""
    sizes = {name: sum(m.split == name for m in members) for name in POOLS}
    return PoolCounts(source, ORIGINS[source], **sizes, left_out=n_left_out)


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
    start = 0
    for name, size in pool_sizes(pools, n).items():
        pool[order[start : start + size]] = name
        start += size
    return [
        Member(image_id, None, name)
        for image_id, name in zip(image_ids, pool, strict=True)
        if name
    ]


def pool_sizes(pools: config.Pools, n: int) -> dict[str, int]:
    """The number of images that each pool asks for of n; their sum may be larger than n.

    >>> pool_sizes(config.Pools(source="listed", penalty=0.5, validation=3, test=0), 10)
    {'validation': 3, 'penalty': 5}
    """
    sizes: dict[str, int] = {}
    share = 0.0  # of all pools so far, so that shares that add up to 1 leave none over
    for name, size in sorted(pools.sizes().items(), key=lambda item: item[1] <= 1):
        if size > 1:
            sizes[name] = int(size)
        else:
            sizes[name] = round((share + size) * n) - round(share * n)
            share += size
    return sizes


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
        counts = PoolCounts(**json_files.read_json(path))
        for name, value in vars(counts).items():
            if type(value) is not (str if name in ("source", "origin") else int):
                raise TypeError(f"{name} {value!r:.80}")
        return counts
    except (*json_files.DAMAGE, TypeError) as error:
        raise ArtefactError(
            f"{path}: expected the counts of the pools, got {error!r:.200}; make the "
            f"subset again"
        ) from None


def _require_enough(
    pools: config.Pools, n: int, n_left_out: int, place: Competition
) -> None:
    """Check that n images give every pool what it asks for."""
    wanted = pool_sizes(pools, n)
    if all(wanted.values()) and sum(wanted.values()) <= n:
        return
    counts = sum(int(size) for size in pools.sizes().values() if size > 1)
    enough = max(5000, 1000 * math.ceil(1.1 * (counts + n_left_out) / 1000))
    download = download_command(place, enough)
    advice = {
        "listed": "list more with --non-landmarks PATH",
        "gldv2_test": f"get them with {download}",
        "unlisted": f"in Kaggle's train/ there are none: set "
        f"subset.non_landmarks.source=gldv2_test and get them with {download}, or set "
        f"source=none",
    }[pools.source]
    left_out = f" besides {n_left_out} that were left out" if n_left_out else ""
    asked = ", ".join(f"{name} {size:g}" for name, size in pools.sizes().items())
    raise DataError(
        f"subset.non_landmarks: expected images for the pools {asked}, got {n} of source "
        f"{pools.source}{left_out}; {advice}"
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


def _choose_fit(
    paths: Mapping[str, Path],
    place: Competition,
    landmark_hashes: NDArray[np.uint64] | None,
) -> list[str]:
    """The ids of the candidates that a pool may have, sorted."""
    tests = set(
        tables.read_sample(place.sample_csv) if place.sample_csv.exists() else ()
    )
    ids = [i for i in sorted(paths) if not {i, paths[i].stem} & tests]
    if landmark_hashes is None:
        return ids
    test_ids = image_ids(place.test_dir) if place.test_dir.is_dir() else ()
    test_hashes = hash_files([image_path(place.test_dir, i) for i in test_ids])
    hashes = hash_files([paths[i] for i in ids])
    is_near = near(hashes, np.concatenate([landmark_hashes, test_hashes]))
    rows = np.flatnonzero(hashes.any(axis=1) & ~is_near)
    _, firsts = np.unique(group(hashes[rows]), return_index=True)  # of copies one
    return [ids[row] for row in rows[np.sort(firsts)]]
