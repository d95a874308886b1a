"""Photos as tensors: one way of decoding and resizing, for training and for inference.

A photo is squashed to a square: for landmarks that beats keeping its shape with a margin
(write-ups of the competition agree). Memory is bounded by batches and the shuffle
buffer, never by the number of photos.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

PARALLEL = os.cpu_count() or 1  # photos decoded at a time


def decoded(photo: tf.Tensor) -> tf.Tensor:
    """The pixels of a photo, () bytes -> (h, w, 3) uint8. JPEG, PNG, GIF or BMP."""
    return tf.io.decode_image(photo, channels=3, expand_animations=False)


def squashed(pixels: tf.Tensor, size: int) -> tf.Tensor:
    """Resize to a square without regard to shape, (h, w, 3) -> (size, size, 3) uint8."""
    resized = tf.image.resize(pixels, (size, size), "bilinear", antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8)


def readable(
    paths: Sequence[Path], then: Callable[[tf.Tensor], tf.Tensor]
) -> tf.data.Dataset:
    """(place in ``paths``, then(pixels)) of the photos that decode, in order.

    Many are read at a time. A place that never comes is a photo that is missing or broken.
    """

    def read(place: tf.Tensor, path: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return place, then(decoded(tf.io.read_file(path)))

    names = tf.constant([str(path) for path in paths], tf.string)
    dataset = tf.data.Dataset.range(len(paths)).map(lambda i: (i, names[i]))
    dataset = dataset.map(read, PARALLEL).ignore_errors()
    return dataset.with_options(options())


def photos(
    paths: Sequence[Path], side: int, batch_size: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
    """Read photos as the network sees them, leaving out those that do not decode.

    Yields:
        (which, pixels): (b,) places in ``paths`` and (b, side, side, 3) uint8, the whole
        of each photo.
    """
    dataset = (
        readable(paths, lambda pixels: squashed(pixels, side))
        .batch(batch_size)
        .prefetch(2)
    )
    yield from dataset.as_numpy_iterator()


def options() -> tf.data.Options:
    """What every pipeline here is run with: order is kept, nothing is tuned on the way."""
    options = tf.data.Options()
    options.deterministic = True
    # The autotuner's thread looks up only at intervals that double up to a minute, and
    # the end of an iterator waits for it (seen with TensorFlow 2.20: 16 s an epoch).
    options.autotune.enabled = False
    return options
