"""The EXIF orientation of an image file, and pixels turned upright by it.

Phones store an image as the sensor sees it and note how to turn it. Every reader of the kit
uses this module, so all see the same image upright. Other notes of the orientation, as in
XMP, are not read.
"""

import struct
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

UPRIGHT = 1  # the orientation of an image that needs no turn
MOST_PARTS = 10_000  # of a file that are looked at, which bounds the time
MOST_BYTES = 65_536  # of EXIF data; a JPEG cannot hold more
ORIENTATION, SHORT = 0x0112, 3  # the tag, and the type of its value
EXIF = b"Exif\0\0"
PNG = b"\x89PNG\r\n\x1a\n"
# How an array is turned upright: whether its axes are swapped, and which are then reversed.
TURNS: dict[int, tuple[bool, tuple[int, ...]]] = {
    2: (False, (1,)),
    3: (False, (0, 1)),
    4: (False, (0,)),
    5: (True, ()),
    6: (True, (1,)),
    7: (True, (0, 1)),
    8: (True, (0,)),
}
# JPEG markers: start of scan, end of image, the segment of EXIF, and those without a length
SCAN, END, APP1, BARE = 0xDA, 0xD9, 0xE1, (0x01, *range(0xD0, 0xD9))

PNG_CHUNK, WEBP_CHUNK = ">I4s", "<4sI"  # length and name; name and length

Pixels = TypeVar("Pixels", bound=np.generic)


def read_orientation(content: bytes) -> int:
    """The EXIF orientation of a JPEG, PNG or WebP file, 1 to 8; 1 means upright.

    It is 1, too, for any other file and where the EXIF data are missing or malformed. Only
    headers are read, a bounded number of them: of a JPEG, those before its pixels.
    """
    try:
        return parse_exif(_find_exif(content))
    except (struct.error, IndexError):  # the file is cut off
        return UPRIGHT


def parse_exif(data: bytes) -> int:
    """The orientation in EXIF data, 1 to 8; 1 if it is missing or malformed.

    Args:
        data: a TIFF header with its directory, with or without ``Exif`` before it.
    """
    data = data[:MOST_BYTES].removeprefix(EXIF)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None:
        return UPRIGHT
    try:
        (start,) = struct.unpack_from(f"{order}I", data, 4)
        (n_entries,) = struct.unpack_from(f"{order}H", data, start)
        for at in range(start + 2, start + 2 + 12 * n_entries, 12):
            tag, kind, count, value = struct.unpack_from(f"{order}HHIH", data, at)
            if tag == ORIENTATION:
                is_valid = (kind, count) == (SHORT, 1) and value in TURNS
                return value if is_valid else UPRIGHT
    except struct.error:  # the directory ends beyond the data
        pass
    return UPRIGHT


def turn_upright(pixels: NDArray[Pixels], orientation: int) -> NDArray[Pixels]:
    """Turn the pixels of an image file upright, (h, w, ...) -> (h, w, ...) or (w, h, ...).

    Args:
        orientation: the EXIF orientation of the file, 1 to 8.
    """
    if orientation == UPRIGHT:
        return pixels
    swaps, reversed_axes = TURNS[orientation]
    turned = pixels.swapaxes(0, 1) if swaps else pixels
    return np.ascontiguousarray(np.flip(turned, reversed_axes))


def turn_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Width and height of an image upright, from those of its file."""
    swaps = orientation != UPRIGHT and TURNS[orientation][0]
    return size[::-1] if swaps else size


def _find_exif(content: bytes) -> bytes:
    """The EXIF data of a file; no bytes if it has none.

    Raises:
        struct.error, IndexError: the file is cut off before them.
    """
    if content[:2] == b"\xff\xd8":
        return _find_in_jpeg(content)
    if content[:8] == PNG:
        return _find_chunk(content, 8, PNG_CHUNK, b"eXIf")
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return _find_chunk(content, 12, WEBP_CHUNK, b"EXIF")
    return b""


def _find_in_jpeg(content: bytes) -> bytes:
    """The first EXIF segment of a JPEG before its scan."""
    at = 2
    for _ in range(MOST_PARTS):
        marker = content[at + 1]
        if content[at] != 0xFF or marker in (SCAN, END):
            break
        if marker == 0xFF:  # a byte that fills a gap
            at += 1
        elif marker in BARE:
            at += 2
        else:
            (length,) = struct.unpack_from(">H", content, at + 2)
            if marker == APP1 and content[at + 4 : at + 10] == EXIF:
                return content[at + 4 : at + 2 + length]
            at += 2 + max(2, length)
    return b""


def _find_chunk(content: bytes, at: int, header: str, name: bytes) -> bytes:
    """The first chunk with a name, of a PNG or WebP file whose chunks begin at ``at``.

    Args:
        header: ``PNG_CHUNK`` or ``WEBP_CHUNK``.
    """
    is_png = header == PNG_CHUNK
    for _ in range(MOST_PARTS):
        fields = struct.unpack_from(header, content, at)
        length, kind = fields if is_png else fields[::-1]
        if kind == name:
            return content[at + 8 : at + 8 + min(length, MOST_BYTES)]
        # behind a chunk of PNG is a checksum; the chunks of WebP have even lengths
        at += 12 + length if is_png else 8 + length + length % 2
    return b""
