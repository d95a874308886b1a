"""Random changes of a training photo, each following from a seed alone."""

import tensorflow as tf

from kaggle_kit import config


def augmented(pixels: tf.Tensor, data: config.Data, seed: tf.Tensor) -> tf.Tensor:
    """Crop or centre, mirror and recolour, (stored, stored, 3) uint8 -> (image, image, 3).

    Args:
        pixels: a photo as a shard holds it.
        data: the sizes and how much may change.
        seed: (2,) integers; the same seed makes the same changes.

    Returns:
        float32 in 0..255.
    """
    changes, size = data.augment, data.image_size
    seeds = tf.unstack(tf.random.split(tf.cast(seed, tf.int32), 5))
    if changes.crop:
        pixels = tf.image.stateless_random_crop(pixels, (size, size, 3), seeds[0])
    else:
        margin = (data.stored_size - size) // 2
        pixels = pixels[margin : margin + size, margin : margin + size]
    pixels = tf.cast(pixels, tf.float32) / 255
    if changes.flip:
        pixels = tf.image.stateless_random_flip_left_right(pixels, seeds[1])
    if changes.brightness:
        pixels = tf.image.stateless_random_brightness(
            pixels, changes.brightness, seeds[2]
        )
    if changes.contrast:
        pixels = tf.image.stateless_random_contrast(
            pixels, 1 - changes.contrast, 1 + changes.contrast, seeds[3]
        )
    if changes.saturation:
        pixels = tf.image.stateless_random_saturation(
            pixels, 1 - changes.saturation, 1 + changes.saturation, seeds[4]
        )
    return tf.clip_by_value(pixels, 0, 1) * 255
