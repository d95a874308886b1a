"""Convert the exported network to LiteRT (TFLite), for the app and for CPUs."""

import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.frameworks import tf
from kaggle_kit.progress import progress
from kaggle_kit.storage.files import atomic_write

logger = logging.getLogger(__name__)

# Operations that stay in float32: those after the backbone, and the resizing before it. In
# 8-bit integers the powers of GeM become 0, and 256 steps are too few for an embedding.
FLOAT_OPERATIONS = [
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


def convert_to_litert(model_dir: Path, out: Path) -> None:
    """Convert a SavedModel of ``export`` to a LiteRT file with float32 weights.

    The signature ``serving_default`` has the inputs and outputs of ``serve``, for any batch
    size. The file uses built-in operations only, so that every interpreter can run it. With
    float16 weights the file would be half as large, but the guesses for 4 of 693 real
    images would differ from those of the SavedModel.

    Args:
        model_dir: the SavedModel.
        out: the file to write.
    """
    logger.info("convert the network to LiteRT")
    converter = tf.lite.TFLiteConverter.from_saved_model(str(model_dir))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    with atomic_write(out) as part:
        part.write_bytes(converter.convert())


def convert_to_int8(
    model_dir: Path, images: Iterable[NDArray[np.uint8]], out: Path
) -> None:
    """Convert a SavedModel of ``export`` to a LiteRT file with a quantized backbone.

    As ``convert_to_litert``, but weights and activations of the backbone are 8-bit
    integers, and the batch size is 1: with a fixed shape, the fast kernels of a CPU run
    the whole backbone.

    Args:
        model_dir: the SavedModel.
        images: (s, s, 3) each, to calibrate the range of each layer's activations.
        out: the file to write.

    Source of the arithmetic: Jacob et al., "Quantization and Training of Neural Networks for
    Efficient Integer-Arithmetic-Only Inference", arXiv:1712.05877. They train with simulated
    quantization; here the ranges are measured after training, and what follows the backbone
    stays in floats.
    """
    logger.info("convert the network to 8-bit integers")
    model = tf.saved_model.load(str(model_dir))
    (serve,) = model.serve.concrete_functions
    (batch,), _ = serve.structured_input_signature
    one = tf.TensorSpec((1, *batch.shape[1:]), batch.dtype, "images")
    function = tf.function(lambda images: model.serve(images))
    concrete = function.get_concrete_function(one)
    batches = [image[None] for image in images]

    def calibration() -> Iterator[list[NDArray[np.uint8]]]:
        return ([batch] for batch in progress(batches, label="calibration"))

    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = calibration
    options = tf.lite.experimental.QuantizationDebugOptions(
        denylisted_ops=FLOAT_OPERATIONS
    )
    with hide_interpreter_warning():
        debugger = tf.lite.experimental.QuantizationDebugger(
            converter=converter, debug_options=options
        )
    with atomic_write(out) as part:
        part.write_bytes(debugger.get_nondebug_quantized_model())


@contextmanager
def hide_interpreter_warning() -> Iterator[None]:
    """Hide the deprecation warning of ``tf.lite.Interpreter`` in a ``with`` block.

    It recommends a package that Kaggle's image does not have.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"[\s\S]*tf\.lite\.Interpreter")
        yield
