"""Batches of photos from shards, for training and for validating it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kaggle_kit import config
from kaggle_kit.data.augment import augmented, random_changes
from kaggle_kit.data.pipeline import PARALLEL, options, squashed

FEATURES = {
    "id": tf.io.FixedLenFeature([], tf.string),
    "class": tf.io.FixedLenFeature([], tf.int64),
    "image": tf.io.FixedLenFeature([], tf.string),
}


def training_batches(
    shards: Sequence[Path],
    copies: Sequence[NDArray[np.int64]],
    data: config.Data,
    batch_size: int,
    seed: int,
    epoch: int,
) -> tf.data.Dataset:
    """One epoch of shuffled, augmented batches: ((b, s, s, 3) float32 0..255, (b,) class).

    The order and every random change follow from ``seed``, ``epoch`` and TensorFlow's own
    seed alone, so an epoch that is run again after an interruption is the same epoch.
    (That seed is set once a process: setting it empties TensorFlow's caches.) Photos that
    do not fill a last batch wait for another epoch: batch norm has no variance of one
    photo.

    Args:
        copies: how often each photo occurs, for each shard in the order of its photos.
    """
    rng = np.random.default_rng((seed, epoch))
    order = rng.permutation(len(shards))
    names = tf.constant([str(shards[i]) for i in order], tf.string)
    often = tf.RaggedTensor.from_row_lengths(
        np.concatenate([copies[i] for i in order]), [len(copies[i]) for i in order]
    )
    dataset = tf.data.Dataset.from_tensor_slices((names, often)).interleave(
        _repeated, cycle_length=4, num_parallel_calls=PARALLEL
    )
    dataset = dataset.shuffle(data.shuffle_images, seed=int(rng.integers(2**31)))
    seeds = tf.data.Dataset.random(seed=int(rng.integers(2**31))).batch(2)

    def read(record: tf.Tensor, seed_pair: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels, label = _parsed(record, data.stored_size)
        return augmented(pixels, data, seed_pair), label

    n_images = int(sum(n.sum() for n in copies))
    batch_size = min(batch_size, n_images)
    dataset = tf.data.Dataset.zip(dataset, seeds).map(read, PARALLEL)
    change = random_changes(data.augment, int(rng.integers(2**31)))
    if change:
        dataset = dataset.map(lambda pixels, label: (change(pixels), label))
    dataset = dataset.batch(batch_size, drop_remainder=True).prefetch(2)
    whole = tf.data.experimental.assert_cardinality(n_images // batch_size)
    return dataset.apply(whole).with_options(options())


def validation_batches(
    shards: Sequence[Path], n_images: int, stored_size: int, size: int, batch_size: int
) -> tf.data.Dataset:
    """All photos once, in order, whole: ((b, size, size, 3) float32 0..255, (b,) class)."""

    def read(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels, label = _parsed(record, stored_size)
        return tf.cast(squashed(pixels, size), tf.float32), label

    dataset = tf.data.TFRecordDataset([str(path) for path in shards])
    dataset = dataset.map(read, PARALLEL).batch(batch_size).prefetch(2)
    whole = tf.data.experimental.assert_cardinality(-(-n_images // batch_size))
    return dataset.apply(whole).with_options(options())


def resized(dataset: tf.data.Dataset, size: int) -> tf.data.Dataset:
    """Training batches at another size, for a stage of training."""

    def resize(pixels: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.image.resize(pixels, (size, size), "bilinear", antialias=True), label

    return dataset.map(resize, PARALLEL)


def _repeated(path: tf.Tensor, copies: tf.Tensor) -> tf.data.Dataset:
    """The records of a shard, each as often as it is to occur."""
    records = tf.data.TFRecordDataset(path)
    often = tf.data.Dataset.from_tensor_slices(copies)
    return tf.data.Dataset.zip(records, often).flat_map(
        lambda record, n: tf.data.Dataset.from_tensors(record).repeat(n)
    )


def _parsed(record: tf.Tensor, size: int) -> tuple[tf.Tensor, tf.Tensor]:
    fields = tf.io.parse_single_example(record, FEATURES)
    pixels = tf.ensure_shape(tf.io.decode_jpeg(fields["image"], 3), (size, size, 3))
    return pixels, fields["class"]
