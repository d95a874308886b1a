"""A JPEG is decoded no larger than needed, and its pixels hardly change."""

import io
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kaggle_kit import config
from kaggle_kit.data.decode import decode_file, decode_jpeg, resize_to_square
from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.model.classifier import EMBEDDING, classifier
from kaggle_kit.model.pretrained import load_weights
from kaggle_kit.storage import tables
from tests.helpers.decoding import decode_batches


def jpeg(width, height):
    """A JPEG of smooth shapes with some noise."""
    rng = np.random.default_rng((width, height))
    coarse = rng.integers(0, 256, (9, 9, 3), np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    pixels = np.asarray(image, np.float32) + rng.normal(0, 6, (height, width, 3))
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=92)
    return file.getvalue()


@pytest.mark.parametrize("size", [32, 96, 224])
@pytest.mark.parametrize("shape", [(96, 96), (97, 31), (1, 50), (300, 211), (64, 224)])
def test_resizing_gives_the_pixels_of_tf_image_resize(shape, size):
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    resized = tf.image.resize(pixels, (size, size), "bilinear", antialias=True)
    expected = np.clip(np.round(resized), 0, 255)
    np.testing.assert_array_equal(resize_to_square(tf.constant(pixels), size), expected)


@pytest.mark.parametrize(
    ("width", "height", "side", "ratio"),
    [
        (512, 384, 224, 1),
        (512, 447, 224, 2),  # half of 447 is 224 pixels
        (512, 446, 224, 1),
        (800, 600, 224, 2),
        (800, 600, 150, 4),
        (800, 600, 64, 8),
        (800, 600, 32, 8),
        (60, 800, 32, 1),
        (20, 20, 32, 1),
    ],
)
def test_a_jpeg_is_decoded_at_the_smallest_size_that_fits(width, height, side, ratio):
    pixels = decode_jpeg(tf.constant(jpeg(width, height)), side)
    assert pixels.shape == (-(-height // ratio), -(-width // ratio), 3)
    assert ratio == 1 or min(pixels.shape[:2]) >= side
    if ratio == 1:
        np.testing.assert_array_equal(pixels, decode_jpeg(jpeg(width, height)))


def test_other_formats_are_decoded_at_full_size(tmp_path):
    expected = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
    Image.fromarray(expected).save(tmp_path / "x.jpg", "PNG")
    np.testing.assert_array_equal(decode_file(tmp_path / "x.jpg"), expected)
    np.testing.assert_array_equal(
        decode_file(tmp_path / "x.jpg", 32), resize_to_square(expected, 32)
    )


@pytest.mark.parametrize("side", [32, 64, 128, 224])
def test_pixels_hardly_differ_from_those_of_the_full_size(side):
    image = tf.constant(jpeg(800, 600))
    small = resize_to_square(decode_jpeg(image, side), side).numpy().astype(float)
    whole = resize_to_square(decode_jpeg(image), side).numpy()
    assert 0 < np.abs(small - whole).mean() < 1.5


def test_embeddings_hardly_differ_from_those_of_the_full_size(landmarks45):
    """With ImageNet weights; the embeddings of different images are far apart."""
    settings = config.load(Path("lite0_320.yaml")).model
    model = classifier(settings, 128, 2)
    load_weights(model.get_layer("backbone"), "imagenet")
    place = Competition(landmarks45)
    ids = tables.read_sample(place.sample_csv)[:24]
    paths = [image_path(place.test_dir, image_id) for image_id in ids]
    ((_, small),) = decode_batches(paths, 128, 24)
    whole = np.stack(
        [resize_to_square(decode_jpeg(path.read_bytes()), 128) for path in paths]
    )
    assert (small != whole).any(axis=(1, 2, 3)).sum() > 12
    features = tf.keras.Model(model.input, model.get_layer(EMBEDDING).output)
    one, other = (
        tf.math.l2_normalize(features(x.astype(np.float32)), -1).numpy()
        for x in (small, whole)
    )
    cosines = one @ other.T
    assert np.diag(cosines).min() > 0.95 and np.diag(cosines).mean() > 0.98
    assert (cosines.argmax(axis=1) == np.arange(24)).all()
    assert cosines[~np.eye(24, dtype=bool)].mean() < 0.8
