"""The operations that a LiteRT file may have.

They are those of the kit's own exports, and some that plain networks for images have. None
of them reaches another subgraph, keeps anything between two calls, or touches a file.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from kaggle_kit.backends import litert_layers as layers
from kaggle_kit.backends import litert_options as options
from kaggle_kit.backends import litert_shapes as shapes
from kaggle_kit.backends.litert_layers import Array, Inputs


class Rule(NamedTuple):
    """An operation that is allowed.

    Attributes:
        name: in the schema.
        max_version: of the operation.
        options: the class of its parameters; None: it has none.
        output: what comes out, from the inputs and the parameters.
    """

    name: str
    max_version: int
    options: type[Any] | None
    output: Callable[[Inputs, Any], Array]


# By the code of the operation in the schema.
RULES = {
    0: Rule("ADD", 2, options.ActivationOptions, layers.addition),
    1: Rule("AVERAGE_POOL_2D", 2, options.PoolOptions, layers.pooling),
    2: Rule("CONCATENATION", 2, options.ConcatenationOptions, shapes.concatenation),
    3: Rule("CONV_2D", 5, options.ConvOptions, layers.convolution),
    4: Rule(
        "DEPTHWISE_CONV_2D", 6, options.DepthwiseOptions, layers.depthwise_convolution
    ),
    6: Rule("DEQUANTIZE", 2, options.NoOptions, layers.dequantization),
    9: Rule("FULLY_CONNECTED", 5, options.DenseOptions, layers.dense),
    11: Rule("L2_NORMALIZATION", 1, options.ActivationOptions, layers.over_last),
    14: Rule("LOGISTIC", 1, None, layers.pointwise),
    17: Rule("MAX_POOL_2D", 2, options.PoolOptions, layers.pooling),
    18: Rule("MUL", 1, options.ActivationOptions, layers.arithmetic),
    19: Rule("RELU", 1, None, layers.pointwise),
    21: Rule("RELU6", 1, None, layers.pointwise),
    22: Rule("RESHAPE", 1, options.ReshapeOptions, shapes.reshaping),
    25: Rule("SOFTMAX", 1, options.SoftmaxOptions, layers.over_last),
    28: Rule("TANH", 1, None, layers.pointwise),
    34: Rule("PAD", 2, options.NoOptions, shapes.padding),
    36: Rule("GATHER", 1, options.GatherOptions, shapes.gathering),
    39: Rule("TRANSPOSE", 1, options.NoOptions, shapes.transposition),
    40: Rule("MEAN", 1, options.ReducerOptions, shapes.reduction),
    41: Rule("SUB", 1, options.ActivationOptions, layers.arithmetic),
    42: Rule("DIV", 1, options.ActivationOptions, layers.arithmetic),
    45: Rule("STRIDED_SLICE", 1, options.SliceOptions, shapes.slicing),
    50: Rule("LOG_SOFTMAX", 1, options.NoOptions, layers.over_last),
    53: Rule("CAST", 1, options.CastOptions, layers.conversion),
    55: Rule("MAXIMUM", 1, options.NoOptions, layers.arithmetic),
    57: Rule("MINIMUM", 1, options.NoOptions, layers.arithmetic),
    61: Rule("GREATER", 2, options.NoOptions, layers.comparison),
    74: Rule("SUM", 1, options.ReducerOptions, shapes.reduction),
    75: Rule("SQRT", 1, None, layers.pointwise),
    76: Rule("RSQRT", 2, None, layers.inverse_root),
    77: Rule("SHAPE", 1, options.ShapeOptions, shapes.shape_of),
    78: Rule("POW", 1, options.NoOptions, layers.arithmetic),
    81: Rule("REDUCE_PROD", 1, options.ReducerOptions, shapes.product),
    82: Rule("REDUCE_MAX", 1, options.ReducerOptions, shapes.reduction),
    83: Rule("PACK", 1, options.PackOptions, shapes.packing),
    92: Rule("SQUARE", 1, options.NoOptions, layers.pointwise),
    105: Rule("REVERSE_V2", 3, options.NoOptions, shapes.reversal),
    106: Rule("ADD_N", 1, options.NoOptions, layers.sum_of_all),
    114: Rule("QUANTIZE", 1, options.NoOptions, layers.quantization),
    117: Rule("HARD_SWISH", 1, options.NoOptions, layers.pointwise),
    123: Rule("SELECT_V2", 1, options.NoOptions, layers.selection),
    126: Rule("BATCH_MATMUL", 1, options.MatMulOptions, layers.matrix_product),
}
# The converter leaves out options that have no fields, or whose fields do not matter.
MAY_LACK_OPTIONS = (options.NoOptions, options.ReshapeOptions, options.CastOptions)
