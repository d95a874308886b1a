"""The network in training: pixels, backbone, pooling, embedding, class head."""

from kaggle_kit import config
from kaggle_kit.frameworks import keras
from kaggle_kit.model.backbones import backbone
from kaggle_kit.model.layers import CosineHead, GeM, adacos_scale

EMBEDDING = (
    "embedding"  # layer whose output, normalized to unit length, is the embedding
)
IMAGENET_MEANS = (123.68, 116.779, 103.939)  # red, green, blue in 0..255


def classifier(
    settings: config.Model, image_size: int | None, n_classes: int
) -> keras.Model:
    """Create a network from pixels to class logits, with random weights.

    Shapes: (batch, s, s, 3) pixels in 0..255 -> (batch, n_classes) logits. The output of
    the layer named ``EMBEDDING``, (batch, d), is the input of the head.

    Args:
        settings: of the model.
        image_size: s in pixels; None: any multiple of 32, which is slower on a CPU.
        n_classes: number of classes.
    """
    pixels = keras.Input((image_size, image_size, 3), name="pixels")
    x = backbone(settings, image_size)(_scale(pixels, settings.pixels))
    x = _pool(x, settings)
    if settings.embedding:
        x = keras.layers.Dense(settings.embedding, name="neck")(x)
        x = keras.layers.BatchNormalization(
            momentum=settings.batch_norm_momentum, name="neck_bn"
        )(x)
    x = keras.layers.Identity(name=EMBEDDING)(x)
    x = keras.layers.Dropout(settings.dropout, name="dropout")(x)
    if settings.head == "dense":
        x = keras.layers.Dense(n_classes, dtype="float32", name="head")(x)
    else:
        scale = logit_scale(settings, n_classes)
        x = CosineHead(
            n_classes,
            scale,
            settings.sub_centres,
            by_rows=settings.sampled_classes is not None,
            name="head",
        )(x)
    return keras.Model(pixels, x, name="classifier")


def logit_scale(settings: config.Model, n_classes: int) -> float:
    """The factor of the cosine, which is the largest logit, of a cosine or arcface head."""
    return adacos_scale(n_classes) if settings.scale is None else settings.scale


def _scale(pixels: keras.KerasTensor, kind: str) -> keras.KerasTensor:
    """Convert pixels in 0..255 to the input range of the backbone."""
    if kind == "unit":
        return keras.layers.Rescaling(1 / 255, name="rescaled")(pixels)
    if kind == "centred":
        return keras.layers.Rescaling(1 / 128, -127 / 128, name="rescaled")(pixels)
    ones = (1.0, 1.0, 1.0)
    return keras.layers.Normalization(
        mean=IMAGENET_MEANS, variance=ones, name="rescaled"
    )(pixels)


def _pool(x: keras.KerasTensor, settings: config.Model) -> keras.KerasTensor:
    if settings.pooling == "flatten":
        return keras.layers.Flatten(name="pooling")(x)
    if settings.pooling == "gem":
        return GeM(settings.gem_p, settings.gem_trainable, name="pooling")(x)
    return keras.layers.GlobalAveragePooling2D(name="pooling")(x)
