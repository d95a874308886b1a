"""The gallery photo of a landmark that is most like a photo; loads the bundle's networks."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kaggle_kit.inference.recogniser import Recogniser
from kaggle_kit.retrieval.knn import top_k


class Nearest(NamedTuple):
    """A gallery photo, and its cosine to the photo asked about."""

    image_id: str
    similarity: float


def nearest_images(
    bundle: Path, photos: Sequence[Path], landmarks: Sequence[Sequence[int]]
) -> list[dict[int, Nearest]]:
    """Embed some photos as the kernel does, and search each one's landmarks.

    This is by the embedding alone, before penalties and geometry.

    Args:
        landmarks: for each photo, those whose nearest gallery photo is wanted.

    Returns:
        For each photo, the nearest gallery photo by landmark id. A landmark of which the
        bundle has no photo is left out; a photo that does not decode has none.

    Raises:
        ArtefactError, ConfigError: the bundle is damaged.
    """
    nearest: list[dict[int, Nearest]] = [{} for _ in photos]
    with Recogniser.load(bundle, geometry_optional=True) as recogniser:
        gallery = recogniser.gallery
        embedded = recogniser.embedder.embed_all(photos, "mistakes")
    for place, vector in zip(
        embedded.positions.tolist(), embedded.vectors, strict=True
    ):
        for landmark in landmarks[place]:
            rows = np.flatnonzero(gallery.landmark_ids == landmark)
            if len(rows):
                cosines, best = top_k(vector[None], gallery.vectors[rows], 1)
                image_id = gallery.image_ids[rows[best[0, 0]]]
                nearest[place][landmark] = Nearest(image_id, float(cosines[0, 0]))
    return nearest
