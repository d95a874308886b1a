"""Resize photos as ``data.decode`` does, to the last bit, with NumPy alone: for the app.

Both decode a JPEG at the size that ``ratio_for`` and ``RATIOS`` say here.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RATIOS = (2, 4, 8)  # by which a JPEG can be decoded smaller
BAND = 2048  # columns of a photo resized at a time, so that memory is bounded


class Weights(NamedTuple):
    """How one axis is resized: each new place is a weighted mean of a span of old ones.

    Attributes:
        starts: (n,) where each span begins.
        weights: (n, longest span) float32; 0 beyond a shorter span.
    """

    starts: NDArray[np.int64]
    weights: NDArray[np.float32]


def ratio_for(shortest: int, side: int) -> int:
    """The most that a JPEG may be decoded smaller and have ``side`` pixels both ways.

    >>> [ratio_for(n, 224) for n in (446, 447, 892, 893, 9000)]  # sides round up
    [1, 2, 2, 4, 8]
    """
    return max([1, *(ratio for ratio in RATIOS if shortest > (side - 1) * ratio)])


def weights(n_old: int, n: int) -> Weights:
    """The weights of a bilinear, antialiased resizing of an axis.

    ::

        w_i = max(0, 1 - |i + 1/2 - x| / max(n_old / n, 1)) / their sum,
        x = (new place + 1/2) n_old / n

    Every step is rounded to float32 as TensorFlow's ``ScaleAndTranslate`` rounds it.
    """
    one, half = np.float32(1), np.float32(0.5)
    inverse = one / (np.float32(n) / np.float32(n_old))
    scale = np.maximum(inverse, one)
    x = (np.arange(n, dtype=np.float32) + half) * inverse
    first = np.clip(np.ceil(x - scale - half), 0, n_old - 1).astype(np.int64)
    last = np.clip(np.floor(x + scale - half), 0, n_old - 1).astype(np.int64)
    places = first[:, None] + np.arange(int((last - first).max()) + 1)
    distance = np.abs((places.astype(np.float32) + half - x[:, None]) * (one / scale))
    raw = np.where(places <= last[:, None], np.maximum(one - distance, 0), 0)
    raw = raw.astype(np.float32)
    total = np.zeros(n, np.float32)
    for column in raw.T:  # in order, as there
        total += column
    return Weights(first, raw * (one / total)[:, None])


def squashed(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """``decode.squashed`` without TensorFlow, (h, w, 3) -> (size, size, 3)."""
    height, width = pixels.shape[:2]
    rows, columns = weights(height, size), weights(width, size)
    ends = columns.starts + columns.weights.shape[1]
    square = np.empty((size, size, 3), np.uint8)
    start = 0
    while start < size:
        left = int(columns.starts[start])
        reach = np.searchsorted(ends, left + BAND, "right")
        stop = max(start + 1, int(reach))
        right = min(int(ends[stop - 1]), width)
        band = pixels[:, left:right].reshape(height, -1)
        low = _resized(band, rows).reshape(size, right - left, 3)
        part = Weights(columns.starts[start:stop] - left, columns.weights[start:stop])
        turned = low.transpose(1, 0, 2).reshape(right - left, -1)
        narrow = _resized(turned, part).reshape(stop - start, size, 3)
        square[:, start:stop] = np.rint(narrow).astype(np.uint8).transpose(1, 0, 2)
        start = stop
    return square


def _resized(rows: NDArray[np.generic], axis: Weights) -> NDArray[np.float32]:
    """(n_old, m) -> (n, m): each new row is added up in the order of its span."""
    out = np.zeros((len(axis.starts), rows.shape[1]), np.float32)
    last = len(rows) - 1
    for k, weight in enumerate(axis.weights.T):
        some = rows[np.minimum(axis.starts + k, last)].astype(np.float32)
        some *= weight[:, None]
        out += some
    return out
