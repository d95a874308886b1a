"""Uploads: an image in other modes, formats and orientations, and damaged files."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

ORIENTATION = 0x0112
ORIENTED = {  # the transpose of an upright image that each orientation tag reverts
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    """Encode an image as a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def encode_oriented(
    image: Image.Image, orientation: int, kind: str = "PNG", **options: object
) -> bytes:
    """A file with transposed pixels and the EXIF orientation that makes it upright."""
    transpose = ORIENTED[orientation]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    transposed = image if transpose is None else image.transpose(transpose)
    return encode(transposed, kind, exif=exif, **options)


def encode_sixteen_bits(image: Image.Image) -> bytes:
    """A PNG in grey, with 16 bits per pixel."""
    grey = np.asarray(image.convert("L")).astype(np.uint16) * 257
    return encode(Image.fromarray(grey), "PNG")


def encode_animation(image: Image.Image) -> bytes:
    """A GIF of two frames; the second one is red."""
    other = Image.new("RGB", image.size, "red")
    return encode(image, "GIF", save_all=True, append_images=[other], duration=100)


def encode_transparent(image: Image.Image) -> bytes:
    """A PNG whose left half is transparent black."""
    pixels = np.array(image.convert("RGBA"))
    pixels[:, : image.width // 2] = 0
    return encode(Image.fromarray(pixels), "PNG")


def decompression_bomb(width: int = 50_000, height: int = 50_000) -> bytes:
    """A PNG with few bytes and many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        content = kind + data
        crc = struct.pack(">I", zlib.crc32(content))
        return struct.pack(">I", len(data)) + content + crc

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1_000_000), 9)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def heic() -> bytes:
    """The header of an image of an iPhone."""
    return struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic" + bytes(100)


def good_files(image: Image.Image) -> dict[str, bytes]:
    """Files that the app must answer, by name."""
    return {
        "turned.png": encode_oriented(image, 6),
        "cmyk.jpg": encode(image.convert("CMYK"), "JPEG"),
        "palette.png": encode(image.convert("P"), "PNG"),
        "deep.png": encode_sixteen_bits(image),
        "moving.gif": encode_animation(image),
        "clear.png": encode_transparent(image),
    }


def bad_files(image: Image.Image) -> dict[str, tuple[bytes, str]]:
    """Files that the app must refuse, by name, each with a part of the message."""
    whole = encode(image, "JPEG")
    return {
        "truncated.jpg": (whole[: len(whole) // 2], "got a truncated file"),
        "heic.heic": (heic(), "got the format HEIC; export it as JPEG"),
        "bomb.png": (decompression_bomb(), "make it smaller than 12 million"),
        "text.jpg": (b"this is no image\n" * 50, "got a file of another format"),
        "empty.jpg": (b"", "got an empty file"),
    }
