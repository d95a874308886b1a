"""Ways to multiply many vectors with many, quickly, and how far off each may be.

A search needs the products only to tell which pairs may matter; those few it multiplies
again, exactly. So the quickest arithmetic will do, and none changes what is found.
"""

import sys
import time
from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

TRIAL = (1024, 4096, 512)  # queries, gallery rows, numbers in each
# From how many products of two numbers on TensorFlow is worth a trial, and its loading.
WORTH, WORTH_LOADING = 5e9, 5e11


class Product(Protocol):
    """A way to multiply.

    Attributes:
        rounding: how far off numbers may be when multiplied, relatively.
        result_rounding: how far off the results may be rounded, relatively.
    """

    rounding: float
    result_rounding: float

    def prepared(self, vectors: NDArray[np.float32]) -> Any:
        """(n, d) vectors in the form that ``above`` takes."""

    def above(
        self, queries: Any, block: Any, floor: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The queries with any product above their ``floor``, and all their products.

        Args:
            queries: (n, d), as ``prepared`` gives them.
            block: (m, d) rows of the gallery, likewise.
            floor: (n,).

        Returns:
            (k,) places of these queries, (k, m) their products.
        """


class NumPy:
    """In float32 by NumPy."""

    rounding = result_rounding = 0.0

    def prepared(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """The vectors as they are."""
        return vectors

    def above(
        self,
        queries: NDArray[np.float32],
        block: NDArray[np.float32],
        floor: NDArray[np.float32],
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """As ``Product.above``."""
        products = queries @ block.T
        which = np.flatnonzero(products.max(axis=1) > floor)
        return which, products[which]


class TensorFlow:
    """By TensorFlow, on a GPU if there is one.

    float32 may be TensorFloat-32 there, of 11 significant bits; bfloat16 has 8, and a
    processor made for it multiplies it several times as quickly.
    """

    def __init__(self, dtype: str):
        import tensorflow as tf

        self._tf, self._dtype = tf, tf.as_dtype(dtype)
        self.rounding = {"float32": 2.0**-11, "bfloat16": 2.0**-8}[dtype]
        self.result_rounding = {"float32": 0.0, "bfloat16": 2.0**-8}[dtype]

    def prepared(self, vectors: NDArray[np.float32]) -> Any:
        """The vectors as a tensor of the type to multiply in."""
        return self._tf.cast(vectors, self._dtype)

    def above(
        self, queries: Any, block: Any, floor: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """As ``Product.above``."""
        tf = self._tf
        products = tf.linalg.matmul(queries, block, transpose_b=True)
        largest = tf.cast(tf.reduce_max(products, axis=1), tf.float32)
        which = tf.where(largest > floor)[:, 0]
        return which.numpy(), tf.cast(tf.gather(products, which), tf.float32).numpy()


def suited(n_products: float) -> Product:
    """The quickest way on this machine to so many products of two numbers.

    TensorFlow is not loaded for a small search, nor needed for a large one.
    """
    if n_products < (WORTH if "tensorflow" in sys.modules else WORTH_LOADING):
        return NumPy()
    try:
        import tensorflow as tf
    except ImportError:
        return NumPy()
    if tf.config.list_physical_devices("GPU"):
        return TensorFlow("float32")
    return _quickest()


@cache
def _quickest() -> Product:
    """The quickest on this processor: bfloat16 is in some, and much slower in others."""
    n_queries, n_rows, width = TRIAL
    vectors = np.random.default_rng(0).normal(size=(n_rows, width)).astype(np.float32)
    ways: Sequence[Product] = (
        NumPy(),
        TensorFlow("float32"),
        TensorFlow("bfloat16"),
    )
    return min(ways, key=lambda way: _seconds(way, vectors[:n_queries], vectors))


def _seconds(
    way: Product, queries: NDArray[np.float32], block: NDArray[np.float32]
) -> float:
    floor = np.full(len(queries), np.inf, np.float32)
    operands = way.prepared(queries), way.prepared(block)
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        way.above(*operands, floor)
        taken.append(time.perf_counter() - start)
    return min(taken)
