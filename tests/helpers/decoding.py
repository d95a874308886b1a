"""Decode images in batches, resized as networks see them."""

import numpy as np

from kaggle_kit.data.decode import decode_file


def decode_batches(paths, side, batch_size):
    """Yield (indices of files that decode, their pixels (b, side, side, 3) uint8)."""
    images = [(i, decode_file(path, side)) for i, path in enumerate(paths)]
    images = [(i, pixels) for i, pixels in images if pixels is not None]
    for start in range(0, len(images), batch_size):
        indices, pixels = zip(*images[start : start + batch_size], strict=True)
        yield np.array(indices, np.int64), np.stack(pixels)
