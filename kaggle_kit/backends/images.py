"""Images in memory, arrays and PIL images, as inputs besides files."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.backends.base import Image, MemoryImage
from kaggle_kit.data.resize import resize_to_square
from kaggle_kit.errors import DataError


class ArrayImage:
    """An image that is decoded already, (h, w, 3) uint8."""

    def __init__(self, array: NDArray[np.uint8]):
        self._array = array

    def pixels(self, side: int | None = None) -> NDArray[np.uint8]:
        """Return the array; ``side`` is ignored."""
        return self._array


def as_image(source: Any) -> Image:
    """Convert a path, an array, a PIL image or an upload to an ``Image``.

    Raises:
        DataError: ``source`` is none of these.
    """
    if isinstance(source, str | Path):
        return Path(source)
    if isinstance(source, np.ndarray):
        if source.dtype == np.uint8 and source.ndim == 3 and source.shape[2] == 3:
            return ArrayImage(source)
        got = f"{source.dtype} {source.shape}"
    elif hasattr(source, "getexif"):
        from kaggle_kit.backends.uploads import decode_upright  # Pillow

        return ArrayImage(decode_upright(source))
    elif hasattr(source, "pixels"):
        upload: MemoryImage = source
        return upload
    else:
        got = type(source).__name__
    raise DataError(
        f"image: expected a path, a PIL image or a (h, w, 3) uint8 array, got {got}; "
        f"convert it"
    )


def decode_memory(image: MemoryImage, side: int | None) -> NDArray[np.uint8] | None:
    """``Engine.decode`` for an image in memory; it needs no TensorFlow."""
    try:
        pixels = image.pixels(side)
    except DataError:
        return None
    return pixels if side is None else resize_to_square(pixels, side)
