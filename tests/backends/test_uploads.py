"""Whatever a stranger sends is seen as a person sees it, or refused in one line."""

import io
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from kaggle_kit.backends import uploads as module
from kaggle_kit.backends.uploads import MOST_MB, Photo
from kaggle_kit.errors import DataError
from tests.helpers.app_files import TURNED, bad_files, bomb, good_files, saved, turned


@pytest.fixture(scope="module")
def image():
    """Soft shapes, wider than high, the same in no other position."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 7, 3), np.uint8))
    return coarse.resize((210, 150), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("orientation", TURNED)
def test_a_photo_is_seen_upright(image, orientation):
    found = Photo("x.png", turned(image, orientation)).pixels()
    np.testing.assert_array_equal(found, np.asarray(image))


def test_a_turned_jpeg_is_upright_when_decoded_smaller_too(image):
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = image.resize((840, 600)).transpose(Image.Transpose.ROTATE_90)
    data = saved(lying, "JPEG", exif=exif, quality=95)
    found = Photo("x.jpg", data).pixels(100)
    assert found.shape == (150, 210, 3)
    error = np.abs(found.astype(float) - np.asarray(image))
    assert error.mean() < 6


@pytest.mark.parametrize(
    ("name", "most"),
    [("cmyk.jpg", 8), ("palette.png", 25), ("moving.gif", 25), ("turned.png", 0)],
)
def test_modes_and_formats_look_alike(image, name, most):
    found = Photo(name, good_files(image)[name]).pixels()
    assert found.shape == (150, 210, 3) and found.dtype == np.uint8
    assert np.abs(found.astype(float) - np.asarray(image)).mean() <= most


def test_sixteen_bits_are_scaled_and_not_cut_off(image):
    found = Photo("deep.png", good_files(image)["deep.png"]).pixels()
    grey = np.asarray(image.convert("L"))
    np.testing.assert_array_equal(found, np.stack([grey] * 3, axis=2))


def test_what_is_transparent_is_white(image):
    found = Photo("clear.png", good_files(image)["clear.png"]).pixels()
    assert (found[:, :105] == 255).all()
    np.testing.assert_array_equal(found[:, 105:], np.asarray(image)[:, 105:])


@pytest.mark.parametrize(
    "name", ["truncated.jpg", "heic.heic", "bomb.png", "text.jpg", "empty.jpg"]
)
def test_bad_files_are_refused_in_one_line(image, name):
    data, message = bad_files(image)[name]
    with pytest.raises(DataError, match=message) as raised:
        Photo(name, data).pixels()
    text = str(raised.value)
    assert text.startswith(f"{name}: expected a photo") and "\n" not in text


def test_a_large_file_is_refused_unread(image):
    data = saved(image, "JPEG") + bytes(MOST_MB * 10**6)
    with pytest.raises(DataError, match="smaller than 20 MB"):
        Photo("x.jpg", data)


@pytest.mark.parametrize("size", [(4000, 3001), (20_001, 10), (13_000, 13_000)])
def test_pixels_are_counted_before_any_is_decoded(size):
    tracemalloc.start()
    with pytest.raises(DataError, match="smaller than 12 million"):
        Photo("x.png", bomb(*size))
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


def test_a_large_jpeg_is_decoded_as_small_as_memory_asks(image, monkeypatch):
    data = saved(image.resize((1000, 700)), "JPEG")
    monkeypatch.setattr(module, "MOST_PIXELS", 200_000)
    assert Photo("x.jpg", data).pixels().shape == (350, 500, 3)
    progressive = saved(image.resize((1000, 700)), "JPEG", progressive=True)
    monkeypatch.setattr(module, "MOST_PROGRESSIVE", 500_000)
    Photo("x.jpg", data)
    with pytest.raises(DataError, match="1000 x 700 pixels"):
        Photo("x.jpg", progressive)


def test_a_broken_exif_does_not_hide_the_photo(image):
    data = saved(image, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert Photo("x.jpg", data).pixels().shape == (150, 210, 3)


@pytest.mark.parametrize("seed", range(40))
def test_random_damage_is_told_or_harmless(image, seed):
    """Bytes changed anywhere: a photo, or one line; never another error."""
    rng = np.random.default_rng(seed)
    kinds = [saved(image, kind) for kind in ("JPEG", "PNG", "GIF", "BMP", "WEBP")]
    data = bytearray(kinds[seed % len(kinds)])
    for place in rng.integers(0, len(data), 12):
        data[place] = rng.integers(0, 256)
    try:
        pixels = Photo("x", bytes(data)).pixels()
    except DataError as error:
        assert str(error).startswith("x: expected a photo")
    else:
        assert pixels.dtype == np.uint8 and pixels.shape[2] == 3


def test_a_photo_for_the_page_is_small(image):
    shown = Photo("x.png", saved(image.resize((2100, 1500)), "PNG")).shown
    assert max(shown.shape[:2]) <= 900
    assert Image.open(io.BytesIO(saved(Image.fromarray(shown), "JPEG"))).size[0] > 600
