"""The same network as a LiteRT (TFLite) file, for the app and for CPUs."""

import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kaggle_kit.progress import progress
from kaggle_kit.storage.files import written

logger = logging.getLogger(__name__)

# What comes after the backbone, and the views before it, stays in float32: as 8-bit
# integers GeM's powers become 0, and an embedding of 256 steps is not one of a photo.
IN_FLOAT = [
    "BATCH_MATMUL",
    "DIV",
    "FULLY_CONNECTED",
    "L2_NORMALIZATION",
    "LOG_SOFTMAX",
    "MAXIMUM",
    "MEAN",
    "MUL",
    "REDUCE_MAX",
    "RESHAPE",
    "STRIDED_SLICE",
    "SUB",
    "SUM",
    "TRANSPOSE",
]


def lite(model_dir: Path, out: Path) -> None:
    """Convert what ``export`` made into one file, its weights as they are.

    Its signature ``serving_default`` takes and gives what ``serve`` of the SavedModel
    does, for any number of photos. It has built-in operations only, so that every
    interpreter runs it. With float16 weights it would take half the room, but of 693 real
    photos 4 would show another landmark than the SavedModel says, so they stay float32.
    """
    logger.info("convert the network to LiteRT")
    converter = tf.lite.TFLiteConverter.from_saved_model(str(model_dir))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    with written(out) as part:
        part.write_bytes(converter.convert())


def lite_int8(model_dir: Path, photos: Iterable[NDArray[np.uint8]], out: Path) -> None:
    """Convert what ``export`` made into one file whose backbone has 8-bit integers.

    As ``lite``, but for one photo at a time: of a fixed shape all of the backbone goes to
    the fast kernels of a CPU.

    Args:
        photos: some, (s, s, 3) each, to find the range of each layer's activations.

    Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference", arXiv:1712.05877.
    """
    logger.info("convert the network to 8-bit integers")
    model = tf.saved_model.load(str(model_dir))
    (serve,) = model.serve.concrete_functions
    (images,), _ = serve.structured_input_signature
    one = tf.TensorSpec((1, *images.shape[1:]), images.dtype, "images")
    function = tf.function(lambda images: model.serve(images))
    found = function.get_concrete_function(one)
    some = [photo[None] for photo in photos]

    def calibration() -> Iterator[list[NDArray[np.uint8]]]:
        return ([photo] for photo in progress(some, label="ranges of integers"))

    converter = tf.lite.TFLiteConverter.from_concrete_functions([found], model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = calibration
    options = tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=IN_FLOAT)
    with without_notice():
        debugger = tf.lite.experimental.QuantizationDebugger(
            converter=converter, debug_options=options
        )
    with written(out) as part:
        part.write_bytes(debugger.get_nondebug_quantized_model())


@contextmanager
def without_notice() -> Iterator[None]:
    """Hide a warning of TensorFlow's interpreter: it names a package that Kaggle lacks."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"[\s\S]*tf\.lite\.Interpreter")
        yield
