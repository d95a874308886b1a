"""The formats of image files that the kit reads, and their decoder without TensorFlow.

This is the one list of formats, and the only module that opens image files with Pillow. The
app, the index, the download and the report decode with it. Training and the kernel decode
JPEGs with TensorFlow, in less time and to the same pixels, and all else with it
(``data.decode``).
"""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kaggle_kit.data.image_parts import (
    TooMuchWorkError,
    read_webp_size,
    strip_metadata,
)
from kaggle_kit.data.orientation import read_orientation, turn_upright
from kaggle_kit.data.resize import choose_ratio
from kaggle_kit.storage.regular_files import read_regular

# Names of Pillow's plugins. No other is used: some start programs, as Ghostscript.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")
FORMAT_NAMES = "JPEG, PNG, GIF, BMP or WebP"
MOST_BYTES = 2**28  # of a file
MOST_PIXELS = 2**29 // 3  # of a JPEG: TensorFlow's limit for one at full size
# Of other formats: they are decoded at full size, and converted, which takes up to 10 bytes
# for a pixel.
MOST_WHOLE_PIXELS = MOST_PIXELS // 2
# Of a BMP with run lengths, which Pillow decodes in Python: pixels, bytes, and its width.
MOST_RUN_LENGTH, MOST_RUN_WIDTH = 4_000_000, 16_384
CONVERTED = 2**20  # pixels of a CMYK image that are converted at a time
# Pillow and its plugins raise one of these for a damaged image.
DAMAGE = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, MemoryError),
    *(ArithmeticError, AttributeError, RuntimeError, struct.error, zlib.error),
    Image.DecompressionBombError,
)


def is_jpeg(content: bytes) -> bool:
    """Whether a file is a JPEG by its first bytes."""
    return content[:3] == b"\xff\xd8\xff"


def read_image(path: Path) -> bytes:
    """Read an image file; a pipe or a device is refused, which might never end.

    Raises:
        OSError: the file is missing, not a regular one or of more than ``MOST_BYTES``.
    """
    return read_regular(path, MOST_BYTES)


def open_image(content: bytes) -> Image.Image:
    """Open an image file of one of the ``FORMATS`` by its header; nothing is decoded.

    Its metadata are not read: ``data.image_parts`` says why.

    Raises:
        PIL.UnidentifiedImageError: the file is of another format.
        PIL.Image.DecompressionBombError: it has more than ``MOST_PIXELS`` pixels, or more
            than ``MOST_WHOLE_PIXELS`` and is no JPEG.
        TooMuchWorkError: it would take too long to decode.
        DAMAGE: the header is damaged.
    """
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        _require_pixels(*read_webp_size(content), MOST_WHOLE_PIXELS)
    try:
        image = Image.open(io.BytesIO(strip_metadata(content)), "r", FORMATS)
    except Image.UnidentifiedImageError:  # its text has an address in memory
        raise Image.UnidentifiedImageError(f"no {FORMAT_NAMES} file") from None
    width, height = image.size
    # Pillow's own limit can be changed.
    _require_pixels(
        width, height, MOST_PIXELS if is_jpeg(content) else MOST_WHOLE_PIXELS
    )
    if any(tile[0] == "bmp_rle" for tile in image.tile):
        _require_few_runs(width, height, len(content))
    return image


def _require_pixels(width: int, height: int, most: int) -> None:
    """Refuse an image of more than ``most`` pixels."""
    if width * height > most:
        raise Image.DecompressionBombError(
            f"{width} x {height} pixels, more than {most}"
        )


def _require_few_runs(width: int, height: int, n_bytes: int) -> None:
    """Refuse a BMP with run lengths that is not small."""
    if max(width * height, n_bytes) > MOST_RUN_LENGTH or width > MOST_RUN_WIDTH:
        raise TooMuchWorkError(f"run lengths of {width} x {height} pixels")


def decode_image(content: bytes, side: int | None = None) -> NDArray[np.uint8]:
    """Decode an image file upright, (h, w, 3); of a moving one, the first frame.

    Args:
        side: a JPEG is reduced, but not below this height or width; None: full size.

    Raises:
        DAMAGE: the file is of another format, too large or damaged.
    """
    with open_image(content) as image:
        ratio = choose_ratio(min(image.size), side) if side and is_jpeg(content) else 1
        return decode_opened(image, ratio, read_orientation(content))


def decode_opened(
    image: Image.Image, ratio: int, orientation: int
) -> NDArray[np.uint8]:
    """Decode an opened image upright, (h, w, 3).

    Args:
        ratio: by which a JPEG is reduced, 1, 2, 4 or 8; 1 for other formats.
        orientation: the EXIF orientation of the file.

    Raises:
        DAMAGE: the image is damaged.
    """
    if ratio > 1:
        image.draft(
            "RGB", (max(1, image.width // ratio), max(1, image.height // ratio))
        )
    return turn_upright(convert_to_rgb(image), orientation)


def convert_to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Convert an image of Pillow to (h, w, 3) as TensorFlow does.

    Of 16 bits the higher 8 are used. Transparency is ignored: a transparent pixel has the
    colour that is stored for it.

    Raises:
        DAMAGE: the image is damaged.
    """
    image.load()
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        high = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        return np.repeat(high[:, :, None], 3, axis=2)
    if image.mode in ("I", "F"):
        return _scale_grey(np.asarray(image).astype(np.float32))
    if image.mode == "CMYK":
        return _convert_cmyk(np.asarray(image))
    if image.mode in ("La", "RGBa"):  # colours are multiplied by their opacity
        image = image.convert(image.mode.upper())
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _convert_cmyk(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert (h, w, 4) to (h, w, 3), some rows at a time: the products have 16 bits."""
    pixels = np.empty((*values.shape[:2], 3), np.uint8)
    n = max(1, CONVERTED // values.shape[1])
    for start in range(0, len(values), n):
        light = 255 - values[start : start + n].astype(np.uint16)
        pixels[start : start + n] = light[:, :, :3] * light[:, :, 3:] // 255
    return pixels


def _scale_grey(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Scale grey values of up to 8 or 16 bits, which their maximum tells, to (h, w, 3)."""
    white_level = 65535.0 if values.max(initial=0) > 255 else 255.0
    scaled = values.clip(0, white_level) * (255 / white_level)
    return np.repeat(np.rint(scaled).astype(np.uint8)[:, :, None], 3, axis=2)
