"""Random changes of training images: within bounds, and the same for the same seed."""

import numpy as np
import pytest
import tensorflow as tf

from kaggle_kit import config
from kaggle_kit.data.augment import augment, random_layers
from kaggle_kit.data.datasets import training_batches
from kaggle_kit.data.decode import resize_to_square
from kaggle_kit.data.shards_manifest import read_manifest, shard_paths

PHOTO = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)


def data_of(**changes):
    augment = config.Augment(**changes)
    return config.Data(image_size=32, stored_size=40, augment=augment)


def test_a_cropped_image_is_a_part_of_it_at_full_size():
    """An image whose pixels are their own places shows which part was taken."""
    rows = np.linspace(0, 255, 40, dtype=np.uint8)
    image = np.stack(np.broadcast_arrays(rows[:, None], rows[None, :], 0), axis=2)
    data = data_of(crop=0.4)
    heights = []
    for seed in range(40):
        seen = augment(tf.constant(image), data, [seed, 1]).numpy()
        assert seen.shape == (32, 32, 3)
        height, width = (np.ptp(seen[:, :, axis]) / 255 for axis in (0, 1))
        assert height * width > 0.6**2 * 0.85  # rounding to whole pixels
        assert 0.7 < height / width < 1.45
        heights.append(height)
    assert min(heights) < 0.75 and max(heights) > 0.9


def test_without_a_crop_a_training_image_is_seen_whole():
    seen = augment(tf.constant(PHOTO), data_of(), [0, 1])
    np.testing.assert_allclose(seen, resize_to_square(PHOTO, 32), atol=1e-3)


@pytest.mark.parametrize("changes", [{"rand_augment": 0.3}, {"cutout": 0.4}])
def test_changes_of_keras_cv_keep_shape_and_range_and_change_something(changes):
    change = random_layers(config.Augment(**changes), seed=3)
    image = tf.constant(PHOTO[:32, :32], tf.float32)
    seen = [change(image).numpy() for _ in range(8)]
    assert all(s.shape == (32, 32, 3) and 0 <= s.min() <= s.max() <= 255 for s in seen)
    assert any((s != image.numpy()).any() for s in seen)


def test_cutout_greys_a_square_of_the_side_asked_for():
    change = random_layers(config.Augment(cutout=0.5), seed=0)
    image = tf.zeros((32, 32, 3))
    sizes = [(change(image).numpy()[:, :, 0] == 128).sum() for _ in range(30)]
    assert max(sizes) == 16 * 16  # less at the border
    assert min(sizes) >= 8 * 8


def test_without_them_nothing_is_added():
    assert random_layers(config.Augment(flip=True), seed=0) is None


def test_an_epoch_with_all_changes_is_the_same_again(settings, shards_dir):
    """keras-cv's layers draw from a state; the order they are called in must be kept."""
    everything = config.Augment(
        flip=True, crop=0.3, brightness=0.1, rand_augment=0.3, cutout=0.3
    )
    data = settings.data.model_copy(update={"augment": everything})
    manifest = read_manifest(shards_dir)
    paths = shard_paths(shards_dir, manifest, "train")
    sizes = [s.images for s in manifest.shards if s.split == "train"]
    copies = [np.ones(n, np.int64) for n in sizes]

    def epoch(number):
        batches = training_batches(paths, copies, data, 8, 0, number)
        return np.concatenate([x for x, _ in batches.as_numpy_iterator()])

    tf.random.set_seed(0)  # as a training does, once
    first = epoch(1)
    np.testing.assert_array_equal(first, epoch(1))
    assert (first != epoch(2)).any()
