"""Find the most similar gallery photo of a landmark; loads the networks of a bundle."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kaggle_kit import config
from kaggle_kit.backends.tensorflow import TensorFlowEngine
from kaggle_kit.inference.embedder import load_embedder
from kaggle_kit.local_features.extract import LocalReader
from kaggle_kit.retrieval.gallery import Gallery
from kaggle_kit.retrieval.knn import top_k


class Nearest(NamedTuple):
    """A gallery photo, and its cosine to the query."""

    image_id: str
    similarity: float


def nearest(
    bundle: Path, photos: Sequence[Path], landmarks: Sequence[Sequence[int]]
) -> list[dict[int, Nearest]]:
    """Embed photos as the kernel does, and find the nearest gallery photos of landmarks.

    The search uses the embedding only, without penalties and verification.

    Args:
        bundle: the folder of a bundle.
        photos: paths of the queries.
        landmarks: for each query, the landmarks to search.

    Returns:
        For each query, the nearest gallery photo by landmark id, without landmarks that
        are not in the gallery; empty if the photo does not decode.

    Raises:
        ArtefactError, ConfigError: the bundle is damaged.
    """
    settings = config.read_json(bundle / "config.json")
    reader = LocalReader(settings.local, TensorFlowEngine())
    embedder = load_embedder(bundle, settings.recognition, reader)
    gallery = Gallery.load(bundle / "gallery")
    results: list[dict[int, Nearest]] = [{} for _ in photos]
    embedded = embedder.embed(photos, "mistakes")
    for i, vector in zip(embedded.which.tolist(), embedded.vectors, strict=True):
        for landmark in landmarks[i]:
            rows = np.flatnonzero(gallery.landmark_ids == landmark)
            if len(rows):
                cosines, best = top_k(vector[None], gallery.vectors[rows], 1)
                image_id = gallery.image_ids[rows[best[0, 0]]]
                results[i][landmark] = Nearest(image_id, float(cosines[0, 0]))
    return results
