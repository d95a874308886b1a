"""Find the most similar gallery image of a landmark; loads the networks of a bundle."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kaggle_kit.inference.recogniser import Recogniser
from kaggle_kit.retrieval.knn import top_k


class Nearest(NamedTuple):
    """A gallery image, and its cosine to the query."""

    image_id: str
    similarity: float


def nearest_images(
    bundle: Path, images: Sequence[Path], landmarks: Sequence[Sequence[int]]
) -> list[dict[int, Nearest]]:
    """Embed images as the kernel does, and find the nearest gallery images of landmarks.

    The search uses the embedding only, without penalties and verification.

    Args:
        bundle: the folder of a bundle.
        images: paths of the queries.
        landmarks: for each query, the landmarks to search.

    Returns:
        For each query, the nearest gallery image by landmark id, without landmarks that
        are not in the gallery; empty if the image does not decode.

    Raises:
        ArtefactError, ConfigError: the bundle is damaged.
    """
    results: list[dict[int, Nearest]] = [{} for _ in images]
    with Recogniser.load(bundle, geometry_optional=True) as recogniser:
        gallery = recogniser.gallery
        embeddings = recogniser.embedder.embed_all(images, "mistakes")
    pairs = zip(embeddings.positions.tolist(), embeddings.vectors, strict=True)
    for i, vector in pairs:
        for landmark in landmarks[i]:
            rows = np.flatnonzero(gallery.landmark_ids == landmark)
            if len(rows):
                cosines, best = top_k(vector[None], gallery.vectors[rows], 1)
                image_id = gallery.image_ids[rows[best[0, 0]]]
                results[i][landmark] = Nearest(image_id, float(cosines[0, 0]))
    return results
