"""Augmentation: random changes of a training image, reproducible from a seed."""

from collections.abc import Callable

from kaggle_kit import config
from kaggle_kit.data.decode import resize_to_square
from kaggle_kit.frameworks import tf


def augment(pixels: tf.Tensor, data: config.Data, seed: tf.Tensor) -> tf.Tensor:
    """Crop, flip and change the colours of an image at random.

    Args:
        pixels: (s, s, 3) uint8, where s is ``data.stored_size``.
        data: the sizes and the strength of the changes.
        seed: (2,) integers; the same seed gives the same changes.

    Returns:
        (i, i, 3) float32 in 0..255, where i is ``data.image_size``.
    """
    changes, size = data.augment, data.image_size
    seeds = tf.unstack(tf.random.split(tf.cast(seed, tf.int32), 5))
    if changes.crop:
        pixels = _crop(pixels, changes.crop, size, seeds[0])
    else:
        pixels = resize_to_square(pixels, size)
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


def random_layers(
    changes: config.Augment, seed: int
) -> Callable[[tf.Tensor], tf.Tensor] | None:
    """Create the augmentation of keras-cv: RandAugment and cutout, if they are enabled.

    keras-cv layers draw from a state: the same seed gives the same changes only if images
    pass one at a time, in the same order. Source of RandAugment: Cubuk et al.,
    arXiv:1909.13719; keras-cv draws the magnitude around its mean, and leaves out their
    rotation, posterization and sharpness.

    Returns:
        A function, (s, s, 3) float32 in 0..255 -> the same; None if neither is enabled.
    """
    import keras_cv  # only after kaggle_kit.frameworks has set Keras up

    layers = []
    if changes.rand_augment:
        layers.append(
            keras_cv.layers.RandAugment(
                (0, 255), 2, magnitude=changes.rand_augment, seed=seed
            )
        )
    if changes.cutout:
        side = (changes.cutout, changes.cutout)  # lowest and highest share of a side
        layers.append(
            keras_cv.layers.RandomCutout(side, side, fill_value=128.0, seed=seed)
        )

    def change(pixels: tf.Tensor) -> tf.Tensor:
        shape = pixels.shape
        for layer in layers:
            pixels = layer(pixels, training=True)
        return tf.ensure_shape(tf.clip_by_value(pixels, 0, 255), shape)

    return change if layers else None


def _crop(pixels: tf.Tensor, crop: float, size: int, seed: tf.Tensor) -> tf.Tensor:
    """Crop a random part of at least (1 - crop)^2 of the area, resized to ``size``."""
    begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.shape(pixels),
        tf.zeros((1, 0, 4)),
        seed,
        min_object_covered=0.0,
        aspect_ratio_range=(3 / 4, 4 / 3),
        area_range=((1 - crop) ** 2, 1.0),
        use_image_if_no_bounding_boxes=True,
    )
    return resize_to_square(tf.slice(pixels, begin, extent), size)
