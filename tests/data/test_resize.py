"""NumPy and Pillow give pixels that are identical to those of TensorFlow."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kaggle_kit.backends.uploads import CheckedImage
from kaggle_kit.data import decode, resize
from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.storage.tables import read_sample
from tests.helpers.decoding import decode_batches

SHAPES = [(96, 96), (97, 31), (1, 50), (300, 211), (333, 512), (31, 5000), (900, 7)]


@pytest.mark.parametrize("size", [32, 96, 224, 448])
@pytest.mark.parametrize("shape", SHAPES)
def test_resizing_is_bit_identical_to_tensorflow(shape, size):
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    expected = decode.resize_to_square(tf.constant(pixels), size)
    np.testing.assert_array_equal(resize.resize_to_square(pixels, size), expected)


def test_the_width_of_a_band_does_not_change_the_pixels(monkeypatch):
    pixels = np.random.default_rng(1).integers(0, 256, (60, 700, 3), np.uint8)
    whole = resize.resize_to_square(pixels, 64)
    monkeypatch.setattr(resize, "BAND", 50)
    np.testing.assert_array_equal(resize.resize_to_square(pixels, 64), whole)


def test_weights_sum_to_one():
    for n_old, n in ((7, 3), (3, 7), (512, 224), (1, 5)):
        starts, weights = resize.compute_weights(n_old, n)
        np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
        assert (starts >= 0).all() and (weights >= 0).all()


def jpeg(width, height, **options):
    rng = np.random.default_rng((width, height))
    coarse = Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8))
    soft = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), float)
    noisy = (soft + rng.normal(0, 6, soft.shape)).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    mode = options.pop("mode", "RGB")
    Image.fromarray(noisy).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


@pytest.mark.parametrize("side", [None, 32, 96, 150, 224])
@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((800, 600), {}),
        ((513, 447), {"subsampling": 0}),
        ((447, 449), {"quality": 30}),
        ((301, 999), {"progressive": True}),
        ((640, 480), {"mode": "L"}),
        ((17, 300), {}),
    ],
)
def test_a_jpeg_is_decoded_as_by_tensorflow(size, options, side):
    data = jpeg(*size, **options)
    expected = decode.decode_jpeg(tf.constant(data), side)
    np.testing.assert_array_equal(CheckedImage("x.jpg", data).pixels(side), expected)


def test_real_images_have_the_pixels_of_tensorflow(landmarks45):
    place = Competition(landmarks45)
    ids = read_sample(place.sample_csv)[::20]
    paths = [image_path(place.test_dir, image_id) for image_id in ids]
    for side in (96, 448):
        for which, pixels in decode_batches(paths, side, 16):
            for i, expected in zip(which, pixels, strict=True):
                image = CheckedImage(paths[i].name, paths[i].read_bytes())
                square = resize.resize_to_square(image.pixels(side), side)
                np.testing.assert_array_equal(square, expected)
