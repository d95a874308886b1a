"""Choose landmarks and images, and split them into train, validation and test."""

import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kaggle_kit import config
from kaggle_kit.data.index import image_ids
from kaggle_kit.data.layout import Competition
from kaggle_kit.errors import DataError
from kaggle_kit.storage import tables
from kaggle_kit.storage.columns import Columns
from kaggle_kit.storage.csv_files import write_rows
from kaggle_kit.storage.files import atomic_write_dir
from kaggle_kit.storage.json_files import JsonObject
from kaggle_kit.storage.tables import Class, Label, Member

logger = logging.getLogger(__name__)
MARKER = "subset.csv"


@dataclass(frozen=True)
class SubsetCounts(JsonObject):
    """The number of landmarks in train, and of images in each split."""

    landmarks: int
    train: int
    validation: int
    penalty: int
    test: int


@tables.without_gc()
def subset(
    settings: config.Subset, seed: int, competition: Path, out: Path
) -> SubsetCounts:
    """Write the folder ``out``: ``subset.csv`` and ``classes.csv``.

    The same settings, seed and files give the same bytes. The image folders are listed
    only if ``settings.non_landmarks`` has a share above 0.

    Raises:
        DataError: too few landmarks match the settings, or none would remain for train.
        TableError: ``train.csv`` is malformed.
    """
    place = Competition(Path(competition)).require("train.csv")
    labels = tables.read_labels(place.train_csv, settings.group_column)
    rng = np.random.default_rng(seed)
    selection = choose(labels, settings, rng)
    known, unknown = separate_unknown(selection, settings.unknown_landmarks, rng)
    members = split(known, settings.validation_share, rng, settings.test_share)
    members += split_unknown(unknown, rng)
    wants_pools = any(settings.non_landmarks.model_dump().values())
    if wants_pools and not place.train_dir.exists():
        logger.warning("%s: no train folder, so no non-landmark pools", place.root)
    elif wants_pools:
        place.require("train")
        listed = set(labels.column("image_id").tolist())
        others = sorted(set(image_ids(place.train_dir)) - listed)
        members += split_pools(others, settings.non_landmarks, rng)
    classes = count_classes(members)
    with atomic_write_dir(out, MARKER) as part:
        columns = ("id", "landmark_id", "split")
        write_rows(part / MARKER, columns, members.tuples())
        rows = [(i, *row) for i, row in enumerate(classes)]
        write_rows(part / "classes.csv", ("class", "landmark_id", "n_images"), rows)
    sizes = Counter(members.column("split").tolist())
    return SubsetCounts(len(classes), **{name: sizes[name] for name in tables.SPLITS})


def choose(
    labels: Sequence[Label], settings: config.Subset, rng: np.random.Generator
) -> Columns[Label]:
    """Choose the images of a subset; their relative order is preserved.

    Landmarks: those of ``settings.landmarks``, or ``n_landmarks`` of those with at least
    ``min_images`` images, by ``choice``; equal numbers of images are ordered by landmark
    id. Images: at most ``max_images`` of each landmark, drawn with ``rng``.

    Raises:
        DataError: a landmark of ``settings.landmarks`` is not in ``labels``, or too few
            landmarks have ``min_images`` images.
    """
    labels = Columns.of(Label, labels)
    landmark = labels.column("landmark_id")
    ids, inverse, counts = _counted(landmark)
    keep = _choose_landmarks(ids, counts, settings, rng)[inverse]
    if settings.max_images:
        keep &= _rank_within(inverse, rng) < settings.max_images
    return labels.select(keep)


def separate_unknown(
    labels: Sequence[Label], n_unknown: int, rng: np.random.Generator
) -> tuple[Columns[Label], Columns[Label]]:
    """Draw ``n_unknown`` landmarks; return the images of the other landmarks, and theirs.

    An image of an unknown landmark is dropped if its group also has an image of a known
    landmark: that near-duplicate could be in train.

    Raises:
        DataError: no known landmark would remain.
    """
    labels = Columns.of(Label, labels)
    if n_unknown == 0:
        return labels, labels[:0]
    landmark, group = labels.column("landmark_id"), labels.column("group")
    ids = np.unique(landmark)
    if n_unknown >= len(ids):
        raise DataError(
            f"subset.unknown_landmarks: expected fewer than the {len(ids)} landmarks "
            f"of the subset, got {n_unknown}; lower it or choose more landmarks"
        )
    unknown = np.isin(landmark, rng.permutation(ids)[:n_unknown])
    known_groups = set(group[~unknown].tolist()) - {""}
    near = np.array([name in known_groups for name in group.tolist()]) & unknown
    if near.any():
        logger.warning(
            "%d images of unknown landmarks are dropped: their groups also have images "
            "of known landmarks",
            near.sum(),
        )
    return labels.select(~unknown), labels.select(unknown & ~near)


def split(
    labels: Sequence[Label],
    validation_share: float,
    rng: np.random.Generator,
    test_share: float = 0.0,
) -> Columns[Member]:
    """Split images into train, validation and test, stratified by landmark.

    Of the n images of a landmark, n * share go to validation, rounded up or down at random
    so that the expected number is exact for rare landmarks too; test likewise. At least
    one image stays in train. Images of a group go to the same split: a group moves as a
    whole, and only if no landmark exceeds its number.

    The validation images do not depend on ``test_share``.
    """
    shares = {"validation": validation_share, "test": test_share}
    return _split(labels, shares, "train", 1, rng)


def split_unknown(labels: Sequence[Label], rng: np.random.Generator) -> Columns[Member]:
    """Split the images of unknown landmarks in halves, validation and test.

    Stratified by landmark and by whole groups, as in ``split``; the last image of an odd
    number goes to either at random.
    """
    return _split(labels, {"validation": 0.5}, "test", 0, rng)


def split_pools(
    image_ids: Sequence[str], shares: config.Pools, rng: np.random.Generator
) -> list[Member]:
    """Assign non-landmark images to disjoint pools at random; the order is preserved."""
    order = rng.permutation(len(image_ids))
    pool = np.full(len(image_ids), "", object)
    start = 0.0
    for name, share in shares.model_dump().items():
        end = start + share
        pool[order[_slice(start, end, len(image_ids))]] = name
        start = end
    return [
        Member(image_id, None, name)
        for image_id, name in zip(image_ids, pool, strict=True)
        if name
    ]


def count_classes(members: Sequence[Member]) -> list[Class]:
    """The landmarks with training images, sorted by id, and their number of these."""
    columns = Columns.of(Member, members)
    landmarks = columns.column("landmark_id")[columns.column("split") == "train"]
    ids, counts = np.unique(landmarks.astype(np.int64), return_counts=True)
    return list(map(Class, ids.tolist(), counts.tolist()))


def _choose_landmarks(
    ids: NDArray[np.int64],
    counts: NDArray[np.int64],
    settings: config.Subset,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """A mask of the landmarks to choose.

    Args:
        ids, counts: (n,) landmark ids in rising order, and their numbers of images.
    """
    if settings.landmarks is not None:
        absent = sorted(set(settings.landmarks) - set(ids.tolist()))
        if absent:
            raise DataError(
                f"subset.landmarks: expected landmarks of train.csv, got "
                f"{', '.join(map(str, absent[:5]))} and {max(0, len(absent) - 5)} others "
                f"that it does not have; remove them from the list"
            )
        return np.isin(ids, settings.landmarks)
    large = np.flatnonzero(counts >= settings.min_images)
    n = settings.n_landmarks or len(large)
    if not len(large) or n > len(large):
        raise DataError(
            f"subset: expected {max(n, 1)} landmarks with at least "
            f"{settings.min_images} images, got {len(large)} in train.csv; lower "
            f"n_landmarks or min_images"
        )
    if settings.choice == "random":
        selection = rng.permutation(large)[:n]
    else:
        selection = large[np.lexsort((ids[large], -counts[large]))[:n]]
    mask = np.zeros(len(ids), bool)
    mask[selection] = True
    return mask


def _split(
    labels: Sequence[Label],
    shares: Mapping[str, float],
    rest: str,
    min_rest: int,
    rng: np.random.Generator,
) -> Columns[Member]:
    """Give each split its share of every landmark, and the remaining images to ``rest``.

    Args:
        shares: by split, in order.
        min_rest: images of each landmark that ``rest`` gets at least.
    """
    columns = Columns.of(Label, labels)
    landmark, group = columns.column("landmark_id"), columns.column("group").tolist()
    _, inverse, counts = _counted(landmark)
    # (splits, landmarks): the end of each split in a random order of a landmark's images
    cumulative = np.cumsum(list(shares.values()))[:, None]
    ends = np.floor(counts * cumulative + rng.random(len(counts)))
    ends = np.minimum(ends, counts - min_rest).astype(np.int64)
    if any(group):
        index = _split_groups(group, inverse, np.diff(ends, axis=0, prepend=0), rng)
    else:
        index = (_rank_within(inverse, rng) >= ends[:, inverse]).sum(axis=0)
    names = np.array([*shares, rest], object)
    return Columns(Member, columns.column("image_id"), landmark, names[index])


def _counted(
    landmark: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.intp], NDArray[np.int64]]:
    """The distinct ids, the index of each element in these, and their counts.

    The result is that of ``np.unique``, without a sort if the ids are small.
    """
    if not len(landmark) or landmark.max() >= 2**22:
        return np.unique(landmark, return_inverse=True, return_counts=True)
    counts = np.bincount(landmark)
    ids = np.flatnonzero(counts)
    index = np.cumsum(counts > 0) - 1
    return ids, index[landmark], counts[ids]


def _rank_within(group: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.intp]:
    """The rank of each element, from 0, in a random order of its group."""
    n = len(group)
    position, rank = np.empty_like(group), np.empty_like(group)
    position[np.argsort(rng.random(n))] = np.arange(n)
    order = np.argsort(group * n + position)  # one sort of integers is fastest
    sizes = np.bincount(group)
    starts = np.cumsum(sizes) - sizes
    rank[order] = np.arange(n) - np.repeat(starts, sizes)
    return rank


def _split_groups(
    group: Sequence[str],
    landmark: NDArray[np.intp],
    capacity: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Assign whole groups, in random order, to the first split with enough capacity.

    Args:
        group: (n,) the group of each image; an image with "" is a group of its own.
        landmark: (n,) the landmark of each image, as an index.
        capacity: (splits, landmarks) the most images of a landmark in a split.

    Returns:
        (n,) the index of each image's split; the number of splits for the rest.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for i, name in enumerate(group):
        groups[name or f"\0{i}"].append(i)
    index = np.full(len(group), len(capacity))
    remaining = capacity.copy()
    names = list(groups)
    for name in (names[i] for i in rng.permutation(len(names))):
        images = groups[name]
        counts = Counter(landmark[images].tolist())
        for k, free in enumerate(remaining):
            if all(free[i] >= n for i, n in counts.items()):
                index[images] = k
                for i, n in counts.items():
                    free[i] -= n
                break
    return index


def _slice(start: float, end: float, n: int) -> slice:
    """The elements of n between two shares; adjacent slices do not overlap."""
    return slice(round(start * n), round(end * n))
