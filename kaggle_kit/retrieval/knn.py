"""Exact search: the gallery rows with the largest cosines to each query."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kaggle_kit.progress import progress
from kaggle_kit.retrieval.matmul import Product, choose_product
from kaggle_kit.storage.arrays import release_pages

QUERY_CHUNK = 16384  # queries per pass over the gallery
QUERY_BLOCK = 1024
GALLERY_BLOCK = 4096  # 1024 x 4096 float32 products take 16 MiB, which the cache holds
PAIR_BLOCK = 32768  # pairs whose exact cosines are computed at a time
PROGRESS_FROM = 1e12  # multiplications, some seconds; a longer search shows progress


def top_k(
    queries: ArrayLike, gallery: ArrayLike, k: int, product: Product | None = None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Find the k gallery rows most similar to each query, exactly, most similar first.

    Queries and gallery are read in blocks, so memory is bounded. Of a memory-mapped
    gallery, at most one block is resident. The cosine of a pair does not depend on the
    other queries and rows.

    Args:
        queries: (q, d) unit vectors.
        gallery: (n, d) unit vectors.
        k: number of rows; at most n are returned.
        product: the arithmetic that finds candidate pairs; None: the fastest. It does not
            change the result.

    Returns:
        ((q, k) cosines, (q, k) rows). Rows with equal cosines are in ascending order.
    """
    queries = np.asarray(queries)
    gallery = np.asanyarray(gallery)  # a np.memmap stays a np.memmap
    k = min(k, len(gallery))
    cosines = np.full((len(queries), k), -np.inf, np.float32)
    rows = np.zeros((len(queries), k), np.int64)
    if not cosines.size:
        return cosines, rows
    product = product or choose_product(float(len(queries)) * gallery.size)
    for start in range(0, len(queries), QUERY_CHUNK):
        part = slice(start, start + QUERY_CHUNK)
        chunk = queries[part].astype(np.float32)
        _search(chunk, gallery, cosines[part], rows[part], product)
    return cosines, rows


def mean_top(queries: ArrayLike, gallery: ArrayLike, k: int) -> NDArray[np.float32]:
    """The mean cosine of each query to its k most similar gallery rows, (q,).

    It is 0 for an empty gallery.
    """
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
    """Fill ``best`` and ``rows``, (q, k), in one pass over the gallery.

    The k-th best cosine of a query so far is a floor that a later row must exceed. The
    products are approximate, so the floor is lowered by their error bound. Few products
    exceed it; exact cosines are computed for these pairs only.
    """
    starts = range(0, len(queries), QUERY_BLOCK)
    tiles = [slice(start, start + QUERY_BLOCK) for start in starts]
    query_operands = [product.prepare(queries[tile]) for tile in tiles]
    lengths = np.sqrt(_dot_rows(queries, queries))
    for first_row, block in _read_blocks(gallery, len(queries)):
        block_operand = product.prepare(block)
        max_length = np.sqrt(_dot_rows(block, block).max())
        for tile, query_operand in zip(tiles, query_operands, strict=True):
            bound = _ErrorBound(product, block.shape[1], lengths[tile] * max_length)
            floor = bound.lower(best[tile, -1])
            which, products = product.find_above(query_operand, block_operand, floor)
            if not len(which):
                continue
            floor = bound.initialise_floor(products, floor[which], which, best.shape[1])
            pair, column = divmod(np.flatnonzero(products > floor[:, None]), len(block))
            which += tile.start
            cosines = _pair_cosines(queries, block, which[pair], column)
            _merge(best, rows, which, pair, cosines, column + first_row)


class _ErrorBound:
    """The largest difference between the products of a block and the exact cosines.

    Args:
        lengths: (q,) of each query times the longest vector of the block.
    """

    def __init__(self, product: Product, width: int, lengths: NDArray[np.float32]):
        # Both factors are rounded, and float32 sums drift; 1% is a safety margin.
        share = 2.02 * product.rounding + width * 2.0**-23
        self._absolute = (share * lengths).astype(np.float32)
        self._relative = np.float32(1.01 * product.result_rounding)

    def lower(
        self, values: NDArray[np.float32], which: Any = slice(None)
    ) -> NDArray[np.float32]:
        """Subtract the error bound from ``values``.

        If an exact cosine exceeds a value, its product exceeds the result, and vice versa.
        """
        values = values - self._absolute[which]
        finite = np.where(np.isfinite(values), np.abs(values), 0)
        return values - self._relative * finite

    def initialise_floor(
        self,
        products: NDArray[np.float32],
        floor: NDArray[np.float32],
        which: NDArray[np.int64],
        k: int,
    ) -> NDArray[np.float32]:
        """Replace floors of -inf by one below the k largest products of the block."""
        new = np.isneginf(floor)
        if products.shape[1] <= k or not new.any():
            return floor
        kth = np.partition(products[new], -k, axis=1)[:, -k]  # the k-th largest
        kth = self.lower(self.lower(kth, which[new]), which[new])
        floor[new] = np.nextafter(kth, np.float32(-np.inf))  # all products may be equal
        return floor


def _read_blocks(
    gallery: NDArray[np.floating], n_queries: int
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield the first row and the float32 vectors of each block, in one reused buffer."""
    buffer = np.empty((min(GALLERY_BLOCK, len(gallery)), gallery.shape[1]), np.float32)
    starts = range(0, len(gallery), GALLERY_BLOCK)
    is_long = float(n_queries) * gallery.size > PROGRESS_FROM
    for first in progress(starts, label="search", unit="block") if is_long else starts:
        part = gallery[first : first + GALLERY_BLOCK]
        block = buffer[: len(part)]
        np.copyto(block, part, casting="same_kind")
        release_pages(gallery)
        yield first, block


def _dot_rows(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """The dot product of row i of a and row i of b, (n,); it does not depend on n."""
    return np.einsum("ij,ij->i", a, b)


def _pair_cosines(
    queries: NDArray[np.float32],
    block: NDArray[np.float32],
    query: NDArray[np.int64],
    column: NDArray[np.int64],
) -> NDArray[np.float32]:
    """The exact cosines of m pairs: query ``query[i]`` and block row ``column[i]``."""
    cosines = np.empty(len(query), np.float32)
    for start in range(0, len(query), PAIR_BLOCK):
        part = slice(start, start + PAIR_BLOCK)
        cosines[part] = _dot_rows(queries[query[part]], block[column[part]])
    return cosines


def _merge(
    best: NDArray[np.float32],
    rows: NDArray[np.int64],
    which: NDArray[np.int64],
    pair: NDArray[np.int64],
    cosine: NDArray[np.float32],
    row: NDArray[np.int64],
) -> None:
    """Merge new cosines into the k best of the queries ``which``.

    On a tie the entry in ``best`` stays, since its row comes earlier.

    Args:
        best, rows: (q, k) cosines and rows so far, updated in place.
        which: queries with new cosines.
        pair: (m,) for each new cosine, ascending: the index of its query in ``which``.
        cosine, row: (m,) the new cosines and their rows.
    """
    better = np.flatnonzero(cosine > best[which[pair], -1])
    pair = pair[better]
    k = best.shape[1]
    n_new = np.bincount(pair, minlength=len(which))
    column = k + np.arange(len(pair)) - np.repeat(n_new.cumsum() - n_new, n_new)
    all_cosines = np.full((len(which), k + n_new.max(initial=0)), -np.inf, np.float32)
    all_rows = np.zeros(all_cosines.shape, np.int64)
    all_cosines[:, :k], all_rows[:, :k] = best[which], rows[which]
    all_cosines[pair, column], all_rows[pair, column] = cosine[better], row[better]
    order = np.argsort(-all_cosines, axis=1, kind="stable")[:, :k]
    best[which] = np.take_along_axis(all_cosines, order, axis=1)
    rows[which] = np.take_along_axis(all_rows, order, axis=1)
