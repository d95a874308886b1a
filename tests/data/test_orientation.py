"""The EXIF orientation: found in every container, and never an error, whatever the bytes."""

import io
import random
import struct

import numpy as np
import pytest
from PIL import Image, ImageOps

from kaggle_kit.data import orientation as module
from kaggle_kit.data.orientation import (
    parse_exif,
    read_orientation,
    turn_size,
    turn_upright,
)
from tests.helpers import mutated_images as mutants
from tests.helpers.app_files import ORIENTED, encode, encode_oriented

KINDS = ("JPEG", "PNG", "WEBP")
IMAGE = Image.fromarray(np.arange(6 * 4 * 3, dtype=np.uint8).reshape(4, 6, 3))


def tiff(value, order="<", tag=0x0112, kind=3, count=1):
    """EXIF data with one entry in their directory."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    entry = struct.pack(f"{order}HHIHH", tag, kind, count, value, 0)
    return mark + struct.pack(f"{order}IH", 8, 1) + entry + bytes(4)


def segment(marker, data):
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def with_segments(*segments):
    """A JPEG with segments before its own."""
    plain = encode(IMAGE, "JPEG")
    return plain[:2] + b"".join(segments) + plain[2:]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("orientation", ORIENTED)
def test_it_is_what_another_library_reads(kind, orientation):
    content = encode_oriented(IMAGE, orientation, kind)
    with Image.open(io.BytesIO(content)) as image:
        assert image.getexif()[0x0112] == orientation
    assert read_orientation(content) == orientation


@pytest.mark.parametrize("orientation", ORIENTED)
def test_pixels_and_size_are_turned_as_by_another_library(orientation):
    with Image.open(io.BytesIO(encode_oriented(IMAGE, orientation))) as image:
        upright = ImageOps.exif_transpose(image)
        turned = turn_upright(np.asarray(image), orientation)
        assert turn_size(image.size, orientation) == upright.size == IMAGE.size
    np.testing.assert_array_equal(turned, np.asarray(upright))
    np.testing.assert_array_equal(turned, np.asarray(IMAGE))


@pytest.mark.parametrize("order", "<>")
def test_both_byte_orders_are_read(order):
    for value in ORIENTED:
        assert parse_exif(tiff(value, order)) == value
        assert parse_exif(b"Exif\0\0" + tiff(value, order)) == value


def test_segments_and_gaps_before_the_exif_data_are_passed_over():
    exif = segment(0xE1, b"Exif\0\0" + tiff(6))
    others = [segment(0xE2, bytes(60_000)), segment(0xFE, b"a note"), b"\xff" * 9]
    xmp = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>")
    assert read_orientation(with_segments(*others, xmp, exif)) == 6
    assert (
        read_orientation(with_segments(exif, segment(0xE1, b"Exif\0\0" + tiff(3)))) == 6
    )


def test_exif_data_behind_the_pixels_of_a_png_are_read():
    content = encode(IMAGE, "PNG")
    end = content.index(b"IEND") - 4
    chunk = struct.pack(">I", 26) + b"eXIf" + tiff(8) + bytes(4)
    assert len(tiff(8)) == 26
    assert read_orientation(content[:end] + chunk + content[end:]) == 8


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"Exif\0\0",
        tiff(0),
        tiff(9),
        tiff(6, kind=4),
        tiff(6, count=2),
        tiff(6, tag=0x0113),
        tiff(6)[:19],
        b"II*\0\xff\xff\xff\xff\x01\0",
        b"MM*\0" + tiff(6)[4:],
        b"II*\0" + struct.pack("<IH", 8, 65_535) + bytes(40),
    ],
)
def test_malformed_exif_data_mean_upright(data):
    assert parse_exif(data) == 1
    assert read_orientation(with_segments(segment(0xE1, b"Exif\0\0" + data))) == 1


def test_exif_data_in_the_pixels_or_in_other_files_are_not_read():
    exif = segment(0xE1, b"Exif\0\0" + tiff(6))
    plain = encode(IMAGE, "JPEG")
    for content in (plain + exif, exif, b"\xff\xd8\xff\xd9" + exif, b"GIF89a" + exif):
        assert read_orientation(content) == 1
    for kind in ("GIF", "BMP"):
        assert read_orientation(encode(IMAGE, kind)) == 1


def test_any_bytes_give_an_orientation(tried):
    rng = random.Random(0)
    files = [encode_oriented(IMAGE, 6, kind) for kind in KINDS]
    for content in files:
        for end in range(len(content)):
            assert read_orientation(content[:end]) in (1, 6)
    for _ in range(600):
        content = bytearray(mutants.mutated(rng, files))
        for _ in range(rng.randrange(4)):
            if content:
                content[rng.randrange(min(len(content), 120))] = rng.randrange(256)
        assert read_orientation(bytes(content)) in ORIENTED
        assert parse_exif(bytes(content[12:])) in ORIENTED
        tried["changed images asked for their orientation"] += 1


@pytest.mark.parametrize("kind", KINDS)
def test_only_so_many_parts_of_a_file_are_looked_at(kind, monkeypatch):
    """A file of millions of tiny parts takes no more time."""
    exif = {
        "JPEG": (b"\xff\xd8", b"\xff", segment(0xE1, b"Exif\0\0" + tiff(6))),
        "PNG": (
            mutants.PNG,
            bytes(4) + b"tIME" + bytes(4),
            struct.pack(">I", 26) + b"eXIf" + tiff(6),
        ),
        "WEBP": (
            b"RIFF\0\0\0\0WEBP",
            b"ANMF" + bytes(4),
            b"EXIF" + struct.pack("<I", 26) + tiff(6),
        ),
    }
    start, part, wanted = exif[kind]
    monkeypatch.setattr(module, "MOST_PARTS", 50)
    assert read_orientation(start + 49 * part + wanted) == 6
    assert read_orientation(start + 50 * part + wanted) == 1
