"""What leaves training: a SavedModel from pixels to unit embeddings."""

import logging
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kaggle_kit.config import Config
from kaggle_kit.model.classifier import EMBEDDING
from kaggle_kit.model.deterministic import stabilise

logger = logging.getLogger(__name__)

STRIDE = 32  # of the backbones; a side is a multiple of it


def export(model: keras.Model, settings: Config, out: Path) -> None:
    """Write a SavedModel that needs neither Keras nor the kit to run.

    Its function ``serve`` maps (batch, s, s, 3) uint8, whole photos at the side of the
    largest view, to a dictionary: ``embedding``
    (batch, d) float32 at unit length and, if the head has a say in guesses,
    ``log_probability`` (batch, C). Both are means over the views: every size of
    ``recognition.scales``, mirrored too with ``recognition.flip``. The class head is left
    out where it is not used: with 81,313 landmarks it would be nine tenths of the file.

    Up to two more functions, of the same photos and weights, are for where time is short:
    ``one``, if there are several views, sees the photo once, at the size nearest to
    ``data.image_size``; ``small``, if there is a smaller size, sees it at the smallest.

    The same network and settings give the same bytes, without a trace of where it was.
    """
    logger.info("export the network")
    outputs = {"features": model.get_layer(EMBEDDING).output}
    if has_head(settings):
        outputs["logits"] = model.output
    network = keras.Model(model.input, outputs)
    module = tf.Module()
    module.weights = [variable.value for variable in network.weights]
    largest = max(view_sides(settings))
    for name, (sides, flip) in functions(settings).items():
        setattr(module, name, _function(network, largest, sides, flip))
    tf.saved_model.save(module, str(out), signatures=module.serve)
    stabilise(out)


def functions(settings: Config) -> dict[str, tuple[list[int], bool]]:
    """Sides and whether mirrored too, of the views of each function of a SavedModel."""
    recognition, sides = settings.recognition, view_sides(settings)
    main = sides[recognition.scales.index(recognition.main_scale)]
    found = {"serve": (sides, recognition.flip)}
    if len(sides) > 1 or recognition.flip:
        found["one"] = ([main], False)
    if min(sides) < main:
        found["small"] = ([min(sides)], False)
    return found


def _function(
    network: keras.Model, largest: int, sides: Sequence[int], flip: bool
) -> tf.types.experimental.PolymorphicFunction:
    """From photos of the largest side to the means over some views."""
    matrices = [_resizing(largest, side) for side in sides]

    def views(images: tf.Tensor) -> list[tf.Tensor]:
        pixels = tf.cast(images, tf.float32)
        seen = [_resized(pixels, matrix) for matrix in matrices]
        if flip:
            seen += [tf.reverse(view, axis=[2]) for view in seen]
        return seen

    def serve(images: tf.Tensor) -> dict[str, tf.Tensor]:
        seen = [network(view, training=False) for view in views(images)]
        units = [tf.math.l2_normalize(view["features"], -1) for view in seen]
        result = {"embedding": tf.math.l2_normalize(tf.add_n(units), -1)}
        if "logits" in seen[0]:
            logs = [tf.nn.log_softmax(view["logits"]) for view in seen]
            result["log_probability"] = tf.add_n(logs) / len(logs)
        return result

    signature = [tf.TensorSpec((None, largest, largest, 3), tf.uint8, "images")]
    return tf.function(serve, input_signature=signature)


def has_head(settings: Config) -> bool:
    """Whether guesses may depend on a trained head's class scores."""
    recognition = settings.recognition
    used = recognition.ranking == "head" or recognition.head_exponent > 0
    return settings.train.epochs > 0 and (used or recognition.tune)


def view_sides(settings: Config) -> list[int]:
    """The sides at which a photo is seen, each a multiple of the backbone's stride."""
    size = settings.data.image_size
    sides = [
        round(size * scale / STRIDE) * STRIDE for scale in settings.recognition.scales
    ]
    return [
        size if scale == 1 else max(STRIDE, side)
        for side, scale in zip(sides, settings.recognition.scales, strict=True)
    ]


def _resizing(largest: int, side: int) -> NDArray[np.float32] | None:
    """The matrix, (side, largest), that rows and columns are multiplied by to resize.

    ``tf.image.resize`` with antialias uses an operation that LiteRT has not. It is linear
    and treats rows and columns alike, so it shows its matrix when it resizes an identity.
    """
    if side == largest:
        return None
    identity = tf.eye(largest)[None, :, :, None]
    rows = tf.image.resize(identity, (side, largest), "bilinear", antialias=True)
    return rows[0, :, :, 0].numpy()


def _resized(pixels: tf.Tensor, matrix: NDArray[np.float32] | None) -> tf.Tensor:
    """(b, largest, largest, 3) -> (b, side, side, 3); as they are without a matrix."""
    if matrix is None:
        return pixels
    x = tf.transpose(pixels, (0, 3, 1, 2))  # (b, 3, y, x)
    x = tf.tensordot(x, matrix, [[3], [1]])  # (b, 3, y, x')
    x = tf.tensordot(x, matrix, [[2], [1]])  # (b, 3, x', y')
    return tf.transpose(x, (0, 3, 2, 1))
