"""TensorFlow and Keras as the kit needs them, whatever other projects left behind.

All modules import both from here. Keras reads ``~/.keras/keras.json`` and variables while it
is imported. Here it gets the kit's own ``keras.json`` instead; the user's file is neither
read nor written. Where a program has imported Keras before, with other settings, the kit
refuses to go on: it could not change them without harm to that program.
"""

import os
import sys
from pathlib import Path

from kaggle_kit.errors import KitError

__all__ = ["KerasTensor", "keras", "ops", "require_keras", "tf"]
# What would change or stop the import of Keras, and the value for the kit; None: none
NEEDED = {
    "KERAS_HOME": str(Path(__file__).parent),
    "KERAS_BACKEND": "tensorflow",
    "KERAS_MAX_EPOCHS": None,
    "KERAS_MAX_STEPS_PER_EPOCH": None,
}
LEGACY = "TF_USE_LEGACY_KERAS"


def _require(name: str, expected: str, got: object, remedy: str) -> None:
    if got != expected:
        raise KitError(
            f"{name}: expected {expected}, got {got}; {remedy}, or import kaggle_kit "
            f"before Keras"
        )


def _prepare() -> None:
    """Set the variables that TensorFlow and Keras read while they are imported."""
    os.environ.pop(LEGACY, None)
    if "keras" not in sys.modules:
        for name, value in NEEDED.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
    try:
        Path.home()
    except RuntimeError:  # a library of Keras's cannot be imported without one
        os.environ["HOME"] = "/"


def require_keras() -> None:
    """Check that Keras has the settings that the kit's networks are made for.

    Raises:
        KitError: it has others; the message names the first.
    """
    config = keras.config
    _require(
        "keras.config.backend (of KERAS_BACKEND or keras.json)",
        "tensorflow",
        config.backend(),
        "set KERAS_BACKEND=tensorflow",
    )
    for name, expected, got in (
        ("floatx", "float32", config.floatx()),
        ("image_data_format", "channels_last", config.image_data_format()),
        ("dtype_policy", "float32", config.dtype_policy().name),
    ):
        remedy = f"call keras.config.set_{name}({expected!r})"
        _require(f"keras.config.{name}", expected, got, remedy)


if os.environ.get(LEGACY, "").lower() in ("1", "true") and "tensorflow" in sys.modules:
    raise KitError(
        f"{LEGACY}: expected none, got {os.environ[LEGACY]} and TensorFlow imported with "
        f"it; unset it, or import kaggle_kit before TensorFlow"
    )
_prepare()
import keras
import tensorflow as tf
from keras import KerasTensor, ops

require_keras()
