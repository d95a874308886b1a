"""Whitening, held against what it promises and against scikit-learn."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from kaggle_kit.errors import ArtefactError
from kaggle_kit.retrieval import whitening as whitenings
from kaggle_kit.retrieval.whitening import Whitening, unit, whitening_of


@pytest.fixture
def vectors():
    """300 vectors of very different spread along 12 axes, which are not the given ones."""
    rng = np.random.default_rng(0)
    turn, _ = np.linalg.qr(rng.normal(size=(12, 12)))
    spread = np.geomspace(5, 0.01, 12)
    return (rng.normal(size=(300, 12)) * spread @ turn + 3).astype(np.float32)


def test_is_that_of_scikit_learn(vectors):
    ours = whitening_of(vectors, 5)
    theirs = PCA(5, whiten=True).fit_transform(vectors)
    # theirs divides by n - 1, which is one factor for all and vanishes at length 1
    expected = unit(theirs)
    found = ours(vectors)
    signs = np.sign((found * expected).sum(axis=0))
    np.testing.assert_allclose(found, expected * signs, atol=2e-4)


def test_whitened_vectors_spread_alike_along_all_axes(vectors):
    ours = whitening_of(vectors, 12)
    raw = (vectors - ours.mean) @ ours.matrix
    np.testing.assert_allclose(np.cov(raw.T, bias=True), np.eye(12), atol=1e-2)
    assert np.linalg.norm(ours(vectors), axis=1) == pytest.approx(np.ones(300))


def test_no_more_axes_than_photos_or_numbers_allow(vectors):
    assert whitening_of(vectors, 50).matrix.shape == (12, 12)
    assert whitening_of(vectors[:4], 12).matrix.shape == (12, 3)
    assert whitening_of(np.ones((5, 3), np.float32), 2).matrix.shape[1] == 0


def test_within_landmarks_the_noise_is_evened_out_and_the_signal_is_left():
    """Landmarks differ along axis 0 a little; every photo differs along axis 1 a lot."""
    rng = np.random.default_rng(0)
    landmarks = np.repeat(np.arange(20), 15)
    places = rng.normal(size=20)[landmarks]
    noise = rng.normal(size=(300, 2)) * (0.1, 10)
    vectors = (np.stack([places, 0 * places], 1) + noise).astype(np.float32)

    def same_nearest(found):
        cosine = found @ found.T - 2 * np.eye(len(found))
        return (landmarks[cosine.argmax(axis=1)] == landmarks).mean()

    # a third axis, so that vectors at length 1 still differ in it
    vectors = np.c_[vectors, rng.normal(size=300).astype(np.float32) * 0.1]
    plain = same_nearest(whitening_of(vectors, 3)(vectors))
    within = same_nearest(whitening_of(vectors, 3, landmarks)(vectors))
    assert within > plain


def test_one_photo_of_each_landmark_is_whitened_as_if_landmarks_were_unknown(vectors):
    alone = whitening_of(vectors, 5, np.arange(300))
    np.testing.assert_array_equal(alone.matrix, whitening_of(vectors, 5).matrix)


def test_blocks_do_not_change_the_result(vectors, monkeypatch):
    landmarks = np.arange(300) // 6
    whole = whitening_of(vectors, 5, landmarks)
    monkeypatch.setattr(whitenings, "BLOCK", 7)
    np.testing.assert_allclose(
        whitening_of(vectors, 5, landmarks).matrix, whole.matrix, rtol=1e-3, atol=1e-5
    )


def test_is_saved_and_read_back(vectors, tmp_path):
    ours = whitening_of(vectors, 5)
    ours.save(tmp_path / "w.npz")
    again = Whitening.load(tmp_path / "w.npz")
    np.testing.assert_array_equal(again(vectors), ours(vectors))


@pytest.mark.parametrize(
    "content", [None, b"", b"noise", b"PK\x03\x04 a zip file no more"]
)
def test_a_damaged_file_is_named(content, tmp_path):
    path = tmp_path / "w.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ArtefactError, match=r"w\.npz: expected a whitening"):
        Whitening.load(path)


def test_a_vector_of_nothing_stays_nothing():
    assert (unit(np.zeros((1, 3), np.float32)) == 0).all()
