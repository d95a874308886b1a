"""Exact search, held against a full sort, and the gallery on disk."""

import sys

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from kaggle_kit.errors import ArtefactError
from kaggle_kit.retrieval import knn, matmul
from kaggle_kit.retrieval.gallery import Gallery
from kaggle_kit.retrieval.knn import mean_top, top_k
from kaggle_kit.retrieval.matmul import NumPy, TensorFlow


def units(n, d, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("n", "q", "k"), [(100, 7, 5), (5, 3, 10), (1, 1, 1), (97, 33, 97)]
)
def test_finds_what_another_library_finds(n, q, k, monkeypatch):
    monkeypatch.setattr(knn, "QUERY_BLOCK", 8)
    monkeypatch.setattr(knn, "GALLERY_BLOCK", 16)
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
    monkeypatch.setattr(knn, "GALLERY_BLOCK", block)
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


# The same is found by every arithmetic, among whatever else.


class Worst(NumPy):
    """Products as far off as is allowed, up or down at random."""

    rounding, result_rounding = 2.0**-5, 2.0**-6

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)

    def above(self, queries, block, floor):
        found = queries @ block.T
        of_sums = 2 * self.rounding * np.linalg.norm(queries, axis=1, keepdims=True)
        of_sums = of_sums * np.linalg.norm(block, axis=1)
        found += self.rng.choice([-1, 1], found.shape) * of_sums
        found *= 1 + self.rng.choice([-1, 1], found.shape) * self.result_rounding
        found = found.astype(np.float32)
        which = np.flatnonzero(found.max(axis=1) > floor)
        return which, found[which]


PRODUCTS = {
    "numpy": NumPy,
    "tensorflow": lambda: TensorFlow("float32"),
    "bfloat16": lambda: TensorFlow("bfloat16"),
    "worst": Worst,
}


def by_definition(queries, gallery, k):
    """Every cosine by itself, then a sort by cosine and row."""
    wide = gallery.astype(np.float32)
    cosines, rows = [], []
    for query in queries.astype(np.float32):
        pairs = np.broadcast_to(query, wide.shape)
        exact = np.einsum("ij,ij->i", np.ascontiguousarray(pairs), wide)
        np.testing.assert_allclose(exact, wide.astype(float) @ query, 1e-4, 1e-5)
        order = np.lexsort((np.arange(len(wide)), -exact))[:k]
        cosines.append(exact[order])
        rows.append(order)
    return np.array(cosines), np.array(rows)


def with_repeats(n, d, seed, share):
    """Unit vectors in float16, of which a share repeats others and some are zero."""
    rng = np.random.default_rng(seed)
    vectors = units(n, d, seed).astype(np.float16)
    again = rng.random(n) < share
    vectors[again] = vectors[rng.integers(0, max(1, n // 20), again.sum())]
    vectors[rng.random(n) < 0.05] = 0
    return vectors


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize(
    ("n", "q", "k", "blocks"),
    [
        (500, 33, 10, (8, 64)),  # no multiples
        (500, 1, 10, (1024, 4096)),
        (70, 9, 100, (4, 16)),  # more than there are
        (64, 16, 7, (16, 32)),  # multiples
        (300, 20, 40, (7, 13)),  # more than a block has
        (1, 3, 2, (2, 2)),
    ],
)
@pytest.mark.parametrize("share", [0.0, 0.9, 1.0])
def test_agrees_with_the_definition(name, n, q, k, blocks, share, monkeypatch):
    """Bit for bit, with repeated and zero rows, and queries that are zero."""
    monkeypatch.setattr(knn, "QUERY_BLOCK", blocks[0])
    monkeypatch.setattr(knn, "GALLERY_BLOCK", blocks[1])
    monkeypatch.setattr(knn, "QUERIES_AT_ONCE", 16)
    monkeypatch.setattr(knn, "PAIRS", 50)
    gallery = with_repeats(n, 24, n, share)
    queries = np.concatenate([gallery[: q // 2], units(q - q // 2, 24, seed=5)])
    queries[q // 3] = 0
    cosines, rows = top_k(queries, gallery, k, PRODUCTS[name]())
    exact, expected = by_definition(queries, gallery, k)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(cosines, exact)
    assert cosines.dtype == np.float32 and rows.dtype == np.int64


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("scale", [0.01, 40.0])
def test_vectors_of_any_length_are_searched_exactly(name, scale, monkeypatch):
    monkeypatch.setattr(knn, "GALLERY_BLOCK", 32)
    lengths = np.random.default_rng(2).random((300, 1)) * scale
    gallery = (units(300, 24) * lengths).astype(np.float16)
    queries = units(20, 24, seed=1) * np.float32(scale)
    found = top_k(queries, gallery, 12, PRODUCTS[name]())
    for got, expected in zip(found, by_definition(queries, gallery, 12), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("order", [1, -1])
def test_a_gallery_in_order_of_similarity_is_searched_exactly(order, monkeypatch):
    """Growing ones are all better than those before."""
    monkeypatch.setattr(knn, "GALLERY_BLOCK", 50)
    query, gallery = units(1, 24), units(1000, 24, seed=1)
    gallery = gallery[np.argsort(order * (gallery @ query[0]))]
    for got, expected in zip(
        top_k(query, gallery, 9), by_definition(query, gallery, 9), strict=True
    ):
        np.testing.assert_array_equal(got, expected)


def test_a_photo_finds_the_same_alone_as_among_others():
    queries, gallery = units(300, 64), units(900, 64, seed=1).astype(np.float16)
    together = top_k(queries, gallery, 5)
    for i in (0, 17, 299):
        for one, all_ in zip(top_k(queries[i : i + 1], gallery, 5), together):
            np.testing.assert_array_equal(one[0], all_[i])


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_are_no_further_off_than_they_say(name):
    """Else a neighbour could be missed."""
    queries, block = units(200, 100), units(300, 100, seed=1)
    product = PRODUCTS[name]()
    everything = np.full(200, -np.inf, np.float32)
    operands = product.prepared(queries), product.prepared(block)
    which, found = product.above(*operands, everything)
    assert which.tolist() == list(range(200)) and found.dtype == np.float32
    exact = queries.astype(np.float64) @ block.T
    allowed = 2.02 * product.rounding + 1e-5
    allowed = allowed + 1.01 * product.result_rounding * np.abs(found)
    assert (np.abs(found - exact) <= allowed + (0.01 if name == "worst" else 0)).all()
    some, its = product.above(*operands, np.full(200, 0.3, np.float32))
    assert 0 < len(some) < 200
    assert (its.max(axis=1) > 0.3).all() and len(its) == len(some)


def test_a_small_search_does_without_tensorflow(monkeypatch):
    assert isinstance(matmul.suited(1e6), NumPy)
    monkeypatch.setitem(sys.modules, "tensorflow", None)  # not installed
    assert isinstance(matmul.suited(1e15), NumPy)


def test_a_gpu_is_used_where_there_is_one(monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    assert isinstance(matmul.suited(1e15), TensorFlow)
    assert matmul.suited(1e15).rounding == 2.0**-11


def test_a_large_search_takes_the_quickest_arithmetic(monkeypatch):
    monkeypatch.setattr(matmul, "TRIAL", (16, 32, 8))
    seconds = {0.0: 3, 2.0**-11: 2, 2.0**-8: 1}
    monkeypatch.setattr(matmul, "_seconds", lambda way, *_: seconds[way.rounding])
    matmul._quickest.cache_clear()
    try:
        assert matmul._quickest().rounding == 2.0**-8
    finally:
        matmul._quickest.cache_clear()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_mapped_gallery_does_not_stay_in_memory(tmp_path):
    """80 MB on disk, of which a block or so is resident after the search."""
    path = tmp_path / "vectors.npy"
    np.save(path, np.tile(units(1000, 64).astype(np.float16), (640, 1)))
    gallery = np.load(path, mmap_mode="r")
    before = _mapped_kb()
    _, rows = top_k(units(5, 64, seed=1), gallery, 3)
    assert _mapped_kb() - before < 20_000
    np.testing.assert_array_equal(
        rows, top_k(units(5, 64, seed=1), np.array(gallery), 3)[1]
    )
    gallery.sum()  # what a search would do that left its pages mapped
    assert _mapped_kb() - before > 60_000


def _mapped_kb():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if "RssFile" in line)


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_a_mapped_gallery_is_searched_as_one_in_memory(mode, tmp_path, monkeypatch):
    """Also one that was changed in memory alone."""
    monkeypatch.setattr(knn, "GALLERY_BLOCK", 32)
    vectors = with_repeats(300, 16, 3, 0.5)
    np.save(tmp_path / "vectors.npy", vectors)
    gallery = np.load(tmp_path / "vectors.npy", mmap_mode=mode)
    if mode != "r":
        gallery[7] = vectors[7] = vectors[8]
    for part in (slice(None), slice(11, 250)):
        for _ in range(2):
            found = top_k(vectors[:9], gallery[part], 6)
            expected = by_definition(vectors[:9], vectors[part], 6)
            np.testing.assert_array_equal(found[0], expected[0])
            np.testing.assert_array_equal(found[1], expected[1])


# On disk.


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


def test_a_gallery_of_all_landmarks_is_not_copied(gallery):
    assert gallery.of_landmarks({7, 8, 9}) is gallery


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


def test_a_gallery_without_non_landmarks_is_read_back(tmp_path):
    vectors = np.eye(3, dtype=np.float16)
    none = np.empty((0, 0), np.float16)
    ids = ["a" * 16, "b" * 16, "c" * 16]
    Gallery(ids, np.arange(3), vectors, np.zeros(3, np.float32), none).save(
        tmp_path / "g"
    )
    found = Gallery.load(tmp_path / "g")
    assert found.image_ids == ids
    assert found.non_landmarks.shape == (0, 3)
    assert mean_top(vectors, found.non_landmarks, 5).tolist() == [0, 0, 0]
