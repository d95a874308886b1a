"""Exact search: the gallery rows most similar to each query, by cosine."""

import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kaggle_kit.progress import progress
from kaggle_kit.retrieval.matmul import Product, suited

QUERIES_AT_ONCE = 16384  # for which a block of the gallery is read once
QUERY_BLOCK = 1024
GALLERY_BLOCK = 4096  # a block of products, 16 MiB, stays in the cache
PAIRS = 32768  # multiplied exactly at once
LONG = 1e12  # products of two numbers, which take some seconds: progress is shown


def top_k(
    queries: ArrayLike, gallery: ArrayLike, k: int, product: Product | None = None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The k gallery rows most similar to each query, exactly, most similar first.

    Both are read in blocks, so memory does not grow with either; of a gallery that is
    mapped from a file, no more than a block is kept in memory. A pair has the same cosine
    whatever it is searched among.

    Args:
        queries: (q, d) unit vectors.
        gallery: (n, d) unit vectors.
        k: how many; at most n are returned.
        product: how to find the pairs that may matter; the quickest if None. It does not
            change what is found.

    Returns:
        ((q, k) cosines, (q, k) rows). Equal cosines are in the order of their rows.
    """
    queries = np.asarray(queries)
    gallery = np.asanyarray(gallery)  # a mapped array stays one
    k = min(k, len(gallery))
    cosines = np.full((len(queries), k), -np.inf, np.float32)
    rows = np.zeros((len(queries), k), np.int64)
    if not cosines.size:
        return cosines, rows
    product = product or suited(float(len(queries)) * gallery.size)
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        part = slice(start, start + QUERIES_AT_ONCE)
        some = queries[part].astype(np.float32)
        _search(some, gallery, cosines[part], rows[part], product)
    return cosines, rows


def mean_top(queries: ArrayLike, gallery: ArrayLike, k: int) -> NDArray[np.float32]:
    """The mean cosine of each query to its k most similar gallery rows, (q,); 0 of none."""
    cosines, _ = top_k(queries, gallery, k)
    if not cosines.shape[1]:
        return np.zeros(len(cosines), np.float32)
    return cosines.mean(axis=1)


def _search(
    queries: NDArray[np.float32],
    gallery: NDArray[np.floating],
    best: NDArray[np.float32],
    rows: NDArray[np.int64],
    product: Product,
) -> None:
    """Fill ``best`` and ``rows``, (q, k); each block of the gallery is read once.

    A query's k-th best so far is the floor that a later row has to be above: of the
    products, which may be off, few are above it less that error, and only these are
    multiplied exactly.
    """
    starts = range(0, len(queries), QUERY_BLOCK)
    tiles = [slice(start, start + QUERY_BLOCK) for start in starts]
    prepared = [product.prepared(queries[tile]) for tile in tiles]
    lengths = np.sqrt(_dots(queries, queries))
    for first, block in _blocks(gallery, len(queries)):
        ready = product.prepared(block)
        longest = np.sqrt(_dots(block, block).max())
        for tile, query in zip(tiles, prepared, strict=True):
            error = _Error(product, block.shape[1], lengths[tile] * longest)
            floor = error.lowered(best[tile, -1])
            which, products = product.above(query, ready, floor)
            if not len(which):
                continue
            floor = error.floor(products, floor[which], which, best.shape[1])
            pair, column = divmod(np.flatnonzero(products > floor[:, None]), len(block))
            which += tile.start
            cosine = _of_pairs(queries, block, which[pair], column)
            _merge(best, rows, which, pair, cosine, column + first)


class _Error:
    """How far the products of a block may be from the truth.

    Args:
        lengths: (q,) of each query times the longest vector of the block.
    """

    def __init__(self, product: Product, width: int, lengths: NDArray[np.float32]):
        # both factors are rounded, and sums of float32 drift; a hundredth for good measure
        share = 2.02 * product.rounding + width * 2.0**-23
        self._of_sums = (share * lengths).astype(np.float32)
        self._relative = np.float32(1.01 * product.result_rounding)

    def lowered(
        self, values: NDArray[np.float32], which: Any = slice(None)
    ) -> NDArray[np.float32]:
        """What one of two, product or truth, is above if the other is above ``values``."""
        values = values - self._of_sums[which]
        finite = np.where(np.isfinite(values), np.abs(values), 0)
        return values - self._relative * finite

    def floor(
        self,
        products: NDArray[np.float32],
        floor: NDArray[np.float32],
        which: NDArray[np.int64],
        k: int,
    ) -> NDArray[np.float32]:
        """``floor``, or for queries without one what the block's k best are above."""
        new = np.isneginf(floor)
        if products.shape[1] <= k or not new.any():
            return floor
        least = np.partition(products[new], -k, axis=1)[:, -k]  # the k-th largest
        least = self.lowered(self.lowered(least, which[new]), which[new])
        floor[new] = np.nextafter(least, np.float32(-np.inf))  # they may all be equal
        return floor


def _blocks(
    gallery: NDArray[np.floating], n_queries: int
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """The first row and the float32 vectors of each block; the next overwrites them."""
    buffer = np.empty((min(GALLERY_BLOCK, len(gallery)), gallery.shape[1]), np.float32)
    starts = range(0, len(gallery), GALLERY_BLOCK)
    long = float(n_queries) * gallery.size > LONG
    for first in progress(starts, label="search", unit="block") if long else starts:
        part = gallery[first : first + GALLERY_BLOCK]
        block = buffer[: len(part)]
        np.copyto(block, part, casting="same_kind")
        if isinstance(gallery, np.memmap) and gallery.mode == "r":
            _release(gallery)
        yield first, block


def _release(array: np.memmap) -> None:
    """Give the pages of a mapped file back; what is read again is read from the file."""
    mapped = getattr(array, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def _dots(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """The product of each pair of rows, (n,), by itself: the same whatever n is."""
    return np.einsum("ij,ij->i", one, other)


def _of_pairs(
    queries: NDArray[np.float32],
    block: NDArray[np.float32],
    query: NDArray[np.int64],
    column: NDArray[np.int64],
) -> NDArray[np.float32]:
    """The cosines of some pairs of a query and a row of the block."""
    cosines = np.empty(len(query), np.float32)
    for start in range(0, len(query), PAIRS):
        part = slice(start, start + PAIRS)
        cosines[part] = _dots(queries[query[part]], block[column[part]])
    return cosines


def _merge(
    best: NDArray[np.float32],
    rows: NDArray[np.int64],
    which: NDArray[np.int64],
    pair: NDArray[np.int64],
    cosine: NDArray[np.float32],
    row: NDArray[np.int64],
) -> None:
    """Let in what is better than the k-th best of the queries ``which``.

    ``pair`` says, in order, which of these each cosine is of. On a tie what is there stays:
    its row is an earlier one.
    """
    better = np.flatnonzero(cosine > best[which[pair], -1])
    pair = pair[better]
    k = best.shape[1]
    n_new = np.bincount(pair, minlength=len(which))
    place = k + np.arange(len(pair)) - np.repeat(n_new.cumsum() - n_new, n_new)
    values = np.full((len(which), k + n_new.max(initial=0)), -np.inf, np.float32)
    where = np.zeros(values.shape, np.int64)
    values[:, :k], where[:, :k] = best[which], rows[which]
    values[pair, place], where[pair, place] = cosine[better], row[better]
    order = np.argsort(-values, axis=1, kind="stable")[:, :k]
    best[which] = np.take_along_axis(values, order, axis=1)
    rows[which] = np.take_along_axis(where, order, axis=1)
