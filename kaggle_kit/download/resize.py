"""Resize the images of a tar as they are unpacked."""

import io

from PIL import Image

from kaggle_kit.data.image_files import decode_opened, is_jpeg, open_image
from kaggle_kit.data.orientation import read_orientation
from kaggle_kit.data.resize import choose_ratio

QUALITY = 95  # of JPEG, without chroma subsampling: as in shards, by default


def shrink(content: bytes, side: int) -> bytes:
    """The bytes of an image whose longer side has at most ``side`` pixels.

    A larger image becomes a JPEG: its longer side has ``side`` pixels, its EXIF
    orientation is applied, and it has no metadata. Others are returned unchanged. The same
    image gives the same bytes.

    Raises:
        data.image_files.DAMAGE: the image does not decode.
    """
    with open_image(content) as image:
        longer = max(image.size)
        if longer <= side:
            return content
        # A JPEG decodes faster at a part of its size.
        ratio = choose_ratio(longer, 2 * side) if is_jpeg(content) else 1
        pixels = decode_opened(image, ratio, read_orientation(content))
    small = Image.fromarray(pixels)
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    small.save(file, "JPEG", quality=QUALITY, subsampling=0)
    return file.getvalue()
