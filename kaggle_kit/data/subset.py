"""Choose landmarks and images, and split them into train, validation and test."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kaggle_kit import config
from kaggle_kit.data.image_hash import WORDS
from kaggle_kit.data.index import read_hashes
from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.data.layout_check import require_images
from kaggle_kit.data.near_duplicates import group, hash_files
from kaggle_kit.data.non_landmarks import (
    RECORD,
    PoolCounts,
    find_candidates,
    make_pools,
    write_record,
)
from kaggle_kit.data.split import (
    count_classes,
    counted,
    rank_within,
    split,
    split_unknown,
)
from kaggle_kit.errors import DataError
from kaggle_kit.storage import tables
from kaggle_kit.storage.columns import Columns
from kaggle_kit.storage.csv_files import write_rows
from kaggle_kit.storage.folders import FolderKind, atomic_write_dir, check_replaceable
from kaggle_kit.storage.json_files import JsonObject
from kaggle_kit.storage.tables import Label, Member

logger = logging.getLogger(__name__)
MARKER = "subset.csv"
SUBSET = FolderKind(MARKER, ("classes.csv", RECORD))


@dataclass(frozen=True)
class GroupCounts(JsonObject):
    """Groups of near-duplicates, and the images in them."""

    groups: int
    images: int


@dataclass(frozen=True)
class SubsetCounts(JsonObject):
    """The number of landmarks in train, and of images in each split.

    Attributes:
        near_duplicates: None if they were not looked for.
        non_landmarks: None if the pools are to be made with the bundle.
    """

    landmarks: int
    train: int
    validation: int
    penalty: int
    test: int
    near_duplicates: GroupCounts | None
    non_landmarks: PoolCounts | None


@tables.without_gc()
def subset(
    settings: config.Subset,
    seed: int,
    competition: Path,
    out: Path,
    non_landmarks: Sequence[Path] = (),
    index: Path | None = None,
    with_pools: bool = True,
) -> SubsetCounts:
    """Write the folder ``out``: ``subset.csv`` and ``classes.csv``.

    The same settings, seed and files give the same bytes. Near-duplicates are in the same
    split. They are found by the images, or by the hashes in ``index``; a warning says how
    many images of the subset are not there yet.

    Args:
        non_landmarks: what the user lists as non-landmarks: folders, or files of ids.
        index: what ``index`` wrote; spares reading the images of ``train/`` again.
        with_pools: whether to make the pools of non-landmarks too.

    Raises:
        DataError: too few landmarks match the settings, or none would remain for train; or
            a pool cannot be filled; or ``index`` has no hash of the images.
        TableError: ``train.csv`` is malformed.
    """
    place = Competition(Path(competition)).require("train.csv")
    check_replaceable(out, SUBSET)
    labels = tables.read_labels(place.train_csv, settings.group_column)
    if any(
        place.train_dir.glob("*")
    ):  # the subset may be made before its images are there
        require_images(place.train_dir)
    rng = np.random.default_rng(seed)
    selection = choose(labels, settings, rng)
    candidates = {}
    if with_pools:
        candidates = find_candidates(settings.non_landmarks, place, non_landmarks)
    hashes, groups = None, None
    if settings.near_duplicates == "together":
        hashes = _read_hashes(selection.column("image_id").tolist(), place, index)
        if not settings.group_column:
            selection, groups = _group_near_duplicates(selection, hashes)
    pools = None
    if with_pools:
        pools = make_pools(settings, seed, place, candidates, hashes)
    known, unknown = separate_unknown(selection, settings.unknown_landmarks, rng)
    members = split(known, settings.validation_share, rng, settings.test_share)
    members += split_unknown(unknown, rng)
    if pools:
        members += pools.members
    classes = count_classes(members)
    with atomic_write_dir(out, SUBSET) as part:
        columns = ("id", "landmark_id", "split")
        write_rows(part / MARKER, columns, members.tuples())
        rows = [(i, *row) for i, row in enumerate(classes)]
        write_rows(part / "classes.csv", ("class", "landmark_id", "n_images"), rows)
        if pools:
            write_record(pools.counts, part)
    return count_members(members, groups, pools and pools.counts)


def count_members(
    members: Sequence[Member],
    groups: GroupCounts | None = None,
    pools: PoolCounts | None = None,
) -> SubsetCounts:
    """The counts of the rows of a subset."""
    columns = Columns.of(Member, members)
    sizes = Counter(columns.column("split").tolist())
    return SubsetCounts(
        len(count_classes(columns)),
        **{name: sizes[name] for name in tables.SPLITS},
        near_duplicates=groups,
        non_landmarks=pools,
    )


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
    ids, inverse, counts = counted(landmark)
    keep = _choose_landmarks(ids, counts, settings, rng)[inverse]
    if settings.max_images:
        keep &= rank_within(inverse, rng) < settings.max_images
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


def _group_near_duplicates(
    labels: Columns[Label], hashes: NDArray[np.uint64]
) -> tuple[Columns[Label], GroupCounts | None]:
    """Give near-duplicates a group in common."""
    if not hashes.any():
        return labels, None
    groups = group(hashes)
    sizes = np.bincount(groups)
    shared = sizes[groups] > 1
    names = np.where(shared, groups.astype(str), "").astype(object)
    counts = GroupCounts(int((sizes > 1).sum()), int(shared.sum()))
    ids, landmarks, _ = labels.columns
    return Columns(Label, ids, landmarks, names), counts


def _read_hashes(
    ids: Sequence[str], place: Competition, index: Path | None
) -> NDArray[np.uint64]:
    """The perceptual hash of each image: from an index, or of its file, (n, 3)."""
    if index is not None:
        hashes = _look_up_hashes(ids, index)
    elif place.train_dir.is_dir():
        hashes = hash_files([image_path(place.train_dir, i) for i in ids])
    else:
        hashes = np.zeros((len(ids), WORDS), np.uint64)
    n_missing = int((~hashes.any(axis=1)).sum())
    if n_missing:
        logger.warning(
            "%s: %d of %d images are missing or do not decode, and near-duplicates of them "
            "may be on two sides of the split: make the subset again once they are there",
            index or place.train_dir,
            n_missing,
            len(ids),
        )
    return hashes


def _look_up_hashes(ids: Sequence[str], index: Path) -> NDArray[np.uint64]:
    listed, hashes = read_hashes(index)
    row_of = {image_id: row for row, image_id in enumerate(listed)}
    rows = np.array([row_of.get(i, len(listed)) for i in ids], np.int64)
    found = np.concatenate([hashes, np.zeros((1, WORDS), np.uint64)])[rows]
    if not found.any():
        raise DataError(
            f"{index}: expected hashes of the subset's images, found none; make the index "
            f"again with kaggle-kit index"
        )
    return found


def same_split(one: Path, other: Path) -> bool:
    """Whether two ``subset.csv`` split the same images of landmarks in the same way.

    Their pools of non-landmarks may differ: no training reads them.

    Raises:
        TableError: one of them is malformed.
    """
    if one.read_bytes() == other.read_bytes():
        return True
    rows = [
        [
            member
            for member in tables.read_subset(path)
            if member.landmark_id is not None
        ]
        for path in (one, other)
    ]
    return rows[0] == rows[1]


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
