"""Fit visual words to a sample of the local features of images."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans

from kaggle_kit import config
from kaggle_kit.errors import DataError
from kaggle_kit.local_features.sift import Features

SAMPLE = 200_000  # descriptors at most; a larger sample does not change the words


def fit_vocabulary(
    features: Sequence[Features], settings: config.Vlad, seed: int
) -> NDArray[np.float32]:
    """Cluster the descriptors of images by k-means; the words are the cluster centres.

    Args:
        features: of each image.
        seed: of the sample and of the initial centres. The result is reproducible.

    Returns:
        (words, 128) float32.

    Raises:
        DataError: there are fewer descriptors than words.
    """
    sample = _sample(features, np.random.default_rng(seed))
    if len(sample) < settings.words:
        raise DataError(
            f"visual words: expected at least {settings.words} local features, got "
            f"{len(sample)} in {len(features)} images; use more images or fewer words"
        )
    kmeans = MiniBatchKMeans(
        settings.words, batch_size=8192, n_init=1, max_iter=20, random_state=seed
    )
    return kmeans.fit(sample).cluster_centers_.astype(np.float32)


def _sample(
    features: Sequence[Features], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Draw at most ``SAMPLE`` descriptors of all images, uniformly; order is preserved."""
    counts = np.array([len(image.descriptors) for image in features], np.int64)
    total = int(counts.sum())
    rows = np.sort(rng.choice(total, min(total, SAMPLE), replace=False))
    image = np.searchsorted(np.cumsum(counts), rows, side="right")
    starts = np.cumsum(counts) - counts
    parts = [np.empty((0, 128), np.uint8)]
    for i in np.unique(image):
        parts.append(features[i].descriptors[rows[image == i] - starts[i]])
    return np.concatenate(parts).astype(np.float32)
