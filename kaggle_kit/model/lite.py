"""The same network as a LiteRT (TFLite) file, for the app and for CPUs."""

from pathlib import Path

import tensorflow as tf

from kaggle_kit.paths import written


def lite(model_dir: Path, out: Path) -> None:
    """Convert what ``export`` made into one file with float16 weights.

    Its signature ``serving_default`` takes and gives what ``serve`` of the SavedModel
    does, for any number of photos. It has built-in operations only, so that every
    interpreter runs it.
    """
    converter = tf.lite.TFLiteConverter.from_saved_model(str(model_dir))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    with written(out) as part:
        part.write_bytes(converter.convert())
