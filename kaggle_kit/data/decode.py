"""Decode and resize images upright, in the same way for training and inference.

JPEGs are decoded by TensorFlow, other formats by ``data.image_files``.

An image is resized to a square without regard to its aspect ratio. For landmarks this works
better than padding (write-ups of the competition agree). Memory does not grow with the
number of images.
"""

import functools
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.data.image_files import (
    DAMAGE,
    MOST_PIXELS,
    decode_image,
    is_jpeg,
    read_image,
)
from kaggle_kit.data.image_parts import check_scans
from kaggle_kit.data.orientation import UPRIGHT, read_orientation, turn_upright
from kaggle_kit.data.resize import RATIOS
from kaggle_kit.frameworks import tf

PARALLEL = os.cpu_count() or 1  # images decoded at a time
# The DCT method with which all JPEG decoders give the same pixels, the app's included.
# TensorFlow's default differs by one in some pixels, and is hardly faster.
DCT_METHOD = "INTEGER_ACCURATE"


def decode_jpeg(image: tf.Tensor, side: int | None = None) -> tf.Tensor:
    """Decode a JPEG as it is stored, () bytes -> (h, w, 3) uint8.

    With a side, it is decoded at the smallest size with both sides at least that long. A
    JPEG decoder can decode at a half, a quarter or an eighth of the size, which takes less
    time than the full size.
    """
    if side is None:
        return _decode_jpeg(image, 1)
    sides = tf.image.extract_jpeg_shape(image)[:2]
    shortest = tf.reduce_min(sides)
    fits = [shortest > (side - 1) * ratio for ratio in RATIOS]  # sides round up
    cases = [partial(_decode_jpeg, image, ratio) for ratio in (1, *RATIOS)]
    # The decoder refuses a JPEG of too many pixels only at full size. At an eighth it
    # would still unpack all coefficients of a progressive one.
    is_small = tf.reduce_prod(tf.cast(sides, tf.int64)) <= MOST_PIXELS
    n_fits = tf.math.count_nonzero(fits, dtype=tf.int32)
    return tf.switch_case(n_fits * tf.cast(is_small, tf.int32), cases)


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


def decode_file(path: Path, side: int | None = None) -> NDArray[np.uint8] | None:
    """Decode an image file upright; None if it is no image file that decodes.

    It decodes what ``data.image_files.decode_image`` decodes, to the same pixels. That
    function decodes whatever is no JPEG, and a JPEG that TensorFlow refuses.

    Args:
        side: resize to a square of this side, as networks see it; None keeps the size.

    Returns:
        (side, side, 3), or (h, w, 3).
    """
    try:
        content = read_image(path)
        if is_jpeg(content):
            check_scans(content)
    except DAMAGE:
        return None
    try:
        if is_jpeg(content):
            return _decode_jpeg_upright(content, side)
    except tf.errors.OpError:  # Pillow may still decode it, as it does in the app
        pass
    try:
        return _resize(decode_image(content, side), side)
    except (*DAMAGE, tf.errors.OpError):
        return None


def _decode_jpeg_upright(content: bytes, side: int | None) -> NDArray[np.uint8]:
    orientation = read_orientation(content)
    if orientation == UPRIGHT:  # decoded and resized in one call, since most images are
        pixels: NDArray[np.uint8] = _jpeg_decoder(side, resizes=True)(content).numpy()
        return pixels
    stored: NDArray[np.uint8] = _jpeg_decoder(side, resizes=False)(content).numpy()
    return _resize(turn_upright(stored, orientation), side)


def _resize(pixels: NDArray[np.uint8], side: int | None) -> NDArray[np.uint8]:
    if side is None:
        return pixels
    square: NDArray[np.uint8] = _resizer(side)(pixels).numpy()
    return square


@functools.cache
def _jpeg_decoder(side: int | None, resizes: bool) -> Any:
    @tf.function(input_signature=[tf.TensorSpec((), tf.string)])
    def decode(content: tf.Tensor) -> tf.Tensor:
        with tf.device("/CPU:0"):
            pixels = decode_jpeg(content, side)
            return resize_to_square(pixels, side) if side and resizes else pixels

    return decode


@functools.cache
def _resizer(side: int) -> Any:
    @tf.function(input_signature=[tf.TensorSpec((None, None, 3), tf.uint8)])
    def resize(pixels: tf.Tensor) -> tf.Tensor:
        with tf.device("/CPU:0"):
            return resize_to_square(pixels, side)

    return resize


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
