"""Read images for a page, as thumbnails."""

import io
from pathlib import Path

from PIL import Image

from kaggle_kit.data.image_files import DAMAGE, decode_image, read_image
from kaggle_kit.report.html import Html, picture, tag

SIDE = 256  # longer side of a thumbnail in pixels
QUALITY = 80  # of JPEG


def thumbnail(path: Path, side: int = SIDE) -> bytes | None:
    """A JPEG thumbnail with sides of at most ``side`` pixels; None if it does not decode.

    The thumbnail is upright and has no metadata, such as a position or the name of
    the camera's owner. JPEGs are decoded at the smallest size that suffices.
    """
    try:
        small = Image.fromarray(decode_image(read_image(path), side))
    except DAMAGE:
        return None
    small.thumbnail((side, side))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def image(path: Path | None, alt: str, absent: str = "no image at hand") -> Html:
    """An element with a thumbnail, or with the reason why there is none.

    Args:
        path: of the image, or None.
        alt: text alternative.
        absent: the reason if ``path`` is None.
    """
    data = thumbnail(path) if path else None
    if data is None:
        reason = "no file, or it does not decode" if path else absent
        return tag("div", reason, class_="absent")
    return picture(data, "jpeg", alt)
