"""The layers that a LiteRT file may have: what they take, and what comes out.

Each function here is the rule of an operation: it refuses inputs and parameters that the
runtime does not expect, or does not check, and returns the shape and the type of the output.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.backends.flatbuffer import MAX_BYTES
from kaggle_kit.backends.litert_schema import NOT_QUANTIZED, Quantization, TensorType

FLOAT, INT32, INT8 = TensorType.FLOAT32, TensorType.INT32, TensorType.INT8
BOOL, UINT8 = TensorType.BOOL, TensorType.UINT8
ACTIVATIONS = {0, 1, 3}  # none, ReLU, ReLU6
PADDINGS = SAME, _VALID = 0, 1
MAX_STEP = 1024  # of a stride, a dilation or a filter's side
LONGEST_REASON = 200  # characters
MAX_BROADCAST = 4  # dimensions of which the runtime knows how to repeat one
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Array:
    """An input of an operation, or its output.

    Attributes:
        is_constant: the file has its numbers.
        numbers: of an array of integers that is constant, or follows from shapes.
        quantization: what 8-bit integers mean.
    """

    shape: Shape
    type: TensorType
    is_constant: bool = False
    numbers: NDArray[np.int32] | None = None
    quantization: Quantization = NOT_QUANTIZED

    @property
    def rank(self) -> int:
        """The number of dimensions."""
        return len(self.shape)


Inputs = Sequence[Array | None]  # None: an input that is left out


def refuse(reason: str) -> NoReturn:
    """Raise a ``ValueError`` with the reason, cut where it quotes something long."""
    raise ValueError(reason[:LONGEST_REASON])


def take(inputs: Inputs, *types: set[TensorType]) -> list[Array]:
    """The inputs of an operation, of which none may be left out.

    Args:
        types: those that each input may have.
    """
    arrays = [array for array in inputs if array is not None]
    if len(arrays) != len(inputs) or len(arrays) != len(types):
        refuse(f"{len(arrays)} inputs in place of {len(types)}")
    for array, allowed in zip(arrays, types, strict=True):
        if array.type not in allowed:
            refuse(f"an input of type {array.type.name}")
    return arrays


def convolution(inputs: Inputs, options: Any) -> Array:
    """CONV_2D: filters (o, h, w, channels)."""
    images, filters = _convolved(inputs, 0)
    if filters.shape[3] != images.shape[3]:
        refuse(f"filters {filters.shape} of images {images.shape}")
    height, width = _slide(images, filters.shape[1:3], options)
    _require_elements((height, width, *filters.shape[1:]))  # the runtime's own copy
    return Array((images.shape[0], height, width, filters.shape[0]), images.type)


def depthwise_convolution(inputs: Inputs, options: Any) -> Array:
    """DEPTHWISE_CONV_2D: filters (1, h, w, channels * multiplier)."""
    images, filters = _convolved(inputs, 3)
    n = filters.shape[3]
    if filters.shape[0] != 1 or n != images.shape[3] * options.multiplier:
        refuse(f"filters {filters.shape} of images {images.shape}")
    return Array(
        (images.shape[0], *_slide(images, filters.shape[1:3], options), n), images.type
    )


def pooling(inputs: Inputs, options: Any) -> Array:
    """MAX_POOL_2D and AVERAGE_POOL_2D."""
    (images,) = take(inputs, {FLOAT, INT8})
    _require_rank(images, 4)
    sides = _slide(images, (options.filter_h, options.filter_w), options)
    return Array((images.shape[0], *sides, images.shape[3]), images.type)


def dense(inputs: Inputs, options: Any) -> Array:
    """FULLY_CONNECTED: weights (o, n)."""
    x, weights = take(inputs[:2], {FLOAT}, {FLOAT})
    _require_constant(weights, 2)
    n_outputs, n_inputs = weights.shape
    _require_bias(inputs[2:], n_outputs, FLOAT)
    _require_activation(options)
    if options.weights_format or options.asymmetric or options.bias_type:
        refuse("weights in another format")
    if not x.rank or x.shape[-1] != n_inputs:
        refuse(f"weights {weights.shape} of vectors {x.shape}")
    rest = x.shape[:-1] if options.keep_dims else (math.prod(x.shape[:-1]),)
    return Array((*rest, n_outputs), FLOAT)


def matrix_product(inputs: Inputs, options: Any) -> Array:
    """BATCH_MATMUL."""
    x, y = take(inputs, {FLOAT}, {FLOAT})
    if min(x.rank, y.rank) < 2 or max(x.rank, y.rank) > MAX_BROADCAST:
        refuse(f"a product of {x.shape} and {y.shape}")
    rows, inner = x.shape[-2:][:: -1 if options.transpose_x else 1]
    inner_y, columns = y.shape[-2:][:: -1 if options.transpose_y else 1]
    if inner != inner_y or options.asymmetric:
        refuse(f"a product of {x.shape} and {y.shape}")
    rest = _broadcast(x.shape[:-2], y.shape[:-2])
    return Array((*rest, rows, columns), FLOAT)


def pointwise(inputs: Inputs, options: Any) -> Array:
    """An activation, or another function of each number alone."""
    (x,) = take(inputs, {FLOAT})
    return Array(x.shape, x.type)


def inverse_root(inputs: Inputs, options: Any) -> Array:
    """RSQRT, which the runtime knows for 8-bit integers too."""
    (x,) = take(inputs, {FLOAT, INT8})
    return Array(x.shape, x.type)


def over_last(inputs: Inputs, options: Any) -> Array:
    """SOFTMAX, LOG_SOFTMAX and L2_NORMALIZATION."""
    (x,) = take(inputs, {FLOAT})
    if not 1 <= x.rank <= MAX_BROADCAST or getattr(options, "activation", 0) != 0:
        refuse(f"an array {x.shape}, or an activation after it")
    if not math.isfinite(getattr(options, "beta", 0.0)):
        refuse(f"the factor {options.beta}")
    return Array(x.shape, x.type)


def arithmetic(inputs: Inputs, options: Any) -> Array:
    """SUB, MUL, DIV, POW, MAXIMUM and MINIMUM."""
    x, y = take(inputs, {FLOAT}, {FLOAT})
    _require_activation(options)
    return Array(_broadcast(x.shape, y.shape), FLOAT)


def addition(inputs: Inputs, options: Any) -> Array:
    """ADD."""
    x, y = take(inputs, {FLOAT, INT8}, {FLOAT, INT8})
    _require_activation(options)
    if x.type != y.type:
        refuse(f"types {x.type.name} and {y.type.name}")
    return Array(_broadcast(x.shape, y.shape), x.type)


def sum_of_all(inputs: Inputs, options: Any) -> Array:
    """ADD_N."""
    arrays = take(inputs, *[{FLOAT}] * len(inputs))
    if not 1 <= len(arrays) or len({array.shape for array in arrays}) != 1:
        refuse("arrays of several shapes")
    return Array(arrays[0].shape, FLOAT)


def comparison(inputs: Inputs, options: Any) -> Array:
    """GREATER."""
    x, y = take(inputs, {FLOAT, INT8}, {FLOAT, INT8})
    if x.type != y.type:
        refuse(f"types {x.type.name} and {y.type.name}")
    return Array(_broadcast(x.shape, y.shape), BOOL)


def selection(inputs: Inputs, options: Any) -> Array:
    """SELECT_V2."""
    condition, x, y = take(inputs, {BOOL}, {FLOAT, INT8}, {FLOAT, INT8})
    if x.type != y.type:
        refuse(f"types {x.type.name} and {y.type.name}")
    shape = _broadcast(condition.shape, _broadcast(x.shape, y.shape))
    return Array(shape, x.type)


def conversion(inputs: Inputs, options: Any) -> Array:
    """CAST, of pixels."""
    (x,) = take(inputs, {UINT8})
    return Array(x.shape, FLOAT)


def quantization(inputs: Inputs, options: Any) -> Array:
    """QUANTIZE."""
    (x,) = take(inputs, {FLOAT})
    return Array(x.shape, INT8)


def dequantization(inputs: Inputs, options: Any) -> Array:
    """DEQUANTIZE."""
    (x,) = take(inputs, {INT8})
    return Array(x.shape, FLOAT)


def _convolved(inputs: Inputs, dimension: int) -> list[Array]:
    """The images and filters of a convolution; ``dimension`` is that of the outputs."""
    images, filters = take(inputs[:2], {FLOAT, INT8}, {FLOAT, INT8})
    _require_rank(images, 4)
    _require_constant(filters, 4)
    if images.type != filters.type:
        refuse(f"filters of type {filters.type.name}")
    n = filters.shape[dimension]
    is_int8 = images.type == INT8
    _require_bias(inputs[2:], n, INT32 if is_int8 else FLOAT)
    if is_int8:
        weights = filters.quantization
        if len(weights.scale) not in (1, n) or any(weights.zero_point):
            refuse(f"{len(weights.scale)} scales of {n} filters")
        if len(weights.scale) > 1 and weights.dimension != dimension:
            refuse(f"scales of the dimension {weights.dimension}")
    return [images, filters]


def _slide(images: Array, sides: Shape, options: Any) -> Shape:
    """The height and width of what a filter gives that slides over images."""
    _require_activation(options)
    if options.padding not in PADDINGS or getattr(options, "bias_type", 0) != 0:
        refuse(f"the padding {options.padding}, or another type of bias")
    result = []
    strides = options.stride_h, options.stride_w
    dilations = options.dilation_h, options.dilation_w
    for size, side, stride, dilation in zip(
        images.shape[1:3], sides, strides, dilations, strict=True
    ):
        if not all(1 <= step <= MAX_STEP for step in (side, stride, dilation)):
            refuse(f"a filter of {side} with stride {stride} and dilation {dilation}")
        reach = 1 if options.padding == SAME else (side - 1) * dilation + 1
        result.append((size - reach) // stride + 1)
    if min(result) < 1:
        refuse(f"a filter {sides} that is larger than images {images.shape}")
    return tuple(result)


def _broadcast(x: Shape, y: Shape) -> Shape:
    """The shape of two arrays of which one is repeated to fit the other."""
    if x != y and max(len(x), len(y)) > MAX_BROADCAST:
        refuse(f"arrays {x} and {y}")
    return tuple(np.broadcast_shapes(x, y))


def _require_bias(rest: Inputs, n: int, number: TensorType) -> None:
    """Check the third input, which may be left out or absent."""
    if len(rest) > 1:
        refuse(f"{len(rest) + 2} inputs")
    for bias in rest:
        if bias is None:
            continue
        _require_constant(bias, 1)
        if bias.shape != (n,) or bias.type != number:
            refuse(f"a bias {bias.shape} of type {bias.type.name} for {n} outputs")


def _require_constant(array: Array, rank: int) -> None:
    _require_rank(array, rank)
    if not array.is_constant:
        refuse(f"weights {array.shape} that are computed")


def _require_rank(array: Array, rank: int) -> None:
    if array.rank != rank:
        refuse(f"an array {array.shape} in place of one of {rank} dimensions")


def _require_activation(options: Any) -> None:
    if getattr(options, "activation", 0) not in ACTIVATIONS:
        refuse(f"the activation {options.activation}")


def _require_elements(shape: Shape) -> None:
    """Check that an array has no more elements than the runtime can count."""
    if math.prod(shape) * FLOAT.n_bytes > MAX_BYTES:
        refuse(f"an array {shape}")
