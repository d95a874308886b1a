"""Images that were damaged or made to do damage: bits, cuts, segments, chunks, sizes."""

import io
import random
import struct
import zlib

import numpy as np
from PIL import Image

from tests.helpers import hostile_images as hostile

TEXT = b"a\0\0" + zlib.compress(bytes(10**6), 9)  # of a PNG, a megabyte
SIZES = [0, 1, 2, 7, 255, 4096, 30_000, 65_500, 65_535]
PNG = b"\x89PNG\r\n\x1a\n"


def originals() -> list[bytes]:
    """Images of all kinds that are good: in each format, in several ways, some turned."""
    found = []
    for i, (kind, mode, options) in enumerate(
        [
            ("JPEG", "RGB", {"quality": 90}),
            ("JPEG", "RGB", {"quality": 60, "progressive": True}),
            ("JPEG", "RGB", {"quality": 75, "subsampling": 0}),
            ("JPEG", "RGB", {"quality": 75, "restart_marker_blocks": 4}),
            ("JPEG", "L", {"quality": 80}),
            ("JPEG", "CMYK", {"quality": 80}),
            ("PNG", "RGB", {}),
            ("PNG", "RGBA", {}),
            ("PNG", "P", {}),
            ("PNG", "L", {}),
            ("PNG", "I;16", {}),
            ("GIF", "P", {}),
            ("BMP", "RGB", {}),
            ("WEBP", "RGB", {}),
            ("JPEG", "RGB", {"quality": 90, "exif": _turned(6)}),
            ("PNG", "RGB", {"exif": _turned(8)}),
        ]
    ):
        image = _drawn(i, 90 + 7 * i, 70 + 5 * i)
        if mode == "I;16":
            image = Image.fromarray(np.asarray(image.convert("L"), np.uint16) * 257)
        file = io.BytesIO()
        (image if mode == "I;16" else image.convert(mode)).save(file, kind, **options)
        found.append(file.getvalue())
    return found


def mutated(rng: random.Random, images: list[bytes]) -> bytes:
    """One of the images, with one to three changes."""
    content = rng.choice(images)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        if content[:2] == b"\xff\xd8":
            changes = [*ANY, *JPEG * 3]
        elif content[:8] == PNG:
            changes = [*ANY, *CHUNKS * 3]
        elif content[:3] == b"GIF":
            changes = [*ANY, _field, _comments]
        elif content[8:12] == b"WEBP":
            changes = [*ANY, _field, _canvas]
        else:
            changes = [*ANY, _field, _runs]
        content = rng.choice(changes)(rng, content, rng.choice(images))
    return content


def with_size(content: bytes, width: int, height: int) -> bytes:
    """The image, its header saying another size; all checksums are right."""
    if content[:2] == b"\xff\xd8":
        for start, _, marker in _segments(content):
            if 0xC0 <= marker <= 0xC2:
                size = struct.pack(">HH", height & 0xFFFF, width & 0xFFFF)
                return content[: start + 5] + size + content[start + 9 :]
        return content
    if content[:8] == PNG:
        chunks = _chunks(content)
        if not chunks:
            return content
        kind, data = chunks[0]
        chunks[0] = kind, struct.pack(">II", width, height) + data[8:]
        return _png(chunks)
    if content[:3] == b"GIF":
        size = struct.pack("<HH", width & 0xFFFF, height & 0xFFFF)
        at = content.find(b"\x2c", 13)  # the first picture
        content = content[:6] + size + content[10:]
        return content[: at + 5] + size + content[at + 9 :]
    return content[:18] + struct.pack("<ii", width, height) + content[26:]


def _turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def _drawn(seed: int, width: int, height: int) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def _bits(rng: random.Random, content: bytes, _: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 8, 64])):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(rng: random.Random, content: bytes, _: bytes) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _spliced(rng: random.Random, content: bytes, other: bytes) -> bytes:
    here, start = rng.randrange(len(content) + 1), rng.randrange(len(other) + 1)
    piece = other[start : start + rng.choice([1, 4, 64, 10_000])]
    return content[:here] + piece + content[here + rng.choice([0, len(piece)]) :]


def _joined(rng: random.Random, content: bytes, other: bytes) -> bytes:
    return (
        content[: rng.randrange(len(content) + 1)]
        + other[rng.randrange(len(other) + 1) :]
    )


def _emptied(rng: random.Random, content: bytes, _: bytes) -> bytes:
    start = rng.randrange(len(content) + 1)
    n = min(len(content) - start, rng.choice([1, 2, 16, 512]))
    return content[:start] + rng.choice([b"\0", b"\xff"]) * n + content[start + n :]


def _sized(rng: random.Random, content: bytes, _: bytes) -> bytes:
    return with_size(content, rng.choice(SIZES), rng.choice(SIZES))


def _field(rng: random.Random, content: bytes, _: bytes) -> bytes:
    """Another number in the header."""
    at = rng.randrange(2, max(3, min(len(content), 60) + 2))
    number = rng.choice([0, 1, 255, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 65_535])
    return content[:at] + struct.pack("<I", number) + content[at + 4 :]


def _segments(content: bytes) -> list[tuple[int, int, int]]:
    """(start, end, marker) of the segments of a JPEG, up to its scan."""
    found, at = [], 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        end = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        found.append((at, end, content[at + 1]))
        if content[at + 1] == 0xDA:
            break
        at = end
    return found


def _segment(rng: random.Random, content: bytes, other: bytes) -> bytes:
    """A segment of a JPEG left out, doubled, moved, renamed or from another image."""
    segments = _segments(content)
    if not segments:
        return content
    start, end, _ = rng.choice(segments)
    piece = content[start:end]
    how = rng.randrange(6)
    if how == 0:
        return content[:start] + content[end:]
    if how == 1:
        return content[:end] + piece * rng.choice([1, 2, 50]) + content[end:]
    if how == 2:
        place = rng.choice(segments)[0]
        return content[:place] + piece + content[place:]
    if how == 3:
        marker = bytes([rng.choice([*range(0xC0, 0xF0), 0xFE, rng.randrange(256)])])
        return content[: start + 1] + marker + content[start + 2 :]
    if how == 4:
        length = struct.pack(
            ">H", rng.choice([0, 1, 2, 3, 17, 65_535, min(end - start, 65_535)])
        )
        return content[: start + 2] + length + content[start + 4 :]
    others = _segments(other)
    if not others:
        return content
    first, last, _ = rng.choice(others)
    return content[:start] + other[first:last] + content[end:]


def _marker(rng: random.Random, content: bytes, _: bytes) -> bytes:
    """A marker in the middle of a JPEG's scan: an end, a restart, another start."""
    at = rng.randrange(2, len(content) + 1) if len(content) > 2 else 0
    marker = bytes([0xFF, rng.choice([0xD0, 0xD7, 0xD8, 0xD9, 0xDA, 0xC0, 0xC4, 0xDD])])
    return content[:at] + marker + content[at + rng.choice([0, 2]) :]


def _chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """(kind, data) of the chunks of a PNG."""
    found, at = [], 8
    while at + 8 <= len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        found.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
        at += 12 + size
    return found


def _png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    content = PNG
    for kind, data in chunks:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        content += struct.pack(">I", len(data)) + kind + data + checksum
    return content


def _chunk(rng: random.Random, content: bytes, other: bytes) -> bytes:
    """A chunk of a PNG left out, doubled, renamed, changed or from another image."""
    chunks = _chunks(content)
    if not chunks:
        return content
    i = rng.randrange(len(chunks))
    kind, data = chunks[i]
    how = rng.randrange(6)
    if how == 0:
        del chunks[i]
    elif how == 1:
        chunks[i:i] = [chunks[i]] * rng.choice([1, 2, 50])
    elif how == 2:
        names = [
            b"PLTE",
            b"IDAT",
            b"IEND",
            b"tRNS",
            b"gAMA",
            b"iCCP",
            b"XxXx",
            b"\0" * 4,
        ]
        chunks[i] = rng.choice(names), data
    elif how == 3 and data:
        at = rng.randrange(len(data))
        chunks[i] = kind, data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
    elif how == 4:
        chunks[i] = kind, data[: rng.randrange(len(data) + 1)]
    elif _chunks(other):
        chunks[i] = rng.choice(_chunks(other))
    return _png(chunks)


def _length(rng: random.Random, content: bytes, _: bytes) -> bytes:
    """Another length, or a wrong checksum, in a PNG."""
    places = [i for i in range(8, len(content) - 8) if content[i : i + 4].isalpha()]
    at = rng.choice(places or [8])
    number = rng.choice([0, 1, 12, 0x7FFFFFFF, 0xFFFFFFFF, len(content)])
    return content[: at - 4] + struct.pack(">I", number) + content[at:]


def _bomb(rng: random.Random, content: bytes, _: bytes) -> bytes:
    """A PNG whose pixels are a few bytes that unpack to many."""
    chunks = [c for c in _chunks(content) if c[0] not in (b"IDAT", b"IEND")]
    packed = zlib.compress(bytes(rng.choice([10**3, 10**7])), 9)
    return _png([*chunks, (b"IDAT", packed), (b"IEND", b"")])


def _scans(rng: random.Random, content: bytes, _: bytes) -> bytes:
    """The scans of a JPEG again and again, of its own or another size, or empty ones."""
    start = content.find(b"\xff\xda", 2)
    if start < 0:
        return content
    if rng.random() < 0.5:
        content = with_size(content, rng.choice(LARGE), rng.choice(LARGE))
        start = content.find(b"\xff\xda", 2)
    scans = content[start:].removesuffix(b"\xff\xd9")
    kinds = [scans, scans[:20], hostile.scan(range(1), 1, 63, rng.randrange(2), 0)]
    return content + rng.choice(kinds) * rng.choice([9, 90, 900]) + b"\xff\xd9"


def _progressive(rng: random.Random, content: bytes, _: bytes) -> bytes:
    """Another JPEG, of many scans."""
    kind = rng.choice(["refine", "first", "dc", "empty"])
    size = rng.choice(LARGE), rng.choice(LARGE)
    return hostile.jpeg_of_scans(rng.choice(N), *size, rng.randrange(1, 5), kind)


def _segments_again(rng: random.Random, content: bytes, _: bytes) -> bytes:
    """Thousands of segments, of EXIF or any other, before those of a JPEG."""
    data = rng.choice([b"", b"Exif\0\0" + hostile.exif_of_entries(3000), b"MPF\0II*\0"])
    marker = rng.choice([0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xFE])
    junk = rng.choice([b"", b"", b"x", b"\xff" * 9])
    segments = (hostile.segment(marker, data) + junk) * rng.choice(N)
    return content[:2] + segments + content[2:]


def _texts(rng: random.Random, content: bytes, _: bytes) -> bytes:
    """Many chunks that are no pixels, before and behind those of a PNG."""
    kind = rng.choice([b"zTXt", b"iCCP", b"iTXt", b"eXIf", b"fcTL", b"IDAT", b"xxXx"])
    chunks = _chunks(content)
    more = [(kind, rng.choice([TEXT, b"", bytes(26)]))] * rng.choice(N)
    at = rng.randrange(len(chunks) + 1)
    return _png([*chunks[:at], *more, *chunks[at:]])


def _comments(rng: random.Random, content: bytes, _: bytes) -> bytes:
    """Comments in a GIF, or a screen that its picture does not fill."""
    if rng.random() < 0.3:
        return hostile.gif((rng.choice(LARGE), rng.choice(LARGE)), (1, 1))
    at = 13 + (3 << (content[10] & 7) + 1 if len(content) > 10 else 0)
    comments = hostile.gif_comments(rng.choice(N), rng.choice([1, 255]))
    return content[:at] + comments + content[at:]


def _canvas(rng: random.Random, content: bytes, _: bytes) -> bytes:
    """A moving WebP, of any size."""
    sides = [1, 8, *LARGE, 2**14, 2**24]
    return hostile.webp_with_canvas(rng.choice(sides), rng.choice(sides))


def _runs(rng: random.Random, content: bytes, _: bytes) -> bytes:
    """A BMP with run lengths of all kinds."""
    kinds = [b"\1\1", b"\0\0", b"\0\2\xff\xff", b"\xff\7", b"\0\5abcde\0", b"\0\1"]
    runs = b"".join(rng.choices(kinds, k=rng.choice(N)))
    size = rng.choice(LARGE), rng.choice([1, *LARGE])
    return hostile.bmp_of_runs(*size, runs, rng.random() < 0.5)


LARGE = [8, 64, 64, 500, 500, 2000, 9000, 65_000]
N = [10, 100, 1000, 5000]
ANY = [_bits, _cut, _spliced, _joined, _emptied, _sized]
JPEG = [_segment, _marker, _scans, _progressive, _segments_again]
CHUNKS = [_chunk, _length, _bomb, _texts]
