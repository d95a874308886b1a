"""Photos made small enough to be put into a page."""

import io
from pathlib import Path

from PIL import Image, ImageOps

from kaggle_kit.data.index import DAMAGE
from kaggle_kit.report.html import Html, picture, tag

SIDE = 256  # pixels of a photo's longer side
QUALITY = 80


def thumbnail(path: Path, side: int = SIDE) -> bytes | None:
    """A photo as a JPEG file of at most ``side`` pixels, upright; None if it is no photo.

    Nothing but its pixels is kept: no place, no name of a camera's owner. JPEGs are decoded
    at the smallest size that is large enough.
    """
    try:
        with Image.open(path) as photo:
            photo.draft("RGB", (side, side))
            upright = ImageOps.exif_transpose(photo)
            small = upright.convert("RGB")
    except DAMAGE:
        return None
    small.thumbnail((side, side))
    small.info = {}
    file = io.BytesIO()
    small.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def photo(path: Path | None, alt: str, absent: str = "no photo at hand") -> Html:
    """A photo for the page, or a frame that says why there is none."""
    data = thumbnail(path) if path else None
    if data is None:
        reason = "no file, or it does not decode" if path else absent
        return tag("div", reason, class_="absent")
    return picture(data, "jpeg", alt)
