"""Choose landmarks and photos, and split them so that validation means something."""

import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kaggle_kit import config
from kaggle_kit.data.index import photo_ids
from kaggle_kit.data.layout import Competition
from kaggle_kit.errors import DataError
from kaggle_kit.storage import tables
from kaggle_kit.storage.columns import Columns
from kaggle_kit.storage.csv_files import write_rows
from kaggle_kit.storage.files import written_dir
from kaggle_kit.storage.tables import Class, Label, Member

logger = logging.getLogger(__name__)
MARKER = "subset.csv"


@tables.uncollected()
def subset(
    settings: config.Subset, seed: int, competition: Path, out: Path
) -> dict[str, int]:
    """Write the folder ``out``: ``subset.csv`` and ``classes.csv``.

    The same settings, seed and files give the same bytes. The image tree is walked only
    when a pool of non-landmarks is asked for.

    Returns:
        How many landmarks, and how many photos in each split.

    Raises:
        DataError: no landmark fits the settings, or none would be left for train.
    """
    place = Competition(Path(competition)).require("train.csv")
    labels = tables.read_labels(place.train_csv, settings.group_column)
    rng = np.random.default_rng(seed)
    chosen = choose(labels, settings, rng)
    known, unknown = set_apart(chosen, settings.unknown_landmarks, rng)
    members = split(known, settings.validation_share, rng, settings.test_share)
    members += split_unknown(unknown, rng)
    asked = any(settings.non_landmarks.model_dump().values())
    if asked and not place.train_dir.exists():
        logger.warning("%s: no photos yet, so no pools of non-landmarks", place.root)
    elif asked:
        place.require("train")
        listed = set(labels.column("image_id").tolist())
        others = sorted(set(photo_ids(place.train_dir)) - listed)
        members += pools(others, settings.non_landmarks, rng)
    classes = classes_of(members)
    with written_dir(out, MARKER) as part:
        columns = ("id", "landmark_id", "split")
        write_rows(part / MARKER, columns, members.tuples())
        rows = [(i, *row) for i, row in enumerate(classes)]
        write_rows(part / "classes.csv", ("class", "landmark_id", "n_images"), rows)
    sizes = Counter(members.column("split").tolist())
    return {"landmarks": len(classes)} | {name: sizes[name] for name in tables.SPLITS}


def choose(
    labels: Sequence[Label], settings: config.Subset, rng: np.random.Generator
) -> Columns[Label]:
    """The photos that take part, in the order given.

    First the landmarks: those of ``settings.landmarks``, or those with at least
    ``min_images`` photos, and of these ``n_landmarks`` by ``choice`` (ties by landmark
    id). Then the photos: at most ``max_images`` of each, drawn with ``rng``.

    Raises:
        DataError: a landmark that is asked for is not there, or too few fit.
    """
    labels = Columns.of(Label, labels)
    landmark = labels.column("landmark_id")
    ids, inverse, counts = _counted(landmark)
    chosen = _landmarks(ids, counts, settings, rng)
    keep = chosen[inverse]
    if settings.max_images:
        keep &= _rank_within(inverse, rng) < settings.max_images
    return labels.select(keep)


def set_apart(
    labels: Sequence[Label], n_unknown: int, rng: np.random.Generator
) -> tuple[Columns[Label], Columns[Label]]:
    """The photos of known landmarks and those of ``n_unknown`` others, drawn at random.

    A photo of an unknown landmark whose group has a photo of a known one is left out:
    its near-duplicate may come to be in train.

    Raises:
        DataError: no landmark would be left.
    """
    labels = Columns.of(Label, labels)
    if n_unknown == 0:
        return labels, labels[:0]
    landmark, group = labels.column("landmark_id"), labels.column("group")
    ids = np.unique(landmark)
    if n_unknown >= len(ids):
        raise DataError(
            f"subset.unknown_landmarks: expected fewer than the {len(ids)} landmarks "
            f"that take part, got {n_unknown}; lower it or let more landmarks take part"
        )
    apart = np.isin(landmark, rng.permutation(ids)[:n_unknown])
    taken = set(group[~apart].tolist()) - {""}
    near = np.array([name in taken for name in group.tolist()]) & apart
    if near.any():
        logger.warning(
            "%d photos of unknown landmarks are left out: their groups have photos of "
            "known landmarks",
            near.sum(),
        )
    return labels.select(~apart), labels.taken(apart & ~near)


def split(
    labels: Sequence[Label],
    validation_share: float,
    rng: np.random.Generator,
    test_share: float = 0.0,
) -> Columns[Member]:
    """Divide photos into train, validation and test, landmark by landmark.

    A landmark of n photos gives n * share of them to validation, rounded up or down at
    random so that rare landmarks have their share too, then to test likewise, and
    always keeps one in train. Photos of one group stay on one side; a group is moved
    only as a whole and only where no landmark gives more than its number.

    Validation has the same photos whatever the share of test.
    """
    shares = {"validation": validation_share, "test": test_share}
    return _divided(labels, shares, "train", 1, rng)


def split_unknown(labels: Sequence[Label], rng: np.random.Generator) -> Columns[Member]:
    """Divide photos of landmarks that train lacks: half to validation, half to test.

    Landmark by landmark and by whole groups, as ``split`` does; an odd photo goes to
    either at random.
    """
    return _divided(labels, {"validation": 0.5}, "test", 0, rng)


def pools(
    image_ids: Sequence[str], shares: config.Pools, rng: np.random.Generator
) -> list[Member]:
    """Divide non-landmark photos into disjoint pools, at random, in the order given."""
    order = rng.permutation(len(image_ids))
    pool = np.full(len(image_ids), "", object)
    start = 0.0
    for name, share in shares.model_dump().items():
        end = start + share
        pool[order[_places(start, end, len(image_ids))]] = name
        start = end
    return [
        Member(image_id, None, name)
        for image_id, name in zip(image_ids, pool, strict=True)
        if name
    ]


def classes_of(members: Sequence[Member]) -> list[Class]:
    """The landmarks that have training photos, by id, with the number of those."""
    columns = Columns.of(Member, members)
    landmarks = columns.column("landmark_id")[columns.column("split") == "train"]
    found, n_train = np.unique(landmarks.astype(np.int64), return_counts=True)
    return list(map(Class, found.tolist(), n_train.tolist()))


def _landmarks(
    ids: NDArray[np.int64],
    counts: NDArray[np.int64],
    settings: config.Subset,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Which of ``ids`` take part."""
    if settings.landmarks is not None:
        absent = sorted(set(settings.landmarks) - set(ids.tolist()))
        if absent:
            raise DataError(
                f"subset.landmarks: expected landmarks of train.csv, got "
                f"{', '.join(map(str, absent[:5]))} and {max(0, len(absent) - 5)} others "
                f"that it does not have; take them out of the list"
            )
        return np.isin(ids, settings.landmarks)
    fit = np.flatnonzero(counts >= settings.min_images)
    n = settings.n_landmarks or len(fit)
    if not len(fit) or n > len(fit):
        raise DataError(
            f"subset: expected {max(n, 1)} landmarks with at least "
            f"{settings.min_images} photos, train.csv has {len(fit)}; lower n_landmarks "
            f"or min_images"
        )
    if settings.choice == "random":
        taken = rng.permutation(fit)[:n]
    else:
        taken = fit[np.lexsort((ids[fit], -counts[fit]))[:n]]
    chosen = np.zeros(len(ids), bool)
    chosen[taken] = True
    return chosen


def _divided(
    labels: Sequence[Label],
    shares: Mapping[str, float],
    rest: str,
    n_kept: int,
    rng: np.random.Generator,
) -> Columns[Member]:
    """Give each split its share of every landmark, and what is left to ``rest``.

    ``rest`` has at least ``n_kept`` photos of each landmark.
    """
    columns = Columns.of(Label, labels)
    landmark, group = columns.column("landmark_id"), columns.column("group").tolist()
    _, inverse, counts = _counted(landmark)
    # (shares, landmarks): where in a random order of its photos each split ends
    upto = np.cumsum(list(shares.values()))[:, None]
    ends = np.floor(counts * upto + rng.random(len(counts)))
    ends = np.minimum(ends, counts - n_kept).astype(np.int64)
    if any(group):
        side = _whole_groups(group, inverse, np.diff(ends, axis=0, prepend=0), rng)
    else:
        side = (_rank_within(inverse, rng) >= ends[:, inverse]).sum(axis=0)
    names = np.array([*shares, rest], object)
    return Columns(Member, columns.column("image_id"), landmark, names[side])


def _counted(
    landmark: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.intp], NDArray[np.int64]]:
    """The ids that occur, the place of each element's among them, and their counts.

    As ``np.unique`` has it, and without a sort where the ids are not far apart.
    """
    if not len(landmark) or landmark.max() >= 2**22:
        return np.unique(landmark, return_inverse=True, return_counts=True)
    counts = np.bincount(landmark)
    ids = np.flatnonzero(counts)
    place = np.cumsum(counts > 0) - 1
    return ids, place[landmark], counts[ids]


def _rank_within(group: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.intp]:
    """For each element its place, from 0, in a random order of its group."""
    n = len(group)
    place, rank = np.empty_like(group), np.empty_like(group)
    place[np.argsort(rng.random(n))] = np.arange(n)
    order = np.argsort(group * n + place)  # one sort of whole numbers is quickest
    sizes = np.bincount(group)
    starts = np.cumsum(sizes) - sizes
    rank[order] = np.arange(n) - np.repeat(starts, sizes)
    return rank


def _whole_groups(
    group: Sequence[str],
    landmark: NDArray[np.intp],
    wanted: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """The split of each photo: groups, in random order, go where they still fit.

    ``wanted`` (splits, landmarks) says how many photos of a landmark a split may have
    at most; a group goes to the first that it does not overfill, or else to the rest,
    whose number is the one after the last.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for place, name in enumerate(group):
        groups[name or f"\0{place}"].append(place)
    side = np.full(len(group), len(wanted))
    left = wanted.copy()
    names = list(groups)
    for name in (names[i] for i in rng.permutation(len(names))):
        places = groups[name]
        taken = Counter(landmark[places].tolist())
        for k, room in enumerate(left):
            if all(room[i] >= n for i, n in taken.items()):
                side[places] = k
                for i, n in taken.items():
                    room[i] -= n
                break
    return side


def _places(start: float, end: float, n: int) -> slice:
    """The part of n places between two shares; parts that meet share no place."""
    return slice(round(start * n), round(end * n))
