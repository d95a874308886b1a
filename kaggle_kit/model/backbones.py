"""Backbones from keras-cv, built without internet access."""

from kaggle_kit import config
from kaggle_kit.frameworks import keras

LITE0 = {
    "stackwise_kernel_sizes": [3, 3, 5, 3, 5, 5, 3],
    "stackwise_num_repeats": [1, 2, 2, 3, 3, 4, 1],
    "stackwise_input_filters": [32, 16, 24, 40, 80, 112, 192],
    "stackwise_output_filters": [16, 24, 40, 80, 112, 192, 320],
    "stackwise_expansion_ratios": [1, 6, 6, 6, 6, 6, 6],
    "stackwise_strides": [1, 2, 2, 2, 1, 2, 1],
    "width_coefficient": 1.0,
    "depth_coefficient": 1.0,
}


def backbone(settings: config.Model, size: int | None = None) -> keras.Model:
    """Create a network from pixels to features, with random weights, named "backbone".

    Shapes: (batch, s, s, 3), scaled as ``model.pixels`` says -> (batch, s/32, s/32, c). The
    number of channels c is 2048 for ResNet-50 (He et al., arXiv:1512.03385), 1280 for
    EfficientNet-Lite0 (B0 of Tan & Le, arXiv:1905.11946, without squeeze-and-excitation and
    with ReLU6 for swish) and 32 for ``tiny``, three convolutions for fast tests.

    With ``zero_residual``, the scale of the last batch norm in each residual branch is
    initialized with 0, so that training starts with a shallow network (Goyal et al.,
    arXiv:1706.02677, section 5.1).

    The presets of keras-cv, which ``ResNet50Backbone`` uses too, download a file. The
    classes used here do not.

    Args:
        settings: of the model.
        size: s in pixels; None: any multiple of 32.
    """
    import keras_cv  # only after kaggle_kit.frameworks has set Keras up

    if settings.backbone == "resnet50":
        network = keras_cv.models.ResNetBackbone(
            stackwise_filters=[64, 128, 256, 512],
            stackwise_blocks=[3, 4, 6, 3],
            stackwise_strides=[1, 2, 2, 2],
            block_type="block",
            include_rescaling=False,
            input_shape=(size, size, 3),
        )
    elif settings.backbone == "tiny":
        network = _tiny(size)
    elif settings.backbone == "efficientnet_lite0":
        network = keras_cv.models.EfficientNetLiteBackbone(
            **LITE0,
            include_rescaling=False,
            input_shape=(size, size, 3),
        )
    else:
        raise ValueError(f"no network for the backbone {settings.backbone!r}")
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = settings.batch_norm_momentum
        if settings.zero_residual and layer.name.endswith("_3_bn"):
            layer.gamma.assign(keras.ops.zeros_like(layer.gamma))
    # a checkpoint of keras-cv's own class would restore a network without these changes
    return keras.Model(network.input, network.output, name="backbone")


def _tiny(size: int | None) -> keras.Model:
    """A network of three convolutions."""
    pixels = x = keras.Input((size, size, 3))
    for filters, stride in ((8, 4), (16, 4), (32, 2)):
        x = keras.layers.Conv2D(filters, 5, stride, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.ReLU()(x)
    return keras.Model(pixels, x)
