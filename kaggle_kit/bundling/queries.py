"""The images that a bundle is made from and scored on: those of a run's subset."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from kaggle_kit import config
from kaggle_kit.config import Config
from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.data.near_duplicates import hash_files
from kaggle_kit.data.non_landmark_sources import find_images
from kaggle_kit.data.non_landmarks import (
    PoolCounts,
    Pools,
    check_listed,
    count_pools,
    find_candidates,
    make_pools,
    read_record,
)
from kaggle_kit.errors import DataError
from kaggle_kit.storage import tables
from kaggle_kit.storage.tables import Member


class Query(NamedTuple):
    """An image and its landmark; None for no landmark."""

    image_id: str
    path: Path
    landmark_id: int | None


class Queries(NamedTuple):
    """The images of each split, and where those without a landmark come from."""

    by_split: dict[str, list[Query]]
    non_landmarks: PoolCounts


def subset_queries(
    run: Path, settings: Config, files: Competition, non_landmarks: Sequence[Path]
) -> Queries:
    """The images of a run's subset, by split.

    The pools of non-landmarks are made here in two cases: the subset has none, as after a
    training on Kaggle, or ``settings`` ask for other pools than the run's config.

    Args:
        settings: of the bundle.
        non_landmarks: what the user lists as non-landmarks, as for ``subset``.

    Raises:
        DataError: images of the pools are missing, or too few.
    """
    wanted = settings.subset
    check_listed(wanted.non_landmarks.source, non_landmarks)
    members = tables.read_subset(run / "subset.csv")
    labelled = [m for m in members if m.landmark_id is not None]
    pools = _read_pools(run, settings, members, files, non_landmarks)
    if pools is None:
        candidates = find_candidates(wanted.non_landmarks, files, non_landmarks)
        hashes = None
        if candidates and wanted.near_duplicates == "together":
            hashes = hash_files(
                [image_path(files.train_dir, m.image_id) for m in labelled]
            )
        pools = make_pools(wanted, settings.seed, files, candidates, hashes)
    by_split: dict[str, list[Query]] = {split: [] for split in tables.SPLITS}
    for image_id, landmark_id, split in [*labelled, *pools.members]:
        path = pools.paths.get(image_id) or image_path(files.train_dir, image_id)
        by_split[split].append(Query(image_id, path, landmark_id))
    return Queries(by_split, pools.counts)


def _read_pools(
    run: Path,
    settings: Config,
    members: Sequence[Member],
    files: Competition,
    non_landmarks: Sequence[Path],
) -> Pools | None:
    """The pools in a run's subset; None if it has none, or not those of the settings."""
    record = read_record(run)
    pooled = [m for m in members if m.landmark_id is None]
    before = config.read_json(run / "config.json")
    same = settings.subset.non_landmarks == before.subset.non_landmarks
    if not (same and (record or pooled)):
        return None
    if record is None:  # of a version that knew one source
        record = count_pools("unlisted", pooled)
    if record.source in ("none", "unlisted"):
        return Pools(pooled, {}, record)  # they are in train/, as the others
    found = find_images(record.source, files, non_landmarks)
    missing = [m.image_id for m in pooled if m.image_id not in found]
    if missing:
        raise DataError(
            f"{run}: expected the {len(pooled)} non-landmark images of its subset "
            f"({record.origin}), found {len(pooled) - len(missing)}; give the same "
            f"--competition and --non-landmarks as for the subset"
        )
    return Pools(pooled, {m.image_id: found[m.image_id] for m in pooled}, record)
