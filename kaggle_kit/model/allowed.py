"""What a SavedModel from an untrusted source may contain: all else is refused.

The operations are those of the networks of this kit and of Keras: they compute one tensor
of numbers from others, and neither keep a state nor know of files, strings or devices.
Left out on purpose: loops and branches, which need not end; ``Fill``, ``Tile`` and the
like, which make much of little.
"""

from collections.abc import Iterable
from typing import Any

from tensorflow.core.framework import types_pb2
from tensorflow.python.saved_model.loader_impl import message  # google.protobuf's

SHOWN = 80  # characters of a stranger's name in a message


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Bytes of an element, by data type.
NUMBERS = {
    types_pb2.DT_BOOL: 1,
    types_pb2.DT_UINT8: 1,
    types_pb2.DT_INT8: 1,
    types_pb2.DT_UINT16: 2,
    types_pb2.DT_INT16: 2,
    types_pb2.DT_HALF: 2,
    types_pb2.DT_BFLOAT16: 2,
    types_pb2.DT_UINT32: 4,
    types_pb2.DT_INT32: 4,
    types_pb2.DT_FLOAT: 4,
    types_pb2.DT_UINT64: 8,
    types_pb2.DT_INT64: 8,
    types_pb2.DT_DOUBLE: 8,
}
STRING, RESOURCE = types_pb2.DT_STRING, types_pb2.DT_RESOURCE

CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
MATHS = _names(
    """
    Abs Add AddN AddV2 All Any ArgMax AvgPool BatchMatMul BatchMatMulV2 BatchToSpaceND
    BiasAdd Cast Ceil ClipByValue ConcatV2 Const Conv2D DepthToSpace
    DepthwiseConv2dNative Einsum Elu Equal Erf Erfc Exp ExpandDims Floor FusedBatchNormV3
    GatherV2 Greater GreaterEqual Identity IdentityN LeakyRelu Less LessEqual Log Log1p
    LogSoftmax LogicalAnd LogicalNot LogicalOr MatMul Max MaxPool Maximum Mean Min Minimum
    MirrorPad Mul Neg NoOp NotEqual Pack Pad PadV2 Pow Prod RealDiv Relu Relu6 Reshape
    ResizeBilinear ResizeNearestNeighbor ReverseV2 Round Rsqrt ScaleAndTranslate Select
    SelectV2 Selu Shape Sigmoid Sign Slice Softmax Softplus Softsign SpaceToBatchND
    SpaceToDepth Split SplitV Sqrt Square SquaredDifference Squeeze StopGradient
    StridedSlice Sub Sum Tanh Transpose Unpack
    """
)
# Within the functions of a network; ReadVariableOp reads a weight.
IN_FUNCTIONS = MATHS | CALLS | {"ReadVariableOp"}
# In the functions that TensorFlow's first version saves and restores with. They stand in
# every SavedModel, and the loader that is used here never calls them.
IN_SAVERS = _names(
    """
    AssignVariableOp Const DisableCopyOnRead Identity MergeV2Checkpoints NoOp Pack
    ReadVariableOp RestoreV2 SaveV2 Select ShardedFilename StaticRegexFullMatch StringJoin
    """
)
# In the graph around the functions, which TensorFlow's first version runs.
AT_TOP = _names(
    "Const NoOp PartitionedCall Placeholder ReadVariableOp StatefulPartitionedCall "
    "VarHandleOp"
)

OPERATIONS = IN_FUNCTIONS | IN_SAVERS | AT_TOP

DEVICES = frozenset({"", "/device:CPU:0", "/device:CPU:*", "/device:GPU:0"})
# Attributes that any node may have, beside those of its operation; they begin with "_".
NODE_ATTRIBUTES = frozenset(
    {
        *("_output_shapes", "_has_manual_control_dependencies"),
        *("_collective_manager_ids", "_read_only_resource_inputs"),
    }
)
FUNCTION_ATTRIBUTES = frozenset({"_input_shapes", "_construction_context"})
ARGUMENT_ATTRIBUTES = frozenset({"_output_shapes", "_user_specified_name"})


class NotAllowed(Exception):
    """Something that no network of the kit contains; its text says what and where."""


def quote(name: str) -> str:
    """A stranger's name as it is shown in a message."""
    return repr(name[:SHOWN])


def parse(kind: Any, content: bytes, what: str) -> Any:
    """Parse a protobuf message.

    Args:
        kind: its class.
        what: it is, for the error message.

    Raises:
        ValueError: it is damaged.
    """
    try:
        return kind.FromString(content)
    except message.DecodeError as error:
        raise ValueError(f"a damaged {what} ({error})") from None


def name_type(dtype: int) -> str:
    """The name of a data type of TensorFlow, or its number."""
    known = dtype in types_pb2.DataType.values()
    return types_pb2.DataType.Name(dtype) if known else str(dtype)


def require_fields(parent: Any, allowed: Iterable[str], place: str) -> None:
    """Check that a protobuf message holds nothing but certain fields.

    Raises:
        NotAllowed: names the first other field.
    """
    for field, _ in parent.ListFields():
        if field.name not in allowed:
            raise NotAllowed(f"{field.name!r} in {place}")
