"""Files made to take a decoder long are refused or read in no time, all others as before."""

import io
import os
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from kaggle_kit.backends.uploads import CheckedImage
from kaggle_kit.data import image_parts
from kaggle_kit.data.image_files import DAMAGE, convert_to_rgb, decode_image, open_image
from kaggle_kit.data.image_parts import TooMuchWorkError, check_scans, strip_metadata
from kaggle_kit.data.index import look
from kaggle_kit.errors import DataError
from tests.helpers import hostile_images as hostile
from tests.helpers import mutated_images as mutants

MILLION = zlib.compress(bytes(10**6), 9)
ROOT = Path(__file__).parents[2]


def saved(kind, **options):
    """An image of 300 x 200 pixels in a format."""
    coarse = np.random.default_rng(0).integers(0, 256, (6, 6, 3), np.uint8)
    image = Image.fromarray(coarse).resize((300, 200), Image.Resampling.BICUBIC)
    if kind == "GIF":
        image = image.convert("P")
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def frames(kind, **options):
    """The same as the first of two frames."""
    return saved(kind, save_all=True, append_images=[Image.new("RGB", (300, 200))])


def texts():
    """Texts and a colour profile for a PNG."""
    info = PngImagePlugin.PngInfo()
    info.add_text("a", "b" * 1000, zip=True)
    info.add_itxt("c", "d")
    return info


WITH_METADATA = {
    "jpeg": lambda: saved("JPEG", exif=b"Exif\0\0" + bytes(99), comment=b"x" * 999),
    "icc": lambda: saved("JPEG", icc_profile=bytes(200_000)),
    "progressive": lambda: saved("JPEG", progressive=True, icc_profile=bytes(99)),
    "mpo": lambda: frames("MPO"),
    "png": lambda: saved("PNG", pnginfo=texts(), icc_profile=bytes(99), dpi=(9, 9)),
    "apng": lambda: frames("PNG"),
    "gif": lambda: saved("GIF", comment=b"x" * 999, transparency=3, duration=9),
    "gifs": lambda: frames("GIF", loop=0),
    "webp": lambda: saved("WEBP", exif=b"Exif\0\0" + bytes(99)),
    "webps": lambda: frames("WEBP"),
    "bmp": lambda: saved("BMP"),
}


@pytest.mark.parametrize("name", WITH_METADATA)
def test_pixels_are_those_of_the_whole_file(name):
    content = WITH_METADATA[name]()
    with Image.open(io.BytesIO(content)) as image:
        expected = convert_to_rgb(image)
    assert (decode_image(content) == expected).all()
    assert len(strip_metadata(content)) <= len(content)


def test_images_of_four_colours_are_converted_alike_whatever_their_height():
    """Some rows at a time; here, one product for each pixel."""
    values = np.random.default_rng(0).integers(0, 256, (1500, 1400, 4), np.uint8)
    found = convert_to_rgb(Image.frombytes("CMYK", (1400, 1500), values.tobytes()))
    light = 255 - values[::7, ::7].astype(int)
    assert (found[::7, ::7] == light[:, :, :3] * light[:, :, 3:] // 255).all()


def test_metadata_are_not_read():
    for name in ("jpeg", "icc", "png", "apng", "gif", "mpo"):
        info = open_image(WITH_METADATA[name]()).info
        left = {"exif", "comment", "icc_profile", "a", "c", "mp", "dpi"} & set(info)
        assert not left, name


def test_files_of_cameras_and_encoders_have_few_scans():
    """Those of libjpeg have ten scans, or six of a grey image."""
    for content in mutants.originals():
        if content[:2] == b"\xff\xd8":
            head = check_scans(content)
            n = image_parts._count_scans(content, head.scan)
            assert n in ((10, 6) if head.has_more_scans else (1,))


def write_scans(n, *, progressive=True):
    """A JPEG of so many scans."""
    if progressive:
        return hostile.jpeg_of_scans(n, 64, 64)
    head = hostile.jpeg_head(0xC0, 64, 64)
    return head + hostile.scan(range(1), 0, 63, 0, 0) * n + b"\xff\xd9"


@pytest.mark.parametrize("progressive", [True, False])
def test_scans_are_counted_up_to_the_limit(progressive):
    most = image_parts.MOST_SCANS
    check_scans(write_scans(most, progressive=progressive))
    with pytest.raises(TooMuchWorkError, match=f"{most + 1} scans"):
        check_scans(write_scans(most + 1, progressive=progressive))


def test_scans_of_many_pixels_may_be_fewer():
    check_scans(hostile.jpeg_of_scans(12, 13_000, 13_000))
    with pytest.raises(TooMuchWorkError, match="13 scans"):
        check_scans(hostile.jpeg_of_scans(13, 13_000, 13_000))


def test_what_stands_behind_the_only_scan_is_no_scan():
    """A thumbnail in a segment, and images behind the end, as in panoramas."""
    one = saved("JPEG", exif=b"Exif\0\0" + write_scans(99))
    assert not check_scans(one + hostile.jpeg_of_scans(999, 64, 64)).has_more_scans
    many = saved("JPEG", progressive=True)
    check_scans(many + hostile.jpeg_of_scans(999, 64, 64))


def test_to_look_at_a_usual_jpeg_takes_microseconds():
    content = saved("JPEG", quality=95) + bytes(10**6)
    start = time.perf_counter()
    for _ in range(1000):
        check_scans(content)
    assert time.perf_counter() - start < 0.1  # 5 ms on an idle machine


SMALL_FILES = {
    "scans": lambda: hostile.jpeg_of_scans(6000, 4000, 3000),
    "scans of a small image": lambda: hostile.jpeg_of_scans(10**5, 8, 8),
    "scans of nothing": lambda: hostile.jpeg_of_scans(6000, 4000, 3000, 4, "empty"),
    "scans of dc": lambda: hostile.jpeg_of_scans(6000, 4000, 3000, 3, "dc"),
    "scans in sequence": lambda: write_scans(6000, progressive=False),
    "EXIF of many parts": lambda: hostile.jpeg_of_exif(40),
    "segments": lambda: hostile.jpeg_of_segments(10**6, 0xFE, b""),
    "tables": lambda: hostile.jpeg_of_segments(50_000, 0xDB, bytes([0, *[1] * 64])),
    "EXIF segments": lambda: hostile.jpeg_of_segments(
        500, 0xE1, b"Exif\0\0" + bytes(60_000)
    ),
    "junk": lambda: hostile.jpeg_of_segments(1, 0xFE, b"", b"x" * 30_000_000),
    "fill bytes": lambda: hostile.jpeg_of_segments(1, 0xFE, b"", b"\xff" * 10_000_000),
    "fill bytes, no marker": lambda: b"\xff\xd8" + (b"\xff" * 10**6 + b"\0") * 20,
    "texts": lambda: hostile.png_of_chunks(3000, b"zTXt", b"a\0\0" + MILLION),
    "profiles": lambda: hostile.png_of_chunks(3000, b"iCCP", b"a\0\0" + MILLION),
    "EXIF of a PNG": lambda: hostile.png_of_chunks(
        1, b"eXIf", hostile.exif_of_entries(900_000)
    ),
    "chunks": lambda: hostile.png_of_chunks(10**6, b"tEXt", b""),
    "zeros": lambda: hostile.png_of_zeros(300, 100, 100),
    "sides": lambda: hostile.png_head(30_000, 30_000) + hostile.chunk(b"IDAT", b""),
    "screen": lambda: hostile.gif((65_535, 65_535), (1, 1)),
    "comments": lambda: hostile.gif((8, 8), (8, 8), hostile.gif_comments(90_000, 255)),
    "short comments": lambda: hostile.gif(
        (8, 8), (8, 8), hostile.gif_comments(10**7, 1)
    ),
    "canvas": lambda: hostile.webp_with_canvas(2**24, 2**7),
    "square canvas": lambda: hostile.webp_with_canvas(2**15, 2**15),
    "long line": lambda: hostile.bmp_of_runs(80_000_000, 1, b"\1\1\0\0"),
    "runs": lambda: hostile.bmp_of_runs(9000, 9000, b"\1\1" * 5_000_000),
    "jump": lambda: hostile.bmp_of_runs(4_000_000, 1, b"\0\2\xff\xff\1\1"),
}


@pytest.mark.parametrize("name", SMALL_FILES)
def test_a_file_made_to_take_long_is_refused_or_read_at_once(name):
    """Without the bounds each takes from seconds to hours, or gigabytes."""
    content = SMALL_FILES[name]()
    start = time.process_time()
    try:
        assert decode_image(content).size < 10**6
    except DAMAGE as error:
        assert str(error)
    assert time.process_time() - start < 3


def noise(kind, width, height, **options):
    """An image of noise, which packs badly."""
    tile = np.random.default_rng(0).integers(0, 256, (500, 500, 3), np.uint8)
    repeats = (height // 500 + 1, width // 500 + 1, 1)
    image = Image.fromarray(np.tile(tile, repeats)[:height, :width])
    image = image.getchannel(0) if kind == "GIF" else image
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


# Of all that is still read, what takes longest.
AT_THE_LIMITS = {
    "JPEG, 100 scans": lambda: hostile.jpeg_of_scans(100, 5600, 3800),
    "JPEG, 12 scans": lambda: hostile.jpeg_of_scans(12, 13_000, 13_000),
    "JPEG, 100 scans of dc": lambda: hostile.jpeg_of_scans(100, 5600, 3800, 4, "dc"),
    "JPEG of four colours": lambda: hostile.jpeg_of_scans(4, 13_000, 13_700, 4, "dc"),
    "JPEG": lambda: noise("JPEG", 13_000, 13_000, quality=95),
    "PNG of 16 bits": lambda: hostile.png_of_zeros(720, 9400, 9400, 16, 6, 1),
    "PNG, a column": lambda: hostile.png_of_zeros(400, 1, 89_000_000),
    "PNG": lambda: noise("PNG", 9400, 9400, compress_level=1),
    "GIF": lambda: noise("GIF", 9400, 9400),
    "WebP": lambda: noise("WEBP", 9400, 9400, method=0),
    "WebP without loss": lambda: noise(
        "WEBP", 9400, 9400, method=0, lossless=True, quality=0
    ),
    "BMP": lambda: hostile.bmp_of_runs(16_000, 250, b"\1\1\0\0" * 250),
    "BMP of runs": lambda: hostile.bmp_of_runs(2000, 1900, b"\1\1" * 1_990_000),
}
MOST_S, MOST_MB = 20, 2600  # 5 s on an idle machine


DECODE = """
import sys, time
from pathlib import Path
from kaggle_kit.data.image_files import DAMAGE, decode_image
from tests.helpers.memory import peak_mb
content = Path(sys.argv[1]).read_bytes()
start, said = time.process_time(), "decoded"
try:
    decode_image(content)
except DAMAGE as error:
    said = str(error)
print(time.process_time() - start, peak_mb(), said)
"""


@pytest.mark.extended
@pytest.mark.parametrize("name", AT_THE_LIMITS)
def test_what_takes_longest_takes_seconds(name, tmp_path, capsys):
    """In a process of its own, for its memory."""
    (tmp_path / "x").write_bytes(AT_THE_LIMITS[name]())
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DECODE, str(tmp_path / "x")],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    with capsys.disabled():
        print(f"\n{name}: {done.stdout.strip()} (s, MB)")
    seconds, mb, said = done.stdout.split(maxsplit=2)
    assert "more than" not in said and "scans of" not in said
    assert float(seconds) < MOST_S and float(mb) < MOST_MB


def test_the_app_says_what_is_too_much():
    for content in (SMALL_FILES["scans"](), SMALL_FILES["runs"]()):
        with pytest.raises(DataError, match="expected an image.*pixels; save it again"):
            CheckedImage("x", content)
    with pytest.raises(DataError, match="truncated"):
        CheckedImage("x", saved("JPEG")[:50])


FOR_THE_APP = {
    "scans": lambda: hostile.jpeg_of_scans(89, 6000, 4000),
    "scans of dc": lambda: hostile.jpeg_of_scans(89, 6000, 4000, 4, "dc"),
    "JPEG": lambda: noise("JPEG", 8000, 8000, quality=20),
    "PNG": lambda: hostile.png_of_zeros(100, 4000, 3000, 16, 6, 1),
    "WebP": lambda: noise("WEBP", 4000, 3000, method=0),
    "BMP": lambda: hostile.bmp_of_runs(16_000, 250, b"\1\1\0\0" * 250),
}


@pytest.mark.extended
@pytest.mark.parametrize("name", FOR_THE_APP)
def test_no_upload_holds_up_the_others_for_long(name, capsys):
    """All uploads are decoded in one thread, and without a deadline: none is needed."""
    start = time.process_time()
    try:
        CheckedImage("x", FOR_THE_APP[name]()).pixels()
    except DataError as error:
        assert "damaged" in str(error)
    with capsys.disabled():
        print(f"\n{name}: {time.process_time() - start:.1f} s")
    assert time.process_time() - start < 10


def test_what_a_file_says_of_its_size_takes_no_memory(tmp_path):
    path = tmp_path / "x"
    path.touch()
    os.truncate(path, 2**40)
    assert "more than" in look(path)
