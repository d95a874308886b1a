"""Small image files that take a decoder long, written byte by byte."""

import io
import struct
import zlib

from PIL import Image

PNG = b"\x89PNG\r\n\x1a\n"


def segment(marker: int, data: bytes) -> bytes:
    """A segment of a JPEG."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def scan(components: range, start: int, end: int, high: int, low: int) -> bytes:
    """The header of a progressive scan: its band of coefficients, and its bits."""
    tables = b"".join(bytes([i + 1, 0]) for i in components)
    data = bytes([len(components)]) + tables + bytes([start, end, high << 4 | low])
    return segment(0xDA, data)


def jpeg_head(
    frame: int, width: int, height: int, components: int = 3, sampling: int = 0x11
) -> bytes:
    """The start of a JPEG up to its first scan; each Huffman table has one code.

    Args:
        frame: the marker of the frame: 0xC0 is baseline, 0xC2 progressive.
    """
    layers = b"".join(bytes([i + 1, sampling, 0]) for i in range(components))
    size = struct.pack(">BHHB", 8, height, width, components)
    # The codes 0 and 10: no change; and of AC, a run of 2**14 blocks without coefficients.
    dc = bytes([0x00, 1, *[0] * 15, 0])
    ac = bytes([0x10, 1, *[0] * 15, 0xE0])
    return (
        b"\xff\xd8"
        + segment(0xDB, bytes([0, *[1] * 64]))
        + segment(frame, size + layers)
        + segment(0xC4, dc)
        + segment(0xC4, ac)
    )


def jpeg_of_scans(
    n: int, width: int, height: int, components: int = 3, kind: str = "refine"
) -> bytes:
    """A progressive JPEG of one colour with so many scans.

    Args:
        kind: ``refine``: each looks at every coefficient of one component, and finds
            nothing to change; ``first``: at every block; ``dc``: of all components at once;
            ``empty``: has no data.
    """
    head = jpeg_head(0xC2, width, height, components)
    everything, one = range(components), range(1)
    first = scan(everything, 0, 0, 0, 1)
    n_blocks = -(-width // 8) * -(-height // 8)
    runs = bytes(2) * (n_blocks // 2**14 + 1)  # each code 0 and 14 bits of 0
    again = {
        "refine": scan(one, 1, 63, 1, 0) + runs,
        "first": scan(one, 1, 63, 0, 1) + runs,
        "dc": scan(everything, 0, 0, 1, 0),
        "empty": scan(one, 1, 63, 0, 0),
    }[kind]
    return head + first + again * (n - 1) + b"\xff\xd9"


def jpeg_of_segments(n: int, marker: int, data: bytes, after: bytes = b"") -> bytes:
    """A JPEG of 64 x 64 pixels with so many segments before its frame."""
    image = jpeg_head(0xC0, 64, 64) + scan(range(3), 0, 63, 0, 0) + b"\0" * 64
    return image[:2] + (segment(marker, data) + after) * n + image[2:] + b"\xff\xd9"


def exif_of_entries(size: int) -> bytes:
    """EXIF data full of entries, each of which has all of the data as its value."""
    n = min(65_535, (size - 14) // 12)
    entries = (struct.pack("<HHII", tag, 7, size, 0) for tag in range(n))
    return b"II*\0" + struct.pack("<IH", 8, n) + b"".join(entries) + bytes(size)


def jpeg_of_exif(n: int) -> bytes:
    """A JPEG whose EXIF data are joined from so many segments, with endless entries."""
    data = exif_of_entries(60_000 * n)[: 60_000 * n]
    parts = (data[i : i + 60_000] for i in range(0, len(data), 60_000))
    exif = b"".join(segment(0xE1, b"Exif\0\0" + part) for part in parts)
    image = jpeg_of_segments(0, 0, b"")
    return image[:2] + exif + image[2:]


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checksum


def png_head(
    width: int, height: int, depth: int = 8, colour: int = 2, interlace: int = 0
) -> bytes:
    """The start of a PNG; ``colour`` 0 is grey, 2 RGB, 6 RGBA."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    return PNG + chunk(b"IHDR", header)


def png_of_chunks(n: int, kind: bytes, data: bytes) -> bytes:
    """A PNG of one pixel, with so many chunks before and behind it."""
    pixel = chunk(b"IDAT", zlib.compress(bytes(4)))
    others = chunk(kind, data) * n
    return png_head(1, 1) + others + pixel + others + chunk(b"IEND", b"")


def png_of_zeros(
    n: int, width: int, height: int, depth: int = 8, colour: int = 2, interlace: int = 0
) -> bytes:
    """A PNG whose pixels unpack to n million zeros, however many it needs."""
    packer = zlib.compressobj(9)
    million = bytes(10**6)
    packed = b"".join(packer.compress(million) for _ in range(n)) + packer.flush()
    head = png_head(width, height, depth, colour, interlace)
    return head + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def gif(screen: tuple[int, int], frame: tuple[int, int], before: bytes = b"") -> bytes:
    """A GIF with a screen, and a frame of whose pixels there is one."""
    head = b"GIF89a" + struct.pack("<HH", *screen) + b"\x80\0\0" + bytes(6)
    picture = b"," + struct.pack("<HHHHB", 0, 0, *frame, 0)
    return head + before + picture + b"\x02\x02\x44\x01\0;"


def gif_comments(n: int, size: int) -> bytes:
    """Comments for a GIF, in n blocks of a size."""
    return b"!\xfe" + (bytes([size]) + b"x" * size) * n + b"\0"


def webp_with_canvas(width: int, height: int) -> bytes:
    """A WebP file of a few pixels that says that it has others."""
    file = io.BytesIO()
    frames = [Image.new("RGB", (8, 8), c) for c in ("red", "blue")]
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:])
    content = file.getvalue()
    sides = b"".join((x - 1).to_bytes(3, "little") for x in (width, height))
    return content[:24] + sides + content[30:]


def bmp_of_runs(width: int, height: int, runs: bytes, four_bits: bool = False) -> bytes:
    """A BMP with run lengths."""
    head = struct.pack(
        "<IiiHHIIIIII",
        *(40, width, height, 1, 4 if four_bits else 8, 2 if four_bits else 1),
        *(len(runs), 0, 0, 16, 0),
    )
    colours = b"".join(bytes([i, 0, 0, 0]) for i in range(16))
    start = 14 + len(head) + len(colours)
    size = struct.pack("<IHHI", start + len(runs), 0, 0, start)
    return b"BM" + size + head + colours + runs
