"""Images as networks see them, in batches."""

import numpy as np

from kaggle_kit.data.decode import decode_file


def photos(paths, side, batch_size):
    """Yield (which, pixels): places of those that decode, (b, side, side, 3) uint8."""
    seen = [(i, decode_file(path, side)) for i, path in enumerate(paths)]
    seen = [(i, pixels) for i, pixels in seen if pixels is not None]
    for start in range(0, len(seen), batch_size):
        which, pixels = zip(*seen[start : start + batch_size], strict=True)
        yield np.array(which, np.int64), np.stack(pixels)
