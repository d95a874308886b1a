"""Photos are read no larger than they are seen, and seen as they were."""

import io
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kaggle_kit import config
from kaggle_kit.data.decode import decoded, readable, reduced, squashed
from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.model.classifier import EMBEDDING, classifier
from kaggle_kit.model.pretrained import load_weights
from kaggle_kit.storage import tables
from tests.helpers.decoding import photos


def jpeg(width, height):
    """A JPEG of soft shapes with some texture."""
    rng = np.random.default_rng((width, height))
    coarse = rng.integers(0, 256, (9, 9, 3), np.uint8)
    photo = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    pixels = np.asarray(photo, np.float32) + rng.normal(0, 6, (height, width, 3))
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=92)
    return file.getvalue()


@pytest.mark.parametrize("size", [32, 96, 224])
@pytest.mark.parametrize("shape", [(96, 96), (97, 31), (1, 50), (300, 211), (64, 224)])
def test_resizing_gives_the_pixels_of_tensorflows_own(shape, size):
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    resized = tf.image.resize(pixels, (size, size), "bilinear", antialias=True)
    expected = np.clip(np.round(resized), 0, 255)
    np.testing.assert_array_equal(squashed(tf.constant(pixels), size), expected)


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
def test_a_jpeg_is_decoded_as_small_as_leaves_both_sides(width, height, side, ratio):
    found = reduced(tf.constant(jpeg(width, height)), side)
    assert found.shape == (-(-height // ratio), -(-width // ratio), 3)
    assert ratio == 1 or min(found.shape[:2]) >= side
    if ratio == 1:
        np.testing.assert_array_equal(found, decoded(jpeg(width, height)))


def test_what_is_no_jpeg_is_decoded_whole(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.jpg", "PNG")
    ((_, found),) = readable([tmp_path / "x.jpg"], lambda x: x, 32)
    np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize("side", [32, 64, 128, 224])
def test_pixels_hardly_differ_from_those_of_the_whole_photo(side):
    photo = tf.constant(jpeg(800, 600))
    small = squashed(reduced(photo, side), side).numpy().astype(float)
    whole = squashed(decoded(photo), side).numpy()
    assert 0 < np.abs(small - whole).mean() < 1.5


def test_a_network_hardly_sees_the_difference(landmarks45):
    """Of ImageNet's weights; other photos are far away."""
    settings = config.load(Path("lite0_320.yaml")).model
    model = classifier(settings, 128, 2)
    load_weights(model.get_layer("backbone"), "imagenet")
    place = Competition(landmarks45)
    ids = tables.read_sample(place.sample_csv)[:24]
    paths = [image_path(place.test_dir, image_id) for image_id in ids]
    ((_, small),) = photos(paths, 128, 24)
    whole = np.stack([squashed(decoded(path.read_bytes()), 128) for path in paths])
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
