"""Resize the images of a tar as they are unpacked."""

import io

from PIL import Image

from kaggle_kit.backends.uploads import decode_upright

QUALITY = 95  # of JPEG, without chroma subsampling: as in shards, by default


def shrink(content: bytes, side: int) -> bytes:
    """The bytes of an image whose longer side has at most ``side`` pixels.

    A larger image becomes a JPEG: its longer side has ``side`` pixels, its EXIF
    orientation is applied, and it has no metadata. Others are returned unchanged. The same
    image gives the same bytes.

    Raises:
        data.index.DAMAGE: the image does not decode.
    """
    with Image.open(io.BytesIO(content)) as image:
        if max(image.size) <= side:
            return content
        image.draft(
            "RGB", (2 * side, 2 * side)
        )  # a JPEG decodes faster at half its size
        small = Image.fromarray(decode_upright(image))
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    small.save(file, "JPEG", quality=QUALITY, subsampling=0)
    return file.getvalue()
