"""Which landmarks a bundle holds, to tell those that it does not hold from confusion."""

from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.storage import tables
from kaggle_kit.storage.manifest import MANIFEST, read_manifest


def read_known_landmarks(folder: str | Path) -> frozenset[int] | None:
    """The landmarks that a bundle holds, those of its gallery; of a run, its classes.

    Of a bundle only what its manifest lists is read.

    Returns:
        None if the folder has neither a gallery nor classes.

    Raises:
        ArtefactError: the manifest of a bundle is damaged.
        TableError: the table of the gallery or of the classes is malformed.
    """
    folder = Path(folder)
    gallery, classes = folder / "gallery" / "gallery.csv", folder / "classes.csv"
    is_bundle = (folder / MANIFEST).exists()
    listed = read_manifest(folder).files if is_bundle else None
    if gallery.exists() and (listed is None or "gallery/gallery.csv" in listed):
        return frozenset(tables.read_labels(gallery).column("landmark_id").tolist())
    if classes.exists() and (listed is None or classes.name in listed):
        return frozenset(row.landmark_id for row in tables.read_classes(classes))
    return None


def find_unknown(
    shown: Iterable[Collection[int]], landmarks: Collection[int] | None
) -> NDArray[np.bool_]:
    """Whether each image shows landmarks, but none of the known ones.

    Args:
        shown: the landmarks of n images.
        landmarks: the known ones; None: all.

    Returns:
        (n,) bools.

    >>> find_unknown([{7}, {7, 8}, {8}, set()], landmarks={8})
    array([ True, False, False, False])
    """
    known = None if landmarks is None else frozenset(landmarks)
    return np.array(
        [known is not None and bool(ids) and known.isdisjoint(ids) for ids in shown],
        bool,
    )
