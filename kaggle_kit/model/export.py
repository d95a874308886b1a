"""What leaves training: a SavedModel from pixels to unit embeddings."""

from pathlib import Path

import keras
import tensorflow as tf

from kaggle_kit import config
from kaggle_kit.model.build import EMBEDDING


def export(model: keras.Model, settings: config.Config, out: Path) -> None:
    """Write a SavedModel that needs neither Keras nor the kit to run.

    Its function ``serve`` maps (batch, s, s, 3) uint8 to a dictionary: ``embedding``
    (batch, d) float32 at unit length and, if guesses are to come from the head,
    ``log_probability`` (batch, C). With ``recognition.flip`` both are means with the
    mirrored photo. The class head is left out where it is not used: with 81,313 landmarks
    it would be nine tenths of the file.
    """
    with_head = settings.recognition.ranking == "head"
    outputs = {"features": model.get_layer(EMBEDDING).output}
    if with_head:
        outputs["logits"] = model.output
    network = keras.Model(model.input, outputs)

    def views(images: tf.Tensor) -> list[tf.Tensor]:
        pixels = tf.cast(images, tf.float32)
        if not settings.recognition.flip:
            return [pixels]
        return [pixels, tf.reverse(pixels, axis=[2])]

    def serve(images: tf.Tensor) -> dict[str, tf.Tensor]:
        seen = [network(view, training=False) for view in views(images)]
        units = [tf.math.l2_normalize(view["features"], -1) for view in seen]
        result = {"embedding": tf.math.l2_normalize(tf.add_n(units), -1)}
        if with_head:
            logs = [tf.nn.log_softmax(view["logits"]) for view in seen]
            result["log_probability"] = tf.add_n(logs) / len(logs)
        return result

    size = settings.data.image_size
    signature = [tf.TensorSpec((None, size, size, 3), tf.uint8, "images")]
    module = tf.Module()
    module.weights = [variable.value for variable in network.variables]
    module.serve = tf.function(serve, input_signature=signature)
    tf.saved_model.save(module, str(out))
