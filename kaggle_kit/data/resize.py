"""Resize images in NumPy, bit-identical to ``data.decode``; for the app.

Both decode a JPEG at the reduced size that ``RATIOS`` and ``choose_ratio`` define.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RATIOS = (2, 4, 8)  # by which a JPEG decoder can reduce the size
BAND = 2048  # columns of an image resized at a time, which bounds memory


class Weights(NamedTuple):
    """The resampling of one axis: output i is a weighted mean of a span of inputs.

    Attributes:
        starts: (n,) first input of each span.
        weights: (n, longest span) float32; 0 beyond the end of a shorter span.
    """

    starts: NDArray[np.int64]
    weights: NDArray[np.float32]


def choose_ratio(shortest: int, side: int) -> int:
    """The largest reduction of a JPEG that leaves both sides at least ``side`` pixels.

    Args:
        shortest: the shorter side of the JPEG, in pixels.

    >>> [choose_ratio(n, 224) for n in (446, 447, 892, 893, 9000)]  # sides round up
    [1, 2, 2, 4, 8]
    """
    return max([1, *(ratio for ratio in RATIOS if shortest > (side - 1) * ratio)])


def compute_weights(n_old: int, n: int) -> Weights:
    """Compute the weights that resample an axis from n_old to n pixels.

    The filter is bilinear with antialiasing. Input i has this weight in output j::

        w_ij = max(0, 1 - |i + 1/2 - x_j| / max(n_old / n, 1)) / (sum over all inputs i)
        x_j = (j + 1/2) n_old / n

    Every step is rounded to float32 as in TensorFlow's ``ScaleAndTranslate``.
    """
    one, half = np.float32(1), np.float32(0.5)
    inverse = one / (np.float32(n) / np.float32(n_old))
    scale = np.maximum(inverse, one)
    x = (np.arange(n, dtype=np.float32) + half) * inverse
    first = np.clip(np.ceil(x - scale - half), 0, n_old - 1).astype(np.int64)
    last = np.clip(np.floor(x + scale - half), 0, n_old - 1).astype(np.int64)
    inputs = first[:, None] + np.arange(int((last - first).max()) + 1)
    distance = np.abs((inputs.astype(np.float32) + half - x[:, None]) * (one / scale))
    raw = np.where(inputs <= last[:, None], np.maximum(one - distance, 0), 0)
    raw = raw.astype(np.float32)
    total = np.zeros(n, np.float32)
    for column in raw.T:  # in the order in which TensorFlow adds
        total += column
    return Weights(first, raw * (one / total)[:, None])


def resize_to_square(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """``decode.resize_to_square`` without TensorFlow, (h, w, 3) -> (size, size, 3)."""
    height, width = pixels.shape[:2]
    rows, columns = compute_weights(height, size), compute_weights(width, size)
    ends = columns.starts + columns.weights.shape[1]
    square = np.empty((size, size, 3), np.uint8)
    start = 0
    while start < size:
        left = int(columns.starts[start])
        stop = max(start + 1, int(np.searchsorted(ends, left + BAND, "right")))
        right = min(int(ends[stop - 1]), width)
        band = pixels[:, left:right].reshape(height, -1)
        low_band = _resample_rows(band, rows).reshape(size, right - left, 3)
        part = Weights(columns.starts[start:stop] - left, columns.weights[start:stop])
        band_columns = low_band.transpose(1, 0, 2).reshape(right - left, -1)
        outputs = _resample_rows(band_columns, part).reshape(stop - start, size, 3)
        square[:, start:stop] = np.rint(outputs).astype(np.uint8).transpose(1, 0, 2)
        start = stop
    return square


def _resample_rows(rows: NDArray[np.generic], axis: Weights) -> NDArray[np.float32]:
    """(n_old, m) -> (n, m); the rows of a span are added in their order."""
    out = np.zeros((len(axis.starts), rows.shape[1]), np.float32)
    last = len(rows) - 1
    for k, weight in enumerate(axis.weights.T):
        summand = rows[np.minimum(axis.starts + k, last)].astype(np.float32)
        summand *= weight[:, None]
        out += summand
    return out
