"""The network that is trained: backbone, embedding, class head."""

import keras

from kaggle_kit import config
from kaggle_kit.model.backbones import backbone
from kaggle_kit.model.layers import CosineHead

EMBEDDING = "embedding"  # the layer whose output, at unit length, is the embedding


def classifier(settings: config.Model, image_size: int, n_classes: int) -> keras.Model:
    """A network from pixels to class logits.

    Shapes: (batch, s, s, 3) pixels in 0..255 -> (batch, n_classes) logits. The layer
    named ``EMBEDDING`` gives the (batch, d) features that the head reads.
    """
    network = backbone(settings, image_size)
    x = network.output
    if settings.pooling == "flatten":
        x = keras.layers.Flatten(name="pooling")(x)
    else:
        x = keras.layers.GlobalAveragePooling2D(name="pooling")(x)
    if settings.embedding:
        x = keras.layers.Dense(settings.embedding, name="neck")(x)
        x = keras.layers.BatchNormalization(
            momentum=settings.batch_norm_momentum, name="neck_bn"
        )(x)
    x = keras.layers.Identity(name=EMBEDDING)(x)
    x = keras.layers.Dropout(settings.dropout, name="dropout")(x)
    if settings.head == "cosine":
        x = CosineHead(n_classes, settings.scale, name="head")(x)
    else:
        x = keras.layers.Dense(n_classes, name="head")(x)
    return keras.Model(network.input, x, name="classifier")
