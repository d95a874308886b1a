"""Decode and resize images with TensorFlow, in the same way for training and inference.

An image is resized to a square without regard to its aspect ratio. For landmarks this works
better than padding (write-ups of the competition agree). Memory does not grow with the
number of images.
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

from kaggle_kit.data.gif import MOST_PIXELS, drop_large_gif
from kaggle_kit.data.resize import RATIOS

PARALLEL = os.cpu_count() or 1  # images decoded at a time
# The DCT method with which all JPEG decoders give the same pixels, the app's included.
# TensorFlow's default differs by one in some pixels, and is hardly faster.
DCT_METHOD = "INTEGER_ACCURATE"


def decode(image: tf.Tensor) -> tf.Tensor:
    """Decode a JPEG, PNG, GIF or BMP file, () bytes -> (h, w, 3) uint8."""
    return tf.cond(
        tf.io.is_jpeg(image),
        lambda: _decode_jpeg(image, 1),
        lambda: _decode_other(drop_large_gif(image)),
    )


def decode_reduced(image: tf.Tensor, side: int) -> tf.Tensor:
    """Decode a file; a JPEG at the smallest size with both sides at least ``side``.

    A JPEG decoder can decode at a half, a quarter or an eighth of the size, which takes
    less time than the full size.
    """

    def decode_jpeg() -> tf.Tensor:
        sides = tf.image.extract_jpeg_shape(image)[:2]
        shortest = tf.reduce_min(sides)
        fits = [shortest > (side - 1) * ratio for ratio in RATIOS]  # sides round up
        cases = [partial(_decode_jpeg, image, ratio) for ratio in (1, *RATIOS)]
        # The decoder refuses a JPEG of too many pixels only at full size. At an eighth it
        # would still unpack all coefficients of a progressive one.
        is_small = tf.reduce_prod(tf.cast(sides, tf.int64)) <= MOST_PIXELS
        n_fits = tf.math.count_nonzero(fits, dtype=tf.int32)
        return tf.switch_case(n_fits * tf.cast(is_small, tf.int32), cases)

    return tf.cond(tf.io.is_jpeg(image), decode_jpeg, lambda: decode(image))


def _decode_other(image: tf.Tensor) -> tf.Tensor:
    return tf.io.decode_image(image, channels=3, expand_animations=False)


def _decode_jpeg(image: tf.Tensor, ratio: int) -> tf.Tensor:
    return tf.io.decode_jpeg(image, 3, ratio, dct_method=DCT_METHOD)


def resize_to_square(pixels: tf.Tensor, size: int) -> tf.Tensor:
    """Resize regardless of the aspect ratio, (h, w, 3) -> (size, size, 3) uint8.

    Bilinear with antialiasing. The pixels are identical to those of ``tf.image.resize``,
    in two thirds of its time: it sums rows faster than columns, so the columns are
    transposed to rows.
    """
    columns_first = tf.transpose(_resize_rows(pixels, size), (1, 0, 2))
    square = tf.cast(tf.round(_resize_rows(columns_first, size)), tf.uint8)
    return tf.transpose(square, (1, 0, 2))


def _resize_rows(pixels: tf.Tensor, n: int) -> tf.Tensor:
    """(h, w, 3) -> (n, w, 3); a row is treated as one pixel with 3 w channels."""
    shape = tf.shape(pixels)
    rows = tf.reshape(pixels, (1, shape[0], 1, shape[1] * 3))
    resized = tf.image.resize(rows, (n, 1), "bilinear", antialias=True)
    return tf.reshape(resized, (n, shape[1], 3))


def decode_files(
    paths: Sequence[Path],
    transform: Callable[[tf.Tensor], tf.Tensor],
    side: int | None = None,
) -> tf.data.Dataset:
    """Decode files in parallel; yield (index in ``paths``, transform(pixels)) in order.

    The index of a file that is missing or does not decode is skipped.

    Args:
        side: a JPEG may be reduced, but not below this height or width; None: full size.
    """

    def read(index: tf.Tensor, path: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image = tf.io.read_file(path)
        return index, transform(decode_reduced(image, side) if side else decode(image))

    names = tf.constant([str(path) for path in paths], tf.string)
    dataset = tf.data.Dataset.range(len(paths)).map(lambda i: (i, names[i]))
    dataset = dataset.map(read, PARALLEL).ignore_errors()
    return dataset.with_options(dataset_options())


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
    def decode_path(path: tf.Tensor) -> tf.Tensor:
        with tf.device("/CPU:0"):
            image = tf.io.read_file(path)
            if side is None:
                return decode(image)
            return resize_to_square(decode_reduced(image, side), side)

    return decode_path


def count_decoders() -> int:
    """How many images to decode at the same time while a network runs.

    The threads of a network on the CPU wait for each other in every layer, so a delay of
    one thread delays all of them. Half of the cores are therefore left to the network.
    """
    if tf.config.list_physical_devices("GPU"):
        return PARALLEL
    return max(1, PARALLEL // 2)


def dataset_options() -> tf.data.Options:
    """Options of every data set of the kit: deterministic order, no autotuning."""
    options = tf.data.Options()
    options.deterministic = True
    # The autotuner's thread sleeps for intervals that double up to a minute, and closing
    # an iterator waits for it (observed with TensorFlow 2.20: 16 s per epoch).
    options.autotune.enabled = False
    return options
