"""Photos as tensors: one way of decoding and resizing, for training and for inference.

A photo is squashed to a square: for landmarks that beats keeping its shape with a margin
(write-ups of the competition agree). Memory is bounded by batches and the shuffle
buffer, never by the number of photos.
"""

import functools
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kaggle_kit.data.gif import MOST_PIXELS, bounded
from kaggle_kit.data.resize import RATIOS

PARALLEL = os.cpu_count() or 1  # photos decoded at a time
# Of a JPEG's pixels: those that every decoder gives, the app's too. TensorFlow's own
# choice is off by one here and there, and no faster to speak of.
EXACT = "INTEGER_ACCURATE"


def decoded(photo: tf.Tensor) -> tf.Tensor:
    """The pixels of a photo, () bytes -> (h, w, 3) uint8. JPEG, PNG, GIF or BMP."""
    return tf.cond(
        tf.io.is_jpeg(photo), lambda: _jpeg(photo, 1), lambda: _other(bounded(photo))
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


def decode_file(path: Path, side: int | None = None) -> NDArray[np.uint8] | None:
    """Decode an image file; None if it is missing or damaged.

    Args:
        side: resize to a square of this side, as networks see it; None keeps the size.

    Returns:
        (side, side, 3), or (h, w, 3).
    """
    try:
        pixels: NDArray[np.uint8] = _file_decoder(side)(str(path)).numpy()
    except tf.errors.OpError:
        return None
    return pixels


@functools.cache
def _file_decoder(side: int | None) -> Any:
    @tf.function(input_signature=[tf.TensorSpec((), tf.string)])
    def decode(path: tf.Tensor) -> tf.Tensor:
        with tf.device("/CPU:0"):
            image = tf.io.read_file(path)
            if side is None:
                return decoded(image)
            return squashed(reduced(image, side), side)

    return decode


def n_decoders() -> int:
    """How many images to decode at the same time, beside a network that runs.

    A network on the CPU has its threads wait for each other in every layer, so whatever
    delays one of them delays all: half of the cores are left to it.
    """
    if tf.config.list_physical_devices("GPU"):
        return PARALLEL
    return max(1, PARALLEL // 2)


def options() -> tf.data.Options:
    """What every data set here is read with: order is kept, nothing is tuned on the way."""
    options = tf.data.Options()
    options.deterministic = True
    # The autotuner's thread looks up only at intervals that double up to a minute, and
    # the end of an iterator waits for it (seen with TensorFlow 2.20: 16 s an epoch).
    options.autotune.enabled = False
    return options
