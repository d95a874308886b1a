"""Visual words: cluster centres of descriptors, the same for the same seed."""

import numpy as np
import pytest

from kaggle_kit import config
from kaggle_kit.errors import DataError
from kaggle_kit.local_features import vocabulary
from kaggle_kit.local_features.sift import Features
from kaggle_kit.local_features.vocabulary import fit_vocabulary


def image(descriptors):
    n = len(descriptors)
    return Features(np.zeros((n, 2), np.float32), descriptors, np.ones(n, np.float32))


@pytest.fixture
def centres():
    return np.random.default_rng(0).integers(40, 200, (6, 128))


@pytest.fixture
def images(centres):
    """Images whose descriptors cluster around six centres; some images have none."""
    rng = np.random.default_rng(1)
    counts = [0, 30, 1, 0, 80, 200, 0]
    return [
        image(
            (centres[rng.integers(0, 6, n)] + rng.integers(-3, 4, (n, 128))).astype(
                np.uint8
            )
        )
        for n in counts
    ]


def test_words_are_the_centres_of_clusters(images, centres):
    words = fit_vocabulary(images, config.Vlad(words=6), seed=0)
    assert words.shape == (6, 128)
    assert words.dtype == np.float32
    distance = np.linalg.norm(words[:, None] - centres[None], axis=2)
    assert sorted(distance.argmin(axis=1)) == list(range(6))
    assert distance.min(axis=1).max() < 10


def test_the_same_seed_gives_the_same_words(images, monkeypatch):
    monkeypatch.setattr(vocabulary, "SAMPLE", 100)
    first, second, other = (
        fit_vocabulary(images, config.Vlad(words=4), seed) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_the_sample_is_bounded_and_drawn_from_the_images(images, monkeypatch):
    monkeypatch.setattr(vocabulary, "SAMPLE", 50)
    sample = vocabulary._sample(images, np.random.default_rng(0))
    descriptors = {row.tobytes() for p in images for row in p.descriptors}
    assert len(sample) == 50
    assert {row.tobytes() for row in sample.astype(np.uint8)} <= descriptors


def test_a_small_collection_is_sampled_whole(images):
    sample = vocabulary._sample(images, np.random.default_rng(0))
    np.testing.assert_array_equal(
        sample, np.concatenate([p.descriptors for p in images])
    )


def test_fewer_descriptors_than_words_are_refused():
    empty = image(np.empty((0, 128), np.uint8))
    with pytest.raises(DataError, match="at least 64 local features, got 0"):
        fit_vocabulary([empty, empty], config.Vlad(words=64), seed=0)
    with pytest.raises(DataError):
        fit_vocabulary([], config.Vlad(words=64), seed=0)
