"""Choose landmarks and photos, and split them so that validation means something."""

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kaggle_kit import config, tables
from kaggle_kit.data.index import photo_ids
from kaggle_kit.errors import DataError
from kaggle_kit.paths import Competition, written_dir
from kaggle_kit.tables import Class, Label, Member

logger = logging.getLogger(__name__)
MARKER = "subset.csv"


def subset(
    settings: config.Subset, seed: int, competition: Path, out: Path
) -> dict[str, int]:
    """Write the folder ``out``: ``subset.csv`` and ``classes.csv``.

    The same settings, seed and files give the same bytes. The image tree is walked only
    when a pool of non-landmarks is asked for.

    Returns:
        How many landmarks, and how many photos in each split.

    Raises:
        DataError: no landmark fits the settings.
    """
    place = Competition(Path(competition)).require("train.csv")
    labels = tables.read_labels(place.train_csv, settings.group_column)
    rng = np.random.default_rng(seed)
    members = split(choose(labels, settings, rng), settings.validation_share, rng)
    if any(settings.non_landmarks.model_dump().values()):
        place.require("train")
        listed = {label.image_id for label in labels}
        others = sorted(set(photo_ids(place.train_dir)) - listed)
        members += pools(others, settings.non_landmarks, rng)
    classes = classes_of(members)
    with written_dir(out, MARKER) as part:
        tables.write_rows(part / MARKER, ("id", "landmark_id", "split"), members)
        rows = [(i, *row) for i, row in enumerate(classes)]
        tables.write_rows(
            part / "classes.csv", ("class", "landmark_id", "n_images"), rows
        )
    sizes = Counter(member.split for member in members)
    return {"landmarks": len(classes)} | {name: sizes[name] for name in tables.SPLITS}


def choose(
    labels: Sequence[Label], settings: config.Subset, rng: np.random.Generator
) -> list[Label]:
    """The photos that take part, in the order given.

    First the landmarks: those of ``settings.landmarks``, or those with at least
    ``min_images`` photos, and of these ``n_landmarks`` by ``choice`` (ties by landmark
    id). Then the photos: at most ``max_images`` of each, drawn with ``rng``.

    Raises:
        DataError: a landmark that is asked for is not there, or too few fit.
    """
    landmark = np.array([label.landmark_id for label in labels], np.int64)
    ids, inverse, counts = np.unique(landmark, return_inverse=True, return_counts=True)
    chosen = _landmarks(ids, counts, settings, rng)
    keep = chosen[inverse]
    if settings.max_images:
        keep &= _rank_within(inverse, rng) < settings.max_images
    return [label for label, kept in zip(labels, keep, strict=True) if kept]


def split(
    labels: Sequence[Label], validation_share: float, rng: np.random.Generator
) -> list[Member]:
    """Divide photos into train and validation, landmark by landmark.

    A landmark of n photos gives n * share of them to validation, rounded up or down at
    random so that rare landmarks have their share too, and always keeps one in train.
    Photos of one group stay on one side; a group is moved only as a whole and only
    where no landmark gives more than its number.
    """
    landmark = np.array([label.landmark_id for label in labels], np.int64)
    _, inverse, counts = np.unique(landmark, return_inverse=True, return_counts=True)
    wanted = np.floor(counts * validation_share + rng.random(len(counts)))
    wanted = np.minimum(wanted, counts - 1).astype(np.int64)
    if any(label.group for label in labels):
        held_out = _whole_groups(labels, inverse, wanted, rng)
    else:
        held_out = _rank_within(inverse, rng) < wanted[inverse]
    return [
        Member(label.image_id, label.landmark_id, "validation" if out else "train")
        for label, out in zip(labels, held_out, strict=True)
    ]


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
    """The classes of a subset, by landmark id, with their number of training photos."""
    n_train = Counter(m.landmark_id for m in members if m.split == "train")
    landmarks = {m.landmark_id for m in members if m.landmark_id is not None}
    return [Class(landmark, n_train[landmark]) for landmark in sorted(landmarks)]


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


def _rank_within(
    group: NDArray[np.intp], rng: np.random.Generator
) -> NDArray[np.int64]:
    """For each element its place, from 0, in a random order of its group."""
    order = np.lexsort((rng.random(len(group)), group))
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    sizes = np.diff(starts, append=len(group))
    rank = np.empty(len(group), np.int64)
    rank[order] = np.arange(len(group)) - np.repeat(starts, sizes)
    return rank


def _whole_groups(
    labels: Sequence[Label],
    landmark: NDArray[np.intp],
    wanted: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Hold out groups, in random order, while no landmark exceeds its number."""
    groups: dict[str, list[int]] = defaultdict(list)
    for place, label in enumerate(labels):
        groups[label.group or f"\0{place}"].append(place)
    held_out = np.zeros(len(labels), bool)
    left = wanted.copy()
    names = list(groups)
    for name in (names[i] for i in rng.permutation(len(names))):
        places = groups[name]
        taken = Counter(landmark[places].tolist())
        if all(left[k] >= n for k, n in taken.items()):
            held_out[places] = True
            for k, n in taken.items():
                left[k] -= n
    return held_out


def _places(start: float, end: float, n: int) -> slice:
    """The part of n places between two shares; parts that meet share no place."""
    return slice(round(start * n), round(end * n))
