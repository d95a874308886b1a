"""Any upload is either decoded as a person sees it, or refused with one line."""

import io
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from kaggle_kit.backends import uploads as module
from kaggle_kit.backends.uploads import MAX_MB, CheckedImage
from kaggle_kit.errors import DataError
from tests.helpers.app_files import (
    ORIENTED,
    bad_files,
    decompression_bomb,
    encode,
    encode_oriented,
    good_files,
)


@pytest.fixture(scope="module")
def image():
    """Smooth shapes, wider than high, different in every orientation."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 7, 3), np.uint8))
    return coarse.resize((210, 150), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("orientation", ORIENTED)
def test_an_image_is_seen_upright(image, orientation):
    pixels = CheckedImage("x.png", encode_oriented(image, orientation)).pixels()
    np.testing.assert_array_equal(pixels, np.asarray(image))


def test_a_rotated_jpeg_is_upright_at_a_reduced_size_too(image):
    exif = Image.Exif()
    exif[0x0112] = 6
    rotated = image.resize((840, 600)).transpose(Image.Transpose.ROTATE_90)
    data = encode(rotated, "JPEG", exif=exif, quality=95)
    pixels = CheckedImage("x.jpg", data).pixels(100)
    assert pixels.shape == (150, 210, 3)
    error = np.abs(pixels.astype(float) - np.asarray(image))
    assert error.mean() < 6


@pytest.mark.parametrize(
    ("name", "max_error"),
    [("cmyk.jpg", 8), ("palette.png", 25), ("moving.gif", 25), ("turned.png", 0)],
)
def test_modes_and_formats_look_alike(image, name, max_error):
    pixels = CheckedImage(name, good_files(image)[name]).pixels()
    assert pixels.shape == (150, 210, 3) and pixels.dtype == np.uint8
    assert np.abs(pixels.astype(float) - np.asarray(image)).mean() <= max_error


def test_of_sixteen_bits_the_higher_eight_are_seen(image):
    pixels = CheckedImage("deep.png", good_files(image)["deep.png"]).pixels()
    grey = np.asarray(image.convert("L"))
    np.testing.assert_array_equal(pixels, np.stack([grey] * 3, axis=2))


def test_transparent_pixels_have_the_colour_stored_for_them(image):
    """As in the kernel, whose answer the app gives."""
    pixels = CheckedImage("clear.png", good_files(image)["clear.png"]).pixels()
    assert (pixels[:, :105] == 0).all()
    np.testing.assert_array_equal(pixels[:, 105:], np.asarray(image)[:, 105:])


@pytest.mark.parametrize(
    "name", ["truncated.jpg", "heic.heic", "bomb.png", "text.jpg", "empty.jpg"]
)
def test_bad_files_are_refused_in_one_line(image, name):
    data, message = bad_files(image)[name]
    with pytest.raises(DataError, match=message) as error:
        CheckedImage(name, data).pixels()
    text = str(error.value)
    assert text.startswith(f"{name}: expected an image") and "\n" not in text


def test_a_large_file_is_refused_before_its_header_is_read(image):
    data = encode(image, "JPEG") + bytes(MAX_MB * 10**6)
    with pytest.raises(DataError, match="smaller than 20 MB"):
        CheckedImage("x.jpg", data)


@pytest.mark.parametrize("size", [(4000, 3001), (20_001, 10), (13_000, 13_000)])
def test_an_image_of_too_many_pixels_is_refused_before_decoding(size):
    tracemalloc.start()
    with pytest.raises(DataError, match="smaller than 12 million"):
        CheckedImage("x.png", decompression_bomb(*size))
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


def test_a_large_jpeg_is_reduced_to_fit_into_memory(image, monkeypatch):
    data = encode(image.resize((1000, 700)), "JPEG")
    monkeypatch.setattr(module, "MAX_PIXELS", 200_000)
    assert CheckedImage("x.jpg", data).pixels().shape == (350, 500, 3)
    progressive = encode(image.resize((1000, 700)), "JPEG", progressive=True)
    monkeypatch.setattr(module, "MAX_PIXELS_PROGRESSIVE", 500_000)
    CheckedImage("x.jpg", data)
    with pytest.raises(DataError, match="1000 x 700 pixels"):
        CheckedImage("x.jpg", progressive)


def test_a_malformed_exif_does_not_prevent_decoding(image):
    data = encode(image, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert CheckedImage("x.jpg", data).pixels().shape == (150, 210, 3)


@pytest.mark.parametrize("seed", range(40))
def test_random_damage_is_refused_or_harmless(image, seed):
    """Random bytes are changed. The result is an image or a ``DataError``."""
    rng = np.random.default_rng(seed)
    kinds = [encode(image, kind) for kind in ("JPEG", "PNG", "GIF", "BMP", "WEBP")]
    data = bytearray(kinds[seed % len(kinds)])
    for position in rng.integers(0, len(data), 12):
        data[position] = rng.integers(0, 256)
    try:
        pixels = CheckedImage("x", bytes(data)).pixels()
    except DataError as error:
        assert str(error).startswith("x: expected an image")
    else:
        assert pixels.dtype == np.uint8 and pixels.shape[2] == 3


def test_a_preview_is_small(image):
    data = encode(image.resize((2100, 1500)), "PNG")
    preview = CheckedImage("x.png", data).preview
    assert max(preview.shape[:2]) <= 900
    jpeg = encode(Image.fromarray(preview), "JPEG")
    assert Image.open(io.BytesIO(jpeg)).size[0] > 600
