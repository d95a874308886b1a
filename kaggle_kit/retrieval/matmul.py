"""Fast matrix products of queries and gallery vectors, with a bound on their error.

A search uses the products only to select candidate pairs, whose cosines it then computes
exactly. So the arithmetic affects the speed of a search, not its result.
"""

import sys
import time
from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

BENCHMARK_SHAPE = (1024, 4096, 512)  # queries, gallery rows, dimensions
# Multiplications from which TensorFlow is considered if it is loaded, and if it is not.
TENSORFLOW_FROM, TENSORFLOW_LOAD_FROM = 5e9, 5e11


class Product(Protocol):
    """An implementation of the matrix product.

    Attributes:
        rounding: bound on the relative error from rounding a factor.
        result_rounding: bound on the relative error from rounding the result.
    """

    rounding: float
    result_rounding: float

    def prepare(self, vectors: NDArray[np.float32]) -> Any:
        """Convert (n, d) vectors to the operand that ``find_above`` takes."""

    def find_above(
        self, queries: Any, block: Any, floor: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Find the queries that have a product above their ``floor``.

        Args:
            queries: operand of (n, d) queries.
            block: operand of (m, d) gallery rows.
            floor: (n,) the threshold of each query.

        Returns:
            (k,) positions of these queries, and (k, m) their products with all rows.
        """


class NumPy:
    """The product in float32 by NumPy."""

    rounding = result_rounding = 0.0

    def prepare(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the vectors unchanged."""
        return vectors

    def find_above(
        self,
        queries: NDArray[np.float32],
        block: NDArray[np.float32],
        floor: NDArray[np.float32],
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """See ``Product.find_above``."""
        products = queries @ block.T
        which = np.flatnonzero(products.max(axis=1) > floor)
        return which, products[which]


class TensorFlow:
    """The product by TensorFlow, on a GPU if there is one.

    On a GPU, float32 may be TensorFloat-32, with 11 significant bits. bfloat16 has 8, and
    is several times as fast on a processor that supports it.
    """

    def __init__(self, dtype: str):
        from kaggle_kit.frameworks import tf

        self._tf, self._dtype = tf, tf.as_dtype(dtype)
        self.rounding = {"float32": 2.0**-11, "bfloat16": 2.0**-8}[dtype]
        self.result_rounding = {"float32": 0.0, "bfloat16": 2.0**-8}[dtype]

    def prepare(self, vectors: NDArray[np.float32]) -> Any:
        """Convert the vectors to a tensor of the dtype of the product."""
        return self._tf.cast(vectors, self._dtype)

    def find_above(
        self, queries: Any, block: Any, floor: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """See ``Product.find_above``."""
        tf = self._tf
        products = tf.linalg.matmul(queries, block, transpose_b=True)
        largest = tf.cast(tf.reduce_max(products, axis=1), tf.float32)
        which = tf.where(largest > floor)[:, 0]
        return which.numpy(), tf.cast(tf.gather(products, which), tf.float32).numpy()


def choose_product(n_multiplications: float) -> Product:
    """Choose the fastest product on this machine for a search of a given size.

    A small search does not load TensorFlow. A large one works without it.
    """
    is_loaded = "tensorflow" in sys.modules
    if n_multiplications < (TENSORFLOW_FROM if is_loaded else TENSORFLOW_LOAD_FROM):
        return NumPy()
    try:
        from kaggle_kit.frameworks import tf
    except ImportError:
        return NumPy()
    if tf.config.list_physical_devices("GPU"):
        return TensorFlow("float32")
    return _find_fastest()


@cache
def _find_fastest() -> Product:
    """Benchmark the products on this CPU; some CPUs only emulate bfloat16, slowly."""
    n_queries, n_rows, width = BENCHMARK_SHAPE
    vectors = np.random.default_rng(0).normal(size=(n_rows, width)).astype(np.float32)
    products: Sequence[Product] = (
        NumPy(),
        TensorFlow("float32"),
        TensorFlow("bfloat16"),
    )
    return min(products, key=lambda p: _measure_s(p, vectors[:n_queries], vectors))


def _measure_s(
    product: Product, queries: NDArray[np.float32], block: NDArray[np.float32]
) -> float:
    """Measure the seconds of one product, the best of three runs."""
    floor = np.full(len(queries), np.inf, np.float32)
    operands = product.prepare(queries), product.prepare(block)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        product.find_above(*operands, floor)
        seconds.append(time.perf_counter() - start)
    return min(seconds)
