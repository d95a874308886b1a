"""Validate untrusted uploads, and decode them within the memory of a small host."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kaggle_kit.data.image_files import (
    DAMAGE,
    FORMAT_NAMES,
    decode_opened,
    is_jpeg,
    open_image,
    read_image,
)
from kaggle_kit.data.image_parts import TooMuchWorkError
from kaggle_kit.data.orientation import read_orientation
from kaggle_kit.data.resize import RATIOS, choose_ratio
from kaggle_kit.errors import DataError

MAX_MB = 20  # of a file
MAX_PIXELS = (
    12_000_000  # of a decoded image: 36 MB, and a few times that while decoding
)
# Pixels of a JPEG, which can be decoded at a reduced size. The coefficients of a
# progressive one are all in memory, with 6 bytes per pixel.
MAX_PIXELS_JPEG, MAX_PIXELS_PROGRESSIVE = 64_000_000, 24_000_000
MAX_SIDE = 20_000  # pixels
HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

T = TypeVar("T")
_DECODE_THREAD = ThreadPoolExecutor(1)


def run_on_decode_thread(work: Callable[[], T]) -> T:
    """Run a function that needs the memory of a large image, one at a time.

    All sessions of the app share one thread, since a thread does not return all of its
    memory to the system. ``work`` must not call this function: it would deadlock.
    """
    return _DECODE_THREAD.submit(work).result()


def read_upload(path: Path) -> CheckedImage:
    """Read a file as if it were uploaded.

    Raises:
        OSError: it is missing, or not a regular file.
        DataError: as for ``CheckedImage``.
    """
    return CheckedImage(path.name, read_image(path))


class CheckedImage:
    """An image file with a valid header and a size that fits into memory.

    Attributes:
        name: of the file, for error messages.
        data: content of the file.
        size: width and height in pixels, before the EXIF orientation is applied.
        is_jpeg: whether it can be decoded at a reduced size.
    """

    def __init__(self, name: str, data: bytes):
        """Check the header; nothing is decoded.

        Raises:
            DataError: the file is no image, or too large.
        """
        self.name, self.data = name, data
        if not data:
            raise self._error("an empty file", "upload it again")
        if len(data) > MAX_MB * 1e6:
            raise self._error(
                f"{len(data) / 1e6:.0f} MB", f"make it smaller than {MAX_MB} MB"
            )
        self._refuse_other_formats()
        with self._open() as image:
            self.size = image.size
            self.is_jpeg = is_jpeg(data)
            is_progressive = bool(image.info.get("progressive"))
            n_pixels = image.size[0] * image.size[1]
        max_pixels = MAX_PIXELS
        if self.is_jpeg:
            max_pixels = MAX_PIXELS_PROGRESSIVE if is_progressive else MAX_PIXELS_JPEG
        if n_pixels > max_pixels or max(self.size) > MAX_SIDE:
            width, height = self.size
            raise self._error(
                f"{width} x {height} pixels",
                f"make it smaller than {max_pixels / 1e6:.0f} million pixels and "
                f"{MAX_SIDE} pixels a side",
            )

    def pixels(self, side: int | None = None) -> NDArray[np.uint8]:
        """Decode the image upright, (h, w, 3); of a moving one, the first frame.

        The pixels are identical to those of ``data.image_files.decode_image``, but for a
        JPEG of more than ``MAX_PIXELS``.

        Args:
            side: a JPEG is reduced, but not below this height or width; None: full size,
                reduced only to fit ``MAX_PIXELS``.

        Raises:
            DataError: the image does not decode.
        """
        ratio = 1
        if self.is_jpeg:
            ratio = choose_ratio(min(self.size), side) if side else 1
            width, height = self.size
            while width * height > MAX_PIXELS * ratio**2 and ratio < RATIOS[-1]:
                ratio *= 2
        orientation = read_orientation(self.data)
        with self._open() as image:
            return self._convert_errors(
                lambda: decode_opened(image, ratio, orientation)
            )

    @cached_property
    def preview(self) -> NDArray[np.uint8]:
        """A small copy for a page: at most 900 x 600 pixels, its shorter side about 400."""
        return run_on_decode_thread(self._decode_preview)

    def _decode_preview(self) -> NDArray[np.uint8]:
        image = Image.fromarray(self.pixels(400))
        image.thumbnail((900, 600))
        return np.asarray(image)

    def _open(self) -> Image.Image:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return self._convert_errors(lambda: open_image(self.data))

    def _convert_errors(self, step: Callable[[], T]) -> T:
        """Run a step of Pillow; any error it raises becomes a ``DataError``."""
        try:
            return step()
        except Image.DecompressionBombError:
            raise self._error(
                "far too many pixels",
                f"make it smaller than {MAX_PIXELS / 1e6:.0f} million pixels",
            ) from None
        except TooMuchWorkError as error:
            raise self._error(str(error), "save it again as JPEG") from None
        except Image.UnidentifiedImageError:
            raise self._error(
                "a file of another format",
                "upload the image itself, or save it again as JPEG",
            ) from None
        except DAMAGE as error:
            is_cut = "truncated" in str(error) or isinstance(error, EOFError)
            raise self._error(
                "a truncated file" if is_cut else "a damaged file",
                "upload it again, or save it again as JPEG",
            ) from None

    def _refuse_other_formats(self) -> None:
        """Raise an error that names the format, for formats of the HEIF family."""
        if self.data[4:8] == b"ftyp":
            brand = self.data[8:12]
            kind = "HEIC" if brand in HEIC else f"{brand.decode('latin-1')!r}"
            raise self._error(
                f"the format {kind}",
                "export it as JPEG (on an iPhone: Settings, Camera, Formats, Most "
                "Compatible)",
            )

    def _error(self, got: str, advice: str) -> DataError:
        return DataError(
            f"{self.name}: expected an image ({FORMAT_NAMES}), got {got}; {advice}"
        )
