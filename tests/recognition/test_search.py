"""Exact search, held against a full sort, and the gallery on disk."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from kaggle_kit.errors import ArtefactError
from kaggle_kit.recognition import search
from kaggle_kit.recognition.search import Gallery, mean_top, top_k


def units(n, d, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("n", "q", "k"), [(100, 7, 5), (5, 3, 10), (1, 1, 1), (97, 33, 97)]
)
def test_finds_what_another_library_finds(n, q, k, monkeypatch):
    monkeypatch.setattr(search, "QUERY_BLOCK", 8)
    monkeypatch.setattr(search, "GALLERY_BLOCK", 16)
    gallery, queries = units(n, 12), units(q, 12, seed=1)
    cosines, rows = top_k(queries, gallery, k)
    theirs = NearestNeighbors(n_neighbors=min(k, n), metric="cosine").fit(gallery)
    distances, neighbours = theirs.kneighbors(queries)
    np.testing.assert_array_equal(rows, neighbours)
    np.testing.assert_allclose(cosines, 1 - distances, atol=1e-5)


@pytest.mark.parametrize("block", [4, 1000])
@pytest.mark.parametrize("k", [1, 3, 20, 150, 300])
@pytest.mark.parametrize("seed", range(5))
def test_ties_are_in_the_order_of_their_rows(seed, k, block, monkeypatch):
    """Those that are left out, too: of equally similar photos the first ones stay."""
    monkeypatch.setattr(search, "GALLERY_BLOCK", block)
    rng = np.random.default_rng(seed)
    gallery = np.eye(3, dtype=np.float32)[rng.integers(0, 3, 300)]
    queries = np.eye(3, dtype=np.float32)
    cosines, rows = top_k(queries, gallery, k)
    for query, found, order in zip(queries, cosines, rows, strict=True):
        exact = gallery @ query
        expected = np.lexsort((np.arange(300), -exact))[:k]
        np.testing.assert_array_equal(order, expected)
        np.testing.assert_array_equal(found, exact[expected])


def test_an_empty_gallery_has_no_neighbours():
    cosines, rows = top_k(units(3, 4), np.empty((0, 4), np.float16), 5)
    assert cosines.shape == rows.shape == (3, 0)
    assert mean_top(units(3, 4), np.empty((0, 4), np.float16), 5).tolist() == [0, 0, 0]


def test_no_queries_find_nothing():
    assert top_k(np.empty((0, 4), np.float32), units(3, 4), 2)[0].shape == (0, 2)


def test_mean_top_is_the_mean_of_the_largest():
    gallery, queries = units(50, 8), units(6, 8, seed=1)
    expected = np.sort(queries @ gallery.T, axis=1)[:, -5:].mean(axis=1)
    np.testing.assert_allclose(mean_top(queries, gallery, 5), expected, atol=1e-6)


@pytest.fixture
def gallery():
    return Gallery(
        ["0123456789012345", "1234e56789012345", "abc0000000000000"],
        np.array([7, 8, 7]),
        units(3, 4).astype(np.float16),
        np.array([0.1, 0.2, 0.3], np.float32),
        units(2, 4, seed=1).astype(np.float16),
    )


def test_a_gallery_survives_save_and_load(gallery, tmp_path):
    gallery.save(tmp_path / "g")
    loaded = Gallery.load(tmp_path / "g")
    assert loaded.image_ids == gallery.image_ids
    for name in ("landmark_ids", "vectors", "penalties", "non_landmarks"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(gallery, name))


def test_a_gallery_of_some_landmarks_keeps_their_rows_together(gallery):
    part = gallery.of_landmarks({7, 99})
    assert part.image_ids == ["0123456789012345", "abc0000000000000"]
    np.testing.assert_array_equal(part.vectors, gallery.vectors[[0, 2]])
    np.testing.assert_array_equal(part.penalties, gallery.penalties[[0, 2]])


def test_a_damaged_gallery_is_refused(gallery, tmp_path):
    gallery.save(tmp_path / "g")
    np.save(tmp_path / "g" / "penalties.npy", np.zeros(2, np.float32))
    with pytest.raises(ArtefactError, match="3 rows of gallery.csv"):
        Gallery.load(tmp_path / "g")
    (tmp_path / "g" / "vectors.npy").write_bytes(b"no array")
    with pytest.raises(ArtefactError, match="make the bundle again"):
        Gallery.load(tmp_path / "g")


def test_a_gallery_that_holds_objects_is_refused(gallery, tmp_path):
    """A pickled array could run code when it is read."""
    gallery.save(tmp_path / "g")
    harmful = np.array([{"a": 1}] * 3, object)
    np.save(tmp_path / "g" / "vectors.npy", harmful, allow_pickle=True)
    with pytest.raises(ArtefactError):
        Gallery.load(tmp_path / "g")
