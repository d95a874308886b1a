"""The parameters of the operators in a LiteRT file.

Source: schema.fbs, version 3 (``TFL3``), of TensorFlow Lite.
"""

from dataclasses import dataclass
from typing import ClassVar

from kaggle_kit.backends.flatbuffer import slot


@dataclass(frozen=True)
class NoOptions:
    """Of operators without parameters."""


@dataclass(frozen=True)
class ActivationOptions:
    """Of operators that may end with an activation."""

    activation: int = slot(0, "b", 0)
    pot_scale_int16: bool = slot(1, "?", True)  # of ADD and SUB, for 16-bit integers


@dataclass(frozen=True)
class ConvOptions:
    """Of CONV_2D."""

    padding: int = slot(0, "b", 0)
    stride_w: int = slot(1, "i", 0)
    stride_h: int = slot(2, "i", 0)
    activation: int = slot(3, "b", 0)
    dilation_w: int = slot(4, "i", 1)
    dilation_h: int = slot(5, "i", 1)
    bias_type: int = slot(6, "b", 0)


@dataclass(frozen=True)
class DepthwiseOptions:
    """Of DEPTHWISE_CONV_2D."""

    padding: int = slot(0, "b", 0)
    stride_w: int = slot(1, "i", 0)
    stride_h: int = slot(2, "i", 0)
    multiplier: int = slot(3, "i", 0)
    activation: int = slot(4, "b", 0)
    dilation_w: int = slot(5, "i", 1)
    dilation_h: int = slot(6, "i", 1)


@dataclass(frozen=True)
class PoolOptions:
    """Of AVERAGE_POOL_2D and MAX_POOL_2D."""

    padding: int = slot(0, "b", 0)
    stride_w: int = slot(1, "i", 0)
    stride_h: int = slot(2, "i", 0)
    filter_w: int = slot(3, "i", 0)
    filter_h: int = slot(4, "i", 0)
    activation: int = slot(5, "b", 0)
    dilation_w: ClassVar[int] = 1
    dilation_h: ClassVar[int] = 1


@dataclass(frozen=True)
class DenseOptions:
    """Of FULLY_CONNECTED."""

    activation: int = slot(0, "b", 0)
    weights_format: int = slot(1, "b", 0)
    keep_dims: bool = slot(2, "?", False)
    asymmetric: bool = slot(3, "?", False)
    bias_type: int = slot(4, "b", 0)


@dataclass(frozen=True)
class SoftmaxOptions:
    """Of SOFTMAX."""

    beta: float = slot(0, "f", 0.0)


@dataclass(frozen=True)
class ConcatenationOptions:
    """Of CONCATENATION."""

    axis: int = slot(0, "i", 0)
    activation: int = slot(1, "b", 0)


@dataclass(frozen=True)
class ReshapeOptions:
    """Of RESHAPE, whose second input counts instead."""

    shape: tuple[int, ...] = slot(0, "i", vector=True)


@dataclass(frozen=True)
class GatherOptions:
    """Of GATHER."""

    axis: int = slot(0, "i", 0)
    batch_dims: int = slot(1, "i", 0)


@dataclass(frozen=True)
class ReducerOptions:
    """Of MEAN, SUM, REDUCE_MAX and REDUCE_PROD."""

    keep_dims: bool = slot(0, "?", False)


@dataclass(frozen=True)
class SliceOptions:
    """Of STRIDED_SLICE: a bit for each dimension."""

    begin: int = slot(0, "i", 0)
    end: int = slot(1, "i", 0)
    ellipsis: int = slot(2, "i", 0)
    new_axis: int = slot(3, "i", 0)
    shrink: int = slot(4, "i", 0)
    offset: bool = slot(5, "?", False)


@dataclass(frozen=True)
class CastOptions:
    """Of CAST; the types of its tensors count instead."""

    source: int = slot(0, "b", 0)
    target: int = slot(1, "b", 0)


@dataclass(frozen=True)
class ShapeOptions:
    """Of SHAPE."""

    type: int = slot(0, "b", 0)


@dataclass(frozen=True)
class PackOptions:
    """Of PACK."""

    count: int = slot(0, "i", 0)
    axis: int = slot(1, "i", 0)


@dataclass(frozen=True)
class MatMulOptions:
    """Of BATCH_MATMUL."""

    transpose_x: bool = slot(0, "?", False)
    transpose_y: bool = slot(1, "?", False)
    asymmetric: bool = slot(2, "?", False)


# By the number of the kind in the schema. The rest of the kinds are of operators that the
# kit's networks do not have.
OPTIONS = {
    1: ConvOptions,
    2: DepthwiseOptions,
    5: PoolOptions,
    8: DenseOptions,
    9: SoftmaxOptions,
    10: ConcatenationOptions,
    **dict.fromkeys((11, 12, 21, 28, 29), ActivationOptions),  # ADD, L2, MUL, SUB, DIV
    17: ReshapeOptions,
    **dict.fromkeys((22, 26, 36, 38, 39, 44, 56, 66, 81, 82, 89, 91, 98), NoOptions),
    23: GatherOptions,
    27: ReducerOptions,
    32: SliceOptions,
    37: CastOptions,
    55: ShapeOptions,
    59: PackOptions,
    101: MatMulOptions,
}
