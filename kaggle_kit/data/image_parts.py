"""What a decoder is given of an image file: work that is bounded, and no metadata.

The time that an image takes is to follow from its pixels and its bytes. In a JPEG, each of
thousands of scans may change every pixel. Pillow reads metadata in Python, often again and
again. No pixel depends on them, so it gets none.
"""

import re
import struct
from typing import NamedTuple

PNG = b"\x89PNG\r\n\x1a\n"
GIF = (b"GIF87a", b"GIF89a")
MOST_PARTS = 100_000  # segments, chunks or blocks of a file
# Cameras and other encoders write 10 to 20 scans. A scan of a pixel takes up to a
# nanosecond.
MOST_SCANS, MOST_SCANNED_PIXELS = 100, 2**31

# A marker of a JPEG with a length behind it, which those of restarts do not have. The last
# of several 0xFF begins it; 0xFF00 is a byte of the pixels.
MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
SCAN, END = 0xDA, 0xD9
TABLES = (0xC4, 0xC8, 0xCC)  # not frames, although among their markers
FRAMES = frozenset(range(0xC0, 0xD0)) - frozenset(TABLES)
# Its segments that a decoder needs: frames and tables, and what says how colours are stored
NEEDED = FRAMES | {*TABLES, *range(0xDA, 0xE0), 0xE0, 0xEE}
PNG_NEEDED = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
GIF_CONTROL = 0xF9  # the extension with the transparent colour


class TooMuchWorkError(OSError):
    """An image would take too long to decode for its pixels."""


class JpegHead(NamedTuple):
    """The segments of a JPEG before its first scan.

    needed: (start, end) of those that a decoder needs.
    scan: the start of the first scan.
    n_pixels: width times height.
    has_more_scans: whether decoders read more than the first scan.
    """

    needed: list[tuple[int, int]]
    scan: int
    n_pixels: int
    has_more_scans: bool


def check_scans(content: bytes) -> JpegHead:
    """Refuse a JPEG with too many scans. Of others, the segments before the first scan.

    Most JPEGs have one scan, and only their first segments are looked at.

    Raises:
        TooMuchWorkError: it has more than ``MOST_SCANS`` or
            ``MOST_SCANNED_PIXELS``, or more than ``MOST_PARTS``.
        OSError, struct.error, IndexError: it is truncated before the first scan.
    """
    head = _read_jpeg_head(content)
    if head.has_more_scans:
        n = _count_scans(content, head.scan)
        if n > MOST_SCANS or n * head.n_pixels > MOST_SCANNED_PIXELS:
            raise TooMuchWorkError(f"{n} scans of {head.n_pixels} pixels")
    return head


def strip_metadata(content: bytes) -> bytes:
    """An image file without its metadata, and of a moving GIF or PNG the first frame.

    A BMP or WebP file is unchanged, as one of another format.

    Raises:
        TooMuchWorkError: see ``check_scans``.
        OSError: the file is truncated.
    """
    try:
        if content[:3] == b"\xff\xd8\xff":
            return _strip_jpeg(content)
        if content[:8] == PNG:
            return PNG + b"".join(_needed_chunks(content))
        if content[:6] in GIF:
            return _strip_gif(content)
    except (struct.error, IndexError):
        raise OSError("truncated header") from None
    return content


def read_webp_size(content: bytes) -> tuple[int, int]:
    """Width and height of a WebP file: its decoder would take memory for them first.

    Raises:
        OSError: the header is damaged or truncated.
    """
    if len(content) < 30:
        raise OSError("truncated header")
    kind = content[12:16]
    if kind == b"VP8X":
        width, height = (
            int.from_bytes(content[i : i + 3], "little") + 1 for i in (24, 27)
        )
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", content, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 ":
        width, height = (x & 0x3FFF for x in struct.unpack_from("<HH", content, 26))
    else:
        raise OSError("a WebP file without a size")
    return width, height


def _read_jpeg_head(content: bytes) -> JpegHead:
    needed: list[tuple[int, int]] = []
    at, frame, n_pixels, n_components = 2, 0, 0, 0
    for _ in range(MOST_PARTS):
        found = MARKER.search(content, at)
        if found is None:
            break
        start = found.start()
        marker = content[start + 1]
        if marker == END:
            break
        if marker == SCAN:
            is_part = content[start + 4] < n_components
            is_progressive = frame & 3 == 2
            return JpegHead(needed, start, n_pixels, is_part or is_progressive)
        (length,) = struct.unpack_from(">H", content, start + 2)
        at = start + 2 + max(2, length)
        if marker in FRAMES:
            height, width, n_components = struct.unpack_from(">HHB", content, start + 5)
            frame, n_pixels = marker, width * height
        if marker in NEEDED:
            needed.append((start, at))
    else:
        raise TooMuchWorkError(f"more than {MOST_PARTS} segments")
    raise OSError("truncated before the first scan")


def _count_scans(content: bytes, at: int) -> int:
    """The scans of a JPEG from the first on, up to one more than ``MOST_SCANS``."""
    n = 0
    for _ in range(MOST_PARTS):
        found = MARKER.search(content, at)
        if found is None:
            return n
        at = found.start()
        marker = content[at + 1]
        n += marker == SCAN
        if marker == END or n > MOST_SCANS or at + 4 > len(content):
            return n
        at += 2 + max(2, content[at + 2] << 8 | content[at + 3])
    raise TooMuchWorkError(f"more than {MOST_PARTS} segments")


def _strip_jpeg(content: bytes) -> bytes:
    head = check_scans(content)
    needed = [content[start:end] for start, end in head.needed]
    return b"".join([b"\xff\xd8", *needed, content[head.scan :]])


def _needed_chunks(content: bytes) -> list[bytes]:
    """The chunks of a PNG that a decoder needs."""
    needed: list[bytes] = []
    at = 8
    for _ in range(MOST_PARTS):
        kind = content[at + 4 : at + 8]
        if len(kind) < 4:
            return needed
        (length,) = struct.unpack_from(">I", content, at)
        end = at + 12 + length
        if kind in PNG_NEEDED or not kind.isalpha():  # Pillow refuses the others
            needed.append(content[at:end])
        if kind == b"IEND" or not kind.isalpha():
            return needed
        at = end
    raise TooMuchWorkError(f"more than {MOST_PARTS} chunks")


def _strip_gif(content: bytes) -> bytes:
    """The header of a GIF, what its first frame needs, and all from that frame on."""
    flags = content[10]
    at = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    needed = [content[:at]]
    n_parts = 0
    while content[at] == 0x21:  # an extension
        start, at = at, at + 2
        while content[at]:  # a block of it
            at += 1 + content[at]
            n_parts += 1
            if n_parts > MOST_PARTS:
                raise TooMuchWorkError(f"more than {MOST_PARTS} blocks")
        at += 1
        n_parts += 1
        if content[start + 1] == GIF_CONTROL:
            needed.append(content[start:at])
    return b"".join([*needed, content[at:]])
