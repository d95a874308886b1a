"""Split the images of landmarks into train, validation and test."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.storage.columns import Columns
from kaggle_kit.storage.tables import Class, Label, Member


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


def count_classes(members: Sequence[Member]) -> list[Class]:
    """The landmarks with training images, sorted by id, and their number of these."""
    columns = Columns.of(Member, members)
    landmarks = columns.column("landmark_id")[columns.column("split") == "train"]
    ids, counts = np.unique(landmarks.astype(np.int64), return_counts=True)
    return list(map(Class, ids.tolist(), counts.tolist()))


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
    _, inverse, counts = counted(landmark)
    # (splits, landmarks): the end of each split in a random order of a landmark's images
    cumulative = np.cumsum(list(shares.values()))[:, None]
    ends = np.floor(counts * cumulative + rng.random(len(counts)))
    ends = np.minimum(ends, counts - min_rest).astype(np.int64)
    if any(group):
        index = _split_groups(group, inverse, np.diff(ends, axis=0, prepend=0), rng)
    else:
        index = (rank_within(inverse, rng) >= ends[:, inverse]).sum(axis=0)
    names = np.array([*shares, rest], object)
    return Columns(Member, columns.column("image_id"), landmark, names[index])


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


def counted(
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


def rank_within(group: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.intp]:
    """The rank of each element, from 0, in a random order of its group."""
    n = len(group)
    position, rank = np.empty_like(group), np.empty_like(group)
    position[np.argsort(rng.random(n))] = np.arange(n)
    order = np.argsort(group * n + position)  # one sort of integers is fastest
    sizes = np.bincount(group)
    starts = np.cumsum(sizes) - sizes
    rank[order] = np.arange(n) - np.repeat(starts, sizes)
    return rank
