"""Files of strangers as photos: checked before they are decoded, and seen upright."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kaggle_kit.data.index import DAMAGE
from kaggle_kit.data.resize import RATIOS, ratio_for
from kaggle_kit.errors import DataError

MOST_MB = 20  # of a file
MOST_PIXELS = 12_000_000  # decoded at once: 36 MB, and a few times that on the way
# A JPEG is decoded smaller, so it may have more; but of a progressive one all
# coefficients are held, 6 bytes a pixel.
MOST_OF_JPEG, MOST_PROGRESSIVE = 64_000_000, 24_000_000
LONGEST = 20_000  # pixels of a side
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")
KNOWN = "JPEG, PNG, GIF, BMP or WebP"
HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
ORIENTATION = 0x0112  # the EXIF tag
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

T = TypeVar("T")
_THREAD = ThreadPoolExecutor(1)


def alone(work: Callable[[], T]) -> T:
    """Do what takes the memory of a large photo, after what others have asked for.

    It is one thread for all sessions of the page, since each thread keeps some of the
    memory that it has used. What is done in it may not ask for it again.
    """
    return _THREAD.submit(work).result()


class Photo:
    """A file whose header is that of a photo of bearable size.

    Attributes:
        name: of the file, for messages.
        data: its content.
        size: width and height in pixels, before it is turned upright.
    """

    def __init__(self, name: str, data: bytes):
        """Look at the header; nothing is decoded yet.

        Raises:
            DataError: it is no photo, or too large; one line that says what to do.
        """
        self.name, self.data = name, data
        if not data:
            raise self._refused("an empty file", "send it again")
        if len(data) > MOST_MB * 1e6:
            raise self._refused(
                f"{len(data) / 1e6:.0f} MB", f"make it smaller than {MOST_MB} MB"
            )
        self._refuse_other_formats()
        with self._opened() as image:
            self.size = image.size
            self.is_jpeg = image.format in ("JPEG", "MPO")
            progressive = bool(image.info.get("progressive"))
            n_pixels = image.size[0] * image.size[1]
        most = MOST_PIXELS
        if self.is_jpeg:
            most = MOST_PROGRESSIVE if progressive else MOST_OF_JPEG
        if n_pixels > most or max(self.size) > LONGEST:
            width, height = self.size
            raise self._refused(
                f"{width} x {height} pixels",
                f"make it smaller than {most / 1e6:.0f} million pixels and "
                f"{LONGEST} a side",
            )

    def pixels(self, side: int | None = None) -> NDArray[np.uint8]:
        """Decode the photo: upright, (h, w, 3); of a moving one the first picture.

        A JPEG without a word on its orientation gives the very pixels of
        ``decode.reduced``.

        Args:
            side: what both sides are to have at least, if the photo has it; None: its
                whole size, as far as ``MOST_PIXELS`` allows.

        Raises:
            DataError: it does not decode.
        """
        with self._opened() as image:
            if self.is_jpeg:
                ratio = ratio_for(min(self.size), side) if side else 1
                width, height = self.size
                while width * height > MOST_PIXELS * ratio**2 and ratio < RATIOS[-1]:
                    ratio *= 2
                image.draft("RGB", (max(1, width // ratio), max(1, height // ratio)))
            return self._tried(lambda: upright_rgb(image))

    @cached_property
    def shown(self) -> NDArray[np.uint8]:
        """The photo for a page: its shorter side about 400 pixels, no more than needed."""
        return alone(self._shown)

    def _shown(self) -> NDArray[np.uint8]:
        image = Image.fromarray(self.pixels(400))
        image.thumbnail((900, 600))
        return np.asarray(image)

    def _opened(self) -> Image.Image:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return self._tried(lambda: Image.open(io.BytesIO(self.data), "r", FORMATS))

    def _tried(self, step: Callable[[], T]) -> T:
        """What a decoder makes of the file; whatever it raises is about the file."""
        try:
            return step()
        except Image.DecompressionBombError:
            raise self._refused(
                "far too many pixels",
                f"make it smaller than {MOST_PIXELS / 1e6:.0f} million",
            ) from None
        except Image.UnidentifiedImageError:
            raise self._refused(
                "something else", "send the photo itself, or save it again as JPEG"
            ) from None
        except DAMAGE as error:
            early = "truncated" in str(error) or isinstance(error, EOFError)
            got = "a part of one" if early else "a damaged one"
            raise self._refused(
                got, "send it again, or save it again as JPEG"
            ) from None

    def _refuse_other_formats(self) -> None:
        if self.data[4:8] == b"ftyp":
            brand = self.data[8:12]
            kind = "HEIC" if brand in HEIC else f"{brand.decode('latin-1')!r}"
            raise self._refused(
                f"{kind}, which is another format",
                "export it as JPEG (on an iPhone: Settings, Camera, Formats, Most "
                "Compatible)",
            )

    def _refused(self, got: str, advice: str) -> DataError:
        return DataError(
            f"{self.name}: expected a photo ({KNOWN}), got {got}; {advice}"
        )


def upright_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Decode a PIL image to (h, w, 3), turned as its EXIF orientation says."""
    whole = _rgb(image)
    turn = UPRIGHT.get(_orientation(image))
    return np.asarray(whole if turn is None else whole.transpose(turn))


def _orientation(image: Image.Image) -> int:
    """How a camera was held, 1 to 8; 1, upright, where it does not say so properly."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except DAMAGE:  # whatever is wrong in it, the photo is there
        return 1


def _rgb(image: Image.Image) -> Image.Image:
    """Eight bits of red, green and blue; what is transparent shows white."""
    if image.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
        values = np.asarray(image).astype(np.float32)
        most = 65535.0 if values.max(initial=0) > 255 else 255.0
        grey = np.rint(values.clip(0, most) * (255 / most)).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        seen = image.convert("RGBA")
        white = Image.new("RGB", seen.size, "white")
        white.paste(seen, mask=seen.getchannel("A"))
        return white
    image.load()
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy it
