"""Photos as tensors: one way of decoding and resizing, for training and for inference.

A photo is squashed to a square: for landmarks that beats keeping its shape with a margin
(write-ups of the competition agree). Memory is bounded by batches and the shuffle
buffer, never by the number of photos.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kaggle_kit.data.gif import MOST_PIXELS, drop_large_gif
from kaggle_kit.data.resize import RATIOS

PARALLEL = os.cpu_count() or 1  # photos decoded at a time
# Of a JPEG's pixels: those that every decoder gives, the app's too. TensorFlow's own
# choice is off by one here and there, and no faster to speak of.
EXACT = "INTEGER_ACCURATE"


def decoded(photo: tf.Tensor) -> tf.Tensor:
    """The pixels of a photo, () bytes -> (h, w, 3) uint8. JPEG, PNG, GIF or BMP."""
    return tf.cond(
        tf.io.is_jpeg(photo),
        lambda: _jpeg(photo, 1),
        lambda: _other(drop_large_gif(photo)),
    )


def reduced(photo: tf.Tensor, side: int) -> tf.Tensor:
    """As ``decoded``, but a JPEG at the smallest size that leaves both sides ``side``.

    The decoder of a JPEG can leave out fine detail block by block: it gives a half, a
    quarter or an eighth of the size, in less time than the whole.
    """

    def jpeg() -> tf.Tensor:
        sides = tf.image.extract_jpeg_shape(photo)[:2]
        shortest = tf.reduce_min(sides)
        fits = [shortest > (side - 1) * ratio for ratio in RATIOS]  # sides round up
        cases = [partial(_jpeg, photo, ratio) for ratio in (1, *RATIOS)]
        # One that is too large is too large at an eighth as well: all of what a progressive
        # JPEG holds is unpacked before.
        few = tf.reduce_prod(tf.cast(sides, tf.int64)) <= MOST_PIXELS
        which = tf.math.count_nonzero(fits, dtype=tf.int32) * tf.cast(few, tf.int32)
        return tf.switch_case(which, cases)

    return tf.cond(tf.io.is_jpeg(photo), jpeg, lambda: decoded(photo))


def _other(photo: tf.Tensor) -> tf.Tensor:
    return tf.io.decode_image(photo, channels=3, expand_animations=False)


def _jpeg(photo: tf.Tensor, ratio: int) -> tf.Tensor:
    return tf.io.decode_jpeg(photo, 3, ratio, dct_method=EXACT)


def squashed(pixels: tf.Tensor, size: int) -> tf.Tensor:
    """Resize to a square without regard to shape, (h, w, 3) -> (size, size, 3) uint8.

    Bilinear, antialiased; the very pixels of ``tf.image.resize``, in two thirds of its
    time: columns become rows, because it adds up rows faster.
    """
    columns_first = tf.transpose(_rows_resized(pixels, size), (1, 0, 2))
    square = tf.cast(tf.round(_rows_resized(columns_first, size)), tf.uint8)
    return tf.transpose(square, (1, 0, 2))


def _rows_resized(pixels: tf.Tensor, n: int) -> tf.Tensor:
    """(h, w, 3) -> (n, w, 3), each row as one place of many channels."""
    shape = tf.shape(pixels)
    rows = tf.reshape(pixels, (1, shape[0], 1, shape[1] * 3))
    resized = tf.image.resize(rows, (n, 1), "bilinear", antialias=True)
    return tf.reshape(resized, (n, shape[1], 3))


def readable(
    paths: Sequence[Path],
    then: Callable[[tf.Tensor], tf.Tensor],
    side: int | None = None,
) -> tf.data.Dataset:
    """(place in ``paths``, then(pixels)) of the photos that decode, in order.

    Many are read at a time. A place that never comes is a photo that is missing or broken.

    Args:
        side: what both sides of the pixels are to have at least, if the photo has it;
            None: its whole size.
    """

    def read(place: tf.Tensor, path: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        photo = tf.io.read_file(path)
        return place, then(reduced(photo, side) if side else decoded(photo))

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
        readable(paths, lambda pixels: squashed(pixels, side), side)
        .batch(batch_size)
        .prefetch(2)
        .with_options(beside_a_network())
    )
    yield from dataset.as_numpy_iterator()


def beside_a_network() -> tf.data.Options:
    """Read on half of the cores, if the network is on these, too.

    Its threads wait for each other in every layer, so whatever takes the time of one of
    them takes it from all.
    """
    options = tf.data.Options()
    if not tf.config.list_physical_devices("GPU"):
        options.threading.private_threadpool_size = max(1, PARALLEL // 2)
    return options


def options() -> tf.data.Options:
    """What every data set here is read with: order is kept, nothing is tuned on the way."""
    options = tf.data.Options()
    options.deterministic = True
    # The autotuner's thread looks up only at intervals that double up to a minute, and
    # the end of an iterator waits for it (seen with TensorFlow 2.20: 16 s an epoch).
    options.autotune.enabled = False
    return options
