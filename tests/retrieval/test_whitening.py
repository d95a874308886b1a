"""Whitening, compared with its definition and with scikit-learn."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from kaggle_kit.errors import ArtefactError
from kaggle_kit.retrieval import whitening as whitenings
from kaggle_kit.retrieval.whitening import Whitening, fit_whitening, normalise


@pytest.fixture
def vectors():
    """300 vectors with very different variances along 12 rotated axes."""
    rng = np.random.default_rng(0)
    rotation, _ = np.linalg.qr(rng.normal(size=(12, 12)))
    deviations = np.geomspace(5, 0.01, 12)
    return (rng.normal(size=(300, 12)) * deviations @ rotation + 3).astype(np.float32)


def test_whitening_agrees_with_scikit_learn(vectors):
    whitening = fit_whitening(vectors, 5)
    reference = PCA(5, whiten=True).fit_transform(vectors)
    # PCA divides by n - 1; this common factor vanishes after normalisation
    expected = normalise(reference)
    result = whitening(vectors)
    signs = np.sign((result * expected).sum(axis=0))
    np.testing.assert_allclose(result, expected * signs, atol=2e-4)


def test_whitened_vectors_have_the_same_variance_along_all_axes(vectors):
    whitening = fit_whitening(vectors, 12)
    raw = (vectors - whitening.mean) @ whitening.matrix
    np.testing.assert_allclose(np.cov(raw.T, bias=True), np.eye(12), atol=1e-2)
    assert np.linalg.norm(whitening(vectors), axis=1) == pytest.approx(np.ones(300))


def test_no_more_axes_than_images_or_dimensions_allow(vectors):
    assert fit_whitening(vectors, 50).matrix.shape == (12, 12)
    assert fit_whitening(vectors[:4], 12).matrix.shape == (12, 3)
    assert fit_whitening(np.ones((5, 3), np.float32), 2).matrix.shape[1] == 0


def test_whitening_within_landmarks_suppresses_noise_and_keeps_signal():
    """Landmarks differ a little along axis 0; all images differ a lot along axis 1."""
    rng = np.random.default_rng(0)
    landmarks = np.repeat(np.arange(20), 15)
    signal = rng.normal(size=20)[landmarks]
    noise = rng.normal(size=(300, 2)) * (0.1, 10)
    vectors = (np.stack([signal, 0 * signal], 1) + noise).astype(np.float32)

    def nearest_precision(x):
        cosine = x @ x.T - 2 * np.eye(len(x))
        return (landmarks[cosine.argmax(axis=1)] == landmarks).mean()

    # a third axis, so that unit vectors still differ
    vectors = np.c_[vectors, rng.normal(size=300).astype(np.float32) * 0.1]
    total = nearest_precision(fit_whitening(vectors, 3)(vectors))
    within = nearest_precision(fit_whitening(vectors, 3, landmarks)(vectors))
    assert within > total


def test_landmarks_with_one_image_each_do_not_change_the_whitening(vectors):
    within = fit_whitening(vectors, 5, np.arange(300))
    np.testing.assert_array_equal(within.matrix, fit_whitening(vectors, 5).matrix)


def test_blocks_do_not_change_the_result(vectors, monkeypatch):
    landmarks = np.arange(300) // 6
    whole = fit_whitening(vectors, 5, landmarks)
    monkeypatch.setattr(whitenings, "FIT_BLOCK", 7)
    np.testing.assert_allclose(
        fit_whitening(vectors, 5, landmarks).matrix, whole.matrix, rtol=1e-3, atol=1e-5
    )


def test_a_whitening_survives_save_and_load(vectors, tmp_path):
    whitening = fit_whitening(normalise(vectors), 5)
    whitening.save(tmp_path / "w.npz")
    copy = Whitening.load(tmp_path / "w.npz")
    np.testing.assert_array_equal(copy(vectors), whitening(vectors))


@pytest.mark.parametrize(
    "content", [None, b"", b"noise", b"PK\x03\x04 a zip file no more"]
)
def test_a_damaged_file_is_named(content, tmp_path):
    path = tmp_path / "w.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ArtefactError, match=r"w\.npz: expected a whitening"):
        Whitening.load(path)


def test_a_zero_vector_stays_zero():
    assert (normalise(np.zeros((1, 3), np.float32)) == 0).all()
