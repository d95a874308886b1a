"""A photo as strangers send it: in other modes and formats, turned, and broken."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

ORIENTATION = 0x0112
TURNED = {  # how to turn an upright photo so that the tag turns it back
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    """An image as a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned(image: Image.Image, orientation: int) -> bytes:
    """As a camera saves it that was held otherwise; without loss."""
    turn = TURNED[orientation]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    lying = image if turn is None else image.transpose(turn)
    return saved(lying, "PNG", exif=exif)


def sixteen_bits(image: Image.Image) -> bytes:
    """Grey, of 16 bits a pixel."""
    grey = np.asarray(image.convert("L")).astype(np.uint16) * 257
    return saved(Image.fromarray(grey), "PNG")


def moving(image: Image.Image) -> bytes:
    """A GIF whose second picture is another."""
    other = Image.new("RGB", image.size, "red")
    return saved(image, "GIF", save_all=True, append_images=[other], duration=100)


def clear(image: Image.Image) -> bytes:
    """A PNG whose left half is transparent, and black below that."""
    pixels = np.array(image.convert("RGBA"))
    pixels[:, : image.width // 2] = 0
    return saved(Image.fromarray(pixels), "PNG")


def bomb(width: int = 50_000, height: int = 50_000) -> bytes:
    """A PNG of few bytes and many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        crc = struct.pack(">I", zlib.crc32(checked))
        return struct.pack(">I", len(data)) + checked + crc

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1_000_000), 9)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def heic() -> bytes:
    """How a photo of an iPhone begins."""
    return struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic" + bytes(100)


def good_files(image: Image.Image) -> dict[str, bytes]:
    """Files that are to be answered, by name."""
    return {
        "turned.png": turned(image, 6),
        "cmyk.jpg": saved(image.convert("CMYK"), "JPEG"),
        "palette.png": saved(image.convert("P"), "PNG"),
        "deep.png": sixteen_bits(image),
        "moving.gif": moving(image),
        "clear.png": clear(image),
    }


def bad_files(image: Image.Image) -> dict[str, tuple[bytes, str]]:
    """Files that are to be refused, by name, and what is to be said."""
    whole = saved(image, "JPEG")
    return {
        "truncated.jpg": (whole[: len(whole) // 2], "got a part of one"),
        "heic.heic": (heic(), "got HEIC, which is another format; export it as JPEG"),
        "bomb.png": (bomb(), "make it smaller than 12 million"),
        "text.jpg": (b"this is no photo\n" * 50, "got something else"),
        "empty.jpg": (b"", "got an empty file"),
    }
