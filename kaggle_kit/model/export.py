"""Export a trained network as a SavedModel from pixels to unit embeddings."""

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.config import Config
from kaggle_kit.frameworks import keras, tf
from kaggle_kit.model.classifier import EMBEDDING
from kaggle_kit.model.deterministic import stabilise

logger = logging.getLogger(__name__)

STRIDE = 32  # of the backbones, in pixels; image sizes are multiples of it


class Views(NamedTuple):
    """The views of an image that a function of the SavedModel averages.

    Attributes:
        sides: of the views, in pixels.
        flip: whether each is mirrored too.
    """

    sides: list[int]
    flip: bool


def export(model: keras.Model, settings: Config, out: Path) -> None:
    """Write a SavedModel that runs without Keras and without the kit.

    Its function ``serve`` maps (batch, s, s, 3) uint8, whole images at the side s of the
    largest view, to a dictionary: ``embedding``, (batch, d) float32 of unit length, and
    ``log_probability``, (batch, C), if guesses use the head. Both are means over the views:
    every size of ``recognition.scales``, and its mirror image with ``recognition.flip``.
    An unused head is not exported: with 81,313 landmarks it would be nine tenths of the
    file.

    Up to two further functions with the same inputs and weights take less time: ``one``, if
    there are several views, computes only the view nearest to ``data.image_size``;
    ``small``, if there is a smaller view, computes only the smallest.

    The bytes depend only on the network and the settings, and contain no machine paths.

    Args:
        model: a trained ``classifier``.
        settings: of its run.
        out: the folder to write.
    """
    logger.info("export the network")
    outputs = {"features": model.get_layer(EMBEDDING).output}
    if has_head(settings):
        outputs["logits"] = model.output
    network = keras.Model(model.input, outputs)
    module = tf.Module()
    module.weights = [variable.value for variable in network.weights]
    largest = max(view_sides(settings))
    for name, views in functions(settings).items():
        setattr(module, name, _function(network, largest, views))
    tf.saved_model.save(module, str(out), signatures=module.serve)
    stabilise(out)


def functions(settings: Config) -> dict[str, Views]:
    """The functions of a SavedModel by name, with the views that they average."""
    recognition, sides = settings.recognition, view_sides(settings)
    main = sides[recognition.scales.index(recognition.main_scale)]
    views = {"serve": Views(sides, recognition.flip)}
    if len(sides) > 1 or recognition.flip:
        views["one"] = Views([main], False)
    if min(sides) < main:
        views["small"] = Views([min(sides)], False)
    return views


def _function(
    network: keras.Model, largest: int, views: Views
) -> tf.types.experimental.PolymorphicFunction:
    """A function from images of the largest side to the means over the views."""
    matrices = [_resize_matrix(largest, side) for side in views.sides]

    def view_pixels(images: tf.Tensor) -> list[tf.Tensor]:
        pixels = tf.cast(images, tf.float32)
        batches = [_resize(pixels, matrix) for matrix in matrices]
        if views.flip:
            batches += [tf.reverse(batch, axis=[2]) for batch in batches]
        return batches

    def serve(images: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = [network(view, training=False) for view in view_pixels(images)]
        units = [tf.math.l2_normalize(output["features"], -1) for output in outputs]
        result = {"embedding": tf.math.l2_normalize(tf.add_n(units), -1)}
        if "logits" in outputs[0]:
            logs = [tf.nn.log_softmax(output["logits"]) for output in outputs]
            result["log_probability"] = tf.add_n(logs) / len(logs)
        return result

    signature = [tf.TensorSpec((None, largest, largest, 3), tf.uint8, "images")]
    return tf.function(serve, input_signature=signature)


def has_head(settings: Config) -> bool:
    """Whether guesses use the class probabilities of a trained head."""
    recognition = settings.recognition
    used = recognition.ranking == "head" or recognition.head_exponent > 0
    return settings.train.epochs > 0 and (used or recognition.tune)


def view_sides(settings: Config) -> list[int]:
    """The sides of the views, in the order of ``recognition.scales``, in pixels.

    Sides other than ``data.image_size`` are rounded to multiples of ``STRIDE``.
    """
    size = settings.data.image_size
    sides = [
        round(size * scale / STRIDE) * STRIDE for scale in settings.recognition.scales
    ]
    return [
        size if scale == 1 else max(STRIDE, side)
        for side, scale in zip(sides, settings.recognition.scales, strict=True)
    ]


def _resize_matrix(largest: int, side: int) -> NDArray[np.float32] | None:
    """The matrix (side, largest) that resizes rows and columns; None for the same side.

    ``tf.image.resize`` with antialiasing uses an operation that LiteRT does not have. The
    operation is linear and treats rows and columns alike, so resizing an identity matrix
    gives its matrix.
    """
    if side == largest:
        return None
    identity = tf.eye(largest)[None, :, :, None]
    rows = tf.image.resize(identity, (side, largest), "bilinear", antialias=True)
    return rows[0, :, :, 0].numpy()


def _resize(pixels: tf.Tensor, matrix: NDArray[np.float32] | None) -> tf.Tensor:
    """(b, largest, largest, 3) -> (b, side, side, 3); unchanged without a matrix."""
    if matrix is None:
        return pixels
    x = tf.transpose(pixels, (0, 3, 1, 2))  # (b, 3, y, x)
    x = tf.tensordot(x, matrix, [[3], [1]])  # (b, 3, y, x')
    x = tf.tensordot(x, matrix, [[2], [1]])  # (b, 3, x', y')
    return tf.transpose(x, (0, 3, 2, 1))
