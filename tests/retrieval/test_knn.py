"""Exact search, compared with a full sort, and the gallery on disk."""

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
def test_top_k_agrees_with_scikit_learn(n, q, k, monkeypatch):
    monkeypatch.setattr(knn, "QUERY_BLOCK", 8)
    monkeypatch.setattr(knn, "GALLERY_BLOCK", 16)
    gallery, queries = units(n, 12), units(q, 12, seed=1)
    cosines, rows = top_k(queries, gallery, k)
    reference = NearestNeighbors(n_neighbors=min(k, n), metric="cosine").fit(gallery)
    distances, neighbours = reference.kneighbors(queries)
    np.testing.assert_array_equal(rows, neighbours)
    np.testing.assert_allclose(cosines, 1 - distances, atol=1e-5)


@pytest.mark.parametrize("block", [4, 1000])
@pytest.mark.parametrize("k", [1, 3, 20, 150, 300])
@pytest.mark.parametrize("seed", range(5))
def test_ties_are_in_the_order_of_their_rows(seed, k, block, monkeypatch):
    """Ties at the k-th place, too: of equally similar rows the first ones are returned."""
    monkeypatch.setattr(knn, "GALLERY_BLOCK", block)
    rng = np.random.default_rng(seed)
    gallery = np.eye(3, dtype=np.float32)[rng.integers(0, 3, 300)]
    queries = np.eye(3, dtype=np.float32)
    cosines, rows = top_k(queries, gallery, k)
    for query, query_cosines, query_rows in zip(queries, cosines, rows, strict=True):
        exact = gallery @ query
        expected = np.lexsort((np.arange(300), -exact))[:k]
        np.testing.assert_array_equal(query_rows, expected)
        np.testing.assert_array_equal(query_cosines, exact[expected])


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


# Every arithmetic gives the same result, whatever else is searched.


class WorstCase(NumPy):
    """Products with the largest error allowed, of random sign."""

    rounding, result_rounding = 2.0**-5, 2.0**-6

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)

    def find_above(self, queries, block, floor):
        products = queries @ block.T
        error = 2 * self.rounding * np.linalg.norm(queries, axis=1, keepdims=True)
        error = error * np.linalg.norm(block, axis=1)
        products += self.rng.choice([-1, 1], products.shape) * error
        products *= 1 + self.rng.choice([-1, 1], products.shape) * self.result_rounding
        products = products.astype(np.float32)
        which = np.flatnonzero(products.max(axis=1) > floor)
        return which, products[which]


PRODUCTS = {
    "numpy": NumPy,
    "tensorflow": lambda: TensorFlow("float32"),
    "bfloat16": lambda: TensorFlow("bfloat16"),
    "worst": WorstCase,
}


def search_by_definition(queries, gallery, k):
    """Each cosine computed by itself, then a sort by cosine and row."""
    float32_gallery = gallery.astype(np.float32)
    cosines, rows = [], []
    for query in queries.astype(np.float32):
        pairs = np.broadcast_to(query, float32_gallery.shape)
        exact = np.einsum("ij,ij->i", np.ascontiguousarray(pairs), float32_gallery)
        float64_cosines = float32_gallery.astype(float) @ query
        np.testing.assert_allclose(exact, float64_cosines, 1e-4, 1e-5)
        order = np.lexsort((np.arange(len(float32_gallery)), -exact))[:k]
        cosines.append(exact[order])
        rows.append(order)
    return np.array(cosines), np.array(rows)


def repeated_units(n, d, seed, share):
    """Unit vectors in float16; a share of them repeats others, and some are zero."""
    rng = np.random.default_rng(seed)
    vectors = units(n, d, seed).astype(np.float16)
    repeats = rng.random(n) < share
    vectors[repeats] = vectors[rng.integers(0, max(1, n // 20), repeats.sum())]
    vectors[rng.random(n) < 0.05] = 0
    return vectors


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize(
    ("n", "q", "k", "blocks"),
    [
        (500, 33, 10, (8, 64)),  # n and q are no multiples of the blocks
        (500, 1, 10, (1024, 4096)),
        (70, 9, 100, (4, 16)),  # k > n
        (64, 16, 7, (16, 32)),  # n and q are multiples of the blocks
        (300, 20, 40, (7, 13)),  # k > rows of a block
        (1, 3, 2, (2, 2)),
    ],
)
@pytest.mark.parametrize("share", [0.0, 0.9, 1.0])
def test_agrees_with_the_definition(name, n, q, k, blocks, share, monkeypatch):
    """Bit for bit, with repeated rows, zero rows and a zero query."""
    monkeypatch.setattr(knn, "QUERY_BLOCK", blocks[0])
    monkeypatch.setattr(knn, "GALLERY_BLOCK", blocks[1])
    monkeypatch.setattr(knn, "QUERY_CHUNK", 16)
    monkeypatch.setattr(knn, "PAIR_BLOCK", 50)
    gallery = repeated_units(n, 24, n, share)
    queries = np.concatenate([gallery[: q // 2], units(q - q // 2, 24, seed=5)])
    queries[q // 3] = 0
    cosines, rows = top_k(queries, gallery, k, PRODUCTS[name]())
    expected_cosines, expected_rows = search_by_definition(queries, gallery, k)
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_array_equal(cosines, expected_cosines)
    assert cosines.dtype == np.float32 and rows.dtype == np.int64


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("scale", [0.01, 40.0])
def test_vectors_of_any_length_are_searched_exactly(name, scale, monkeypatch):
    monkeypatch.setattr(knn, "GALLERY_BLOCK", 32)
    lengths = np.random.default_rng(2).random((300, 1)) * scale
    gallery = (units(300, 24) * lengths).astype(np.float16)
    queries = units(20, 24, seed=1) * np.float32(scale)
    result = top_k(queries, gallery, 12, PRODUCTS[name]())
    expected = search_by_definition(queries, gallery, 12)
    for array, expected_array in zip(result, expected, strict=True):
        np.testing.assert_array_equal(array, expected_array)


@pytest.mark.parametrize("order", [1, -1])
def test_a_gallery_in_order_of_similarity_is_searched_exactly(order, monkeypatch):
    """In ascending order, every row is better than all rows before it."""
    monkeypatch.setattr(knn, "GALLERY_BLOCK", 50)
    query, gallery = units(1, 24), units(1000, 24, seed=1)
    gallery = gallery[np.argsort(order * (gallery @ query[0]))]
    result = top_k(query, gallery, 9)
    expected = search_by_definition(query, gallery, 9)
    for array, expected_array in zip(result, expected, strict=True):
        np.testing.assert_array_equal(array, expected_array)


def test_a_query_has_the_same_result_alone_as_among_others():
    queries, gallery = units(300, 64), units(900, 64, seed=1).astype(np.float16)
    together = top_k(queries, gallery, 5)
    for i in (0, 17, 299):
        alone = top_k(queries[i : i + 1], gallery, 5)
        for array, all_arrays in zip(alone, together, strict=True):
            np.testing.assert_array_equal(array[0], all_arrays[i])


@pytest.mark.parametrize("name", PRODUCTS)
def test_the_error_of_products_is_within_its_bound(name):
    """Otherwise a search could miss a neighbour."""
    queries, block = units(200, 100), units(300, 100, seed=1)
    product = PRODUCTS[name]()
    no_floor = np.full(200, -np.inf, np.float32)
    operands = product.prepare(queries), product.prepare(block)
    which, products = product.find_above(*operands, no_floor)
    assert which.tolist() == list(range(200)) and products.dtype == np.float32
    exact = queries.astype(np.float64) @ block.T
    bound = 2.02 * product.rounding + 1e-5
    bound = bound + 1.01 * product.result_rounding * np.abs(products)
    assert (np.abs(products - exact) <= bound + (0.01 if name == "worst" else 0)).all()
    which, products = product.find_above(*operands, np.full(200, 0.3, np.float32))
    assert 0 < len(which) < 200
    assert (products.max(axis=1) > 0.3).all() and len(products) == len(which)


def test_a_small_search_does_without_tensorflow(monkeypatch):
    assert isinstance(matmul.choose_product(1e6), NumPy)
    monkeypatch.setitem(sys.modules, "kaggle_kit.frameworks", None)  # not installed
    assert isinstance(matmul.choose_product(1e15), NumPy)


def test_a_gpu_is_used_where_there_is_one(monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    assert isinstance(matmul.choose_product(1e15), TensorFlow)
    assert matmul.choose_product(1e15).rounding == 2.0**-11


def test_a_large_search_uses_the_fastest_arithmetic(monkeypatch):
    monkeypatch.setattr(matmul, "BENCHMARK_SHAPE", (16, 32, 8))
    seconds = {0.0: 3, 2.0**-11: 2, 2.0**-8: 1}
    monkeypatch.setattr(matmul, "_measure_s", lambda p, *_: seconds[p.rounding])
    matmul._find_fastest.cache_clear()
    try:
        assert matmul._find_fastest().rounding == 2.0**-8
    finally:
        matmul._find_fastest.cache_clear()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_mapped_gallery_does_not_stay_in_memory(tmp_path):
    """80 MB on disk; at most 20 MB of them are resident after the search."""
    path = tmp_path / "vectors.npy"
    np.save(path, np.tile(units(1000, 64).astype(np.float16), (640, 1)))
    gallery = np.load(path, mmap_mode="r")
    before = _mapped_kb()
    _, rows = top_k(units(5, 64, seed=1), gallery, 3)
    assert _mapped_kb() - before < 20_000
    np.testing.assert_array_equal(
        rows, top_k(units(5, 64, seed=1), np.array(gallery), 3)[1]
    )
    gallery.sum()  # reads all pages and does not release them
    assert _mapped_kb() - before > 60_000


def _mapped_kb():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if "RssFile" in line)


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_a_mapped_gallery_is_searched_as_one_in_memory(mode, tmp_path, monkeypatch):
    """Also a gallery with changes that are in memory only (mode "c")."""
    monkeypatch.setattr(knn, "GALLERY_BLOCK", 32)
    vectors = repeated_units(300, 16, 3, 0.5)
    np.save(tmp_path / "vectors.npy", vectors)
    gallery = np.load(tmp_path / "vectors.npy", mmap_mode=mode)
    if mode != "r":
        gallery[7] = vectors[7] = vectors[8]
    for part in (slice(None), slice(11, 250)):
        for _ in range(2):
            result = top_k(vectors[:9], gallery[part], 6)
            expected = search_by_definition(vectors[:9], vectors[part], 6)
            np.testing.assert_array_equal(result[0], expected[0])
            np.testing.assert_array_equal(result[1], expected[1])


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
    copy = Gallery.load(tmp_path / "g")
    assert copy.image_ids == gallery.image_ids
    for name in ("landmark_ids", "vectors", "penalties", "non_landmarks"):
        np.testing.assert_array_equal(getattr(copy, name), getattr(gallery, name))


def test_a_gallery_of_some_landmarks_keeps_their_rows_together(gallery):
    part = gallery.select_landmarks({7, 99})
    assert part.image_ids == ["0123456789012345", "abc0000000000000"]
    np.testing.assert_array_equal(part.vectors, gallery.vectors[[0, 2]])
    np.testing.assert_array_equal(part.penalties, gallery.penalties[[0, 2]])


def test_a_gallery_of_all_landmarks_is_not_copied(gallery):
    assert gallery.select_landmarks({7, 8, 9}) is gallery


def test_a_damaged_gallery_is_refused(gallery, tmp_path):
    gallery.save(tmp_path / "g")
    np.save(tmp_path / "g" / "penalties.npy", np.zeros(2, np.float32))
    with pytest.raises(ArtefactError, match="3 rows of gallery.csv"):
        Gallery.load(tmp_path / "g")
    (tmp_path / "g" / "vectors.npy").write_bytes(b"no array")
    with pytest.raises(ArtefactError, match="make the bundle again"):
        Gallery.load(tmp_path / "g")


def test_a_gallery_that_holds_objects_is_refused(gallery, tmp_path):
    """Reading a pickled array could run code."""
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
    gallery = Gallery.load(tmp_path / "g")
    assert gallery.image_ids == ids
    assert gallery.non_landmarks.shape == (0, 3)
    assert mean_top(vectors, gallery.non_landmarks, 5).tolist() == [0, 0, 0]
