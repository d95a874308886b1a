"""Layers that Keras does not have."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("kaggle_kit")
class CosineHead(keras.layers.Layer):
    """Scaled cosine between an embedding and one learnt direction per class.

    logit_c = scale * x.w_c / (|x| |w_c|). Shapes: (batch, d) -> (batch, n_classes).

    Args:
        n_classes: C.
        scale: the largest logit; softmax of plain cosines would be almost flat.
    """

    def __init__(self, n_classes: int, scale: float, **kwargs):
        super().__init__(**kwargs)
        self.n_classes = n_classes
        self.scale = scale

    def build(self, input_shape):
        shape = (input_shape[-1], self.n_classes)
        self.directions = self.add_weight(
            name="directions", shape=shape, initializer="glorot_uniform"
        )

    def call(self, inputs):
        unit = ops.normalize(inputs, axis=-1)
        return self.scale * ops.matmul(unit, ops.normalize(self.directions, axis=0))

    def get_config(self):
        own = {"n_classes": self.n_classes, "scale": self.scale}
        return super().get_config() | own
