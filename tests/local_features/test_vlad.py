"""VLAD, compared with a slow implementation of its definition, and the words on disk."""

import numpy as np
import pytest

from kaggle_kit.errors import ArtefactError
from kaggle_kit.local_features.vlad import Vocabulary, vlad


def slow_vlad(descriptors, words):
    sums = [[0.0] * len(words[0]) for _ in words]
    for x in descriptors:
        distances = [sum((float(a) - b) ** 2 for a, b in zip(x, w)) for w in words]
        nearest = distances.index(min(distances))
        for i, (a, b) in enumerate(zip(x, words[nearest])):
            sums[nearest][i] += float(a) - b
    vector = []
    for row in sums:
        length = sum(v * v for v in row) ** 0.5
        vector += [v / length if length else 0.0 for v in row]
    length = sum(v * v for v in vector) ** 0.5
    return [v / length if length else 0.0 for v in vector]


def random_descriptors(n, seed=0, d=128):
    """(n, d) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (n, d), np.uint8)


@pytest.mark.parametrize("n", [1, 3, 40])
def test_agrees_with_definition(n):
    descriptors, words = (
        random_descriptors(n),
        random_descriptors(5, seed=1).astype(np.float32),
    )
    expected = slow_vlad(descriptors.tolist(), words.tolist())
    np.testing.assert_allclose(vlad(descriptors, words), expected, atol=1e-5)


def test_a_vector_has_unit_length_and_does_not_depend_on_the_order_of_points():
    descriptors, words = (
        random_descriptors(50),
        random_descriptors(4, seed=1).astype(np.float32),
    )
    vector = vlad(descriptors, words)
    assert vector.shape == (4 * 128,)
    assert vector.dtype == np.float32
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(vlad(descriptors[::-1], words), vector, atol=1e-5)


def test_an_image_without_points_has_a_zero_vector():
    vector = vlad(
        np.empty((0, 128), np.uint8), random_descriptors(4).astype(np.float32)
    )
    assert vector.shape == (4 * 128,)
    assert not vector.any()


def test_descriptors_that_equal_words_have_no_residuals():
    words = random_descriptors(4)
    assert not vlad(words, words.astype(np.float32)).any()


def test_words_survive_saving(tmp_path):
    words = random_descriptors(4).astype(np.float32) / 4
    Vocabulary(words).save(tmp_path / "words.npy")
    np.testing.assert_array_equal(Vocabulary.load(tmp_path / "words.npy").words, words)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 128)),
        np.zeros(128, np.float32),
        np.zeros((0, 128), np.float32),
        np.full((4, 128), np.nan, np.float32),
    ],
)
def test_other_arrays_are_refused(tmp_path, array):
    np.save(tmp_path / "words.npy", array)
    with pytest.raises(ArtefactError, match="make the bundle again"):
        Vocabulary.load(tmp_path / "words.npy")


def test_missing_and_damaged_words_are_refused(tmp_path):
    path = tmp_path / "words.npy"
    with pytest.raises(ArtefactError):
        Vocabulary.load(path)
    Vocabulary(random_descriptors(4).astype(np.float32) / 4).save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ArtefactError):
        Vocabulary.load(path)
    path.write_bytes(b"")
    with pytest.raises(ArtefactError):
        Vocabulary.load(path)
