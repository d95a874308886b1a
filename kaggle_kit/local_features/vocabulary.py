"""The visual words of a collection, fitted to a sample of its local features."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans

from kaggle_kit import config
from kaggle_kit.errors import DataError
from kaggle_kit.local_features.sift import Features

SAMPLE = 200_000  # descriptors at most; more move the words no further


def fit_vocabulary(
    features: Sequence[Features], settings: config.Vlad, seed: int
) -> NDArray[np.float32]:
    """The means that descriptors gather around, (words, 128) float32.

    Args:
        features: of the photos to describe.
        seed: of the sample and of the first means; the same gives the same words.

    Raises:
        DataError: there are fewer descriptors than words.
    """
    sample = _sample(features, np.random.default_rng(seed))
    if len(sample) < settings.words:
        raise DataError(
            f"visual words: expected at least {settings.words} local features, got "
            f"{len(sample)} in {len(features)} photos; use more photos or fewer words"
        )
    means = MiniBatchKMeans(
        settings.words, batch_size=8192, n_init=1, max_iter=20, random_state=seed
    )
    return means.fit(sample).cluster_centers_.astype(np.float32)


def _sample(
    features: Sequence[Features], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Descriptors of all photos, at most ``SAMPLE``, chosen evenly, in their order."""
    counts = np.array([len(photo.descriptors) for photo in features], np.int64)
    total = int(counts.sum())
    chosen = np.sort(rng.choice(total, min(total, SAMPLE), replace=False))
    photo = np.searchsorted(np.cumsum(counts), chosen, side="right")
    starts = np.cumsum(counts) - counts
    parts = [np.empty((0, 128), np.uint8)]
    for i in np.unique(photo):
        parts.append(features[i].descriptors[chosen[photo == i] - starts[i]])
    return np.concatenate(parts).astype(np.float32)
