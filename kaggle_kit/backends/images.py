"""Images in memory, arrays and PIL images, as inputs besides files."""

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from kaggle_kit.backends.base import Image, MemoryImage
from kaggle_kit.data.image_files import DAMAGE, convert_to_rgb
from kaggle_kit.data.orientation import (
    ORIENTATION,
    TURNS,
    UPRIGHT,
    parse_exif,
    turn_upright,
)
from kaggle_kit.data.resize import resize_to_square
from kaggle_kit.errors import DataError

XMP = ("xmp", "XML:com.adobe.xmp")  # where Pillow keeps it, by format and version


class ArrayImage:
    """An image that is decoded already, (h, w, 3) uint8."""

    def __init__(self, array: NDArray[np.uint8]):
        self._array = array

    def pixels(self, side: int | None = None) -> NDArray[np.uint8]:
        """Return the array; ``side`` is ignored."""
        return self._array


class UnreadableImage:
    """An image that does not decode, with the reason."""

    def __init__(self, reason: str):
        self._reason = reason

    def pixels(self, side: int | None = None) -> NDArray[np.uint8]:
        """Raise a ``DataError`` with the reason."""
        raise DataError(self._reason)


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
    elif isinstance(source, PIL.Image.Image):
        return _decode_pillow(source)
    elif hasattr(source, "pixels"):
        upload: MemoryImage = source
        return upload
    else:
        got = type(source).__name__
    raise DataError(
        f"image: expected a path, a PIL image or a (h, w, 3) uint8 array, got {got}; "
        f"convert it"
    )


def _decode_pillow(image: PIL.Image.Image) -> MemoryImage:
    """Decode an image of Pillow upright, as a file with its content is decoded."""
    try:
        return ArrayImage(turn_upright(convert_to_rgb(image), _orientation(image)))
    except DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        return UnreadableImage(
            f"image: expected an image that decodes, got {reason}; save it again as JPEG"
        )


def _orientation(image: PIL.Image.Image) -> int:
    """The EXIF orientation of a decoded image of Pillow; 1 if it has none.

    It is that of its file, or one that was set in the image. Pillow would also take it from
    XMP, which is not read of files.
    """
    data = image.info.get("exif")
    if isinstance(data, bytes):
        return parse_exif(data)
    if any(name in image.info for name in XMP):
        return UPRIGHT
    value = image.getexif().get(ORIENTATION)
    return value if value in TURNS else UPRIGHT


def decode_memory(image: MemoryImage, side: int | None) -> NDArray[np.uint8] | None:
    """``Engine.decode`` for an image in memory; it needs no TensorFlow."""
    try:
        pixels = image.pixels(side)
    except DataError:
        return None
    return pixels if side is None else resize_to_square(pixels, side)
