"""Exports of networks with random weights, as LiteRT files in floats and in integers."""

from pathlib import Path

import keras
import numpy as np

from kaggle_kit import config
from kaggle_kit.config import Config
from kaggle_kit.model.classifier import classifier
from kaggle_kit.model.convert_litert import convert_to_int8, convert_to_litert
from kaggle_kit.model.export import export, view_sides

HEAD = {"recognition.ranking": "head"}
# Between them, they have every operation of the kit's networks.
KINDS = {
    "plain": {"recognition.flip": False},
    "flat": {"model.pooling": "flatten", "model.pixels": "centred"},
    "views": {**HEAD, "recognition.scales": [1.0, 2.0], "recognition.flip": True},
    "gem": {
        **HEAD,
        "model.pooling": "gem",
        "model.embedding": 8,
        "model.pixels": "caffe",
        "model.head": "cosine",
        "model.sub_centres": 2,
    },
    "rows": {**HEAD, "model.head": "arcface", "model.sampled_classes": 16},
    "lite0": {"model.backbone": "efficientnet_lite0", "recognition.scales": [1.0, 2.0]},
    "resnet": {**HEAD, "model.backbone": "resnet50", "recognition.flip": True},
}
FLOATS, INTEGERS = "model.tflite", "model.int8.tflite"


def write_exports(kind: str, settings: Config, out: Path) -> None:
    """Write the SavedModel ``model`` of a kind, and both LiteRT files beside it."""
    own = config.override(settings, KINDS[kind])
    keras.utils.set_random_seed(0)
    size = own.data.image_size if own.model.pooling == "flatten" else None
    export(classifier(own.model, size, 5), own, out / "model")
    convert_to_litert(out / "model", out / FLOATS)
    side = max(view_sides(own))
    images = np.random.default_rng(0).integers(0, 256, (4, side, side, 3), np.uint8)
    convert_to_int8(out / "model", list(images), out / INTEGERS)
