"""Backbones by keras-cv, built without the network."""

import keras
import keras_cv

from kaggle_kit import config


def backbone(settings: config.Model, image_size: int) -> keras.Model:
    """ResNet-50 (He et al., arXiv:1512.03385) with random weights.

    Shapes: (batch, s, s, 3) pixels in 0..255 -> (batch, s/32, s/32, 2048).

    With ``zero_residual`` the last batch norm of each residual branch begins with scale 0,
    so that the network begins shallow (Goyal et al., arXiv:1706.02677, section 5.1).

    keras-cv's presets, which ``ResNet50Backbone`` uses too, ask the network for a file;
    the class below them does not.
    """
    network = keras_cv.models.ResNetBackbone(
        stackwise_filters=[64, 128, 256, 512],
        stackwise_blocks=[3, 4, 6, 3],
        stackwise_strides=[1, 2, 2, 2],
        block_type="block",
        include_rescaling=True,
        input_shape=(image_size, image_size, 3),
    )
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = settings.batch_norm_momentum
        if settings.zero_residual and layer.name.endswith("_3_bn"):
            layer.gamma.assign(keras.ops.zeros_like(layer.gamma))
    return network
