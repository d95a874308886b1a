"""Check the functions of a SavedModel, node by node: see ``saved_model_check``."""

import math
from collections import Counter
from collections.abc import Collection, Iterable
from graphlib import CycleError, TopologicalSorter

from tensorflow.core.framework import (
    full_type_pb2,
    node_def_pb2,
    op_def_pb2,
    tensor_pb2,
)
from tensorflow.core.framework.attr_value_pb2 import AttrValue
from tensorflow.core.framework.full_type_pb2 import FullTypeDef
from tensorflow.core.framework.function_pb2 import FunctionDef
from tensorflow.core.protobuf.config_pb2 import ConfigProto
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef
from tensorflow.python.framework import op_def_registry

from kaggle_kit.model import allowed
from kaggle_kit.model.allowed import NotAllowed, name_type, parse, quote, require_fields

MAX_CONSTANTS = 2**26  # bytes of all constants: 64 MiB
MAX_NODES = (
    100_000  # of a function, with those that it calls; ResNet-50 has 1,300 a view
)
STRING_BYTES = 24  # of an empty string in a tensor
CONTEXT = b"kEagerRuntime"
FULL_TYPES = {
    *(full_type_pb2.TFT_UNSET, full_type_pb2.TFT_PRODUCT, full_type_pb2.TFT_TENSOR),
    full_type_pb2.TFT_SHAPE_TENSOR,
    *(full_type_pb2.TFT_BOOL, full_type_pb2.TFT_UINT8, full_type_pb2.TFT_FLOAT),
    *(full_type_pb2.TFT_INT32, full_type_pb2.TFT_INT64, full_type_pb2.TFT_HALF),
}


class Functions:
    """The functions of a SavedModel, checked.

    Attributes:
        savers: the names of those that nothing but the saver may call.
        by_name: all others.
        constants: the data types of the constants of the graph, by name.
    """

    def __init__(self, graph: MetaGraphDef):
        """Check every node of the graph and of all functions, called or not.

        Raises:
            NotAllowed: there is anything that no network of the kit contains.
        """
        library = graph.graph_def.library
        require_fields(graph.graph_def, {"node", "versions", "library"}, "the graph")
        require_fields(library, {"function"}, "the library of functions")
        _require_unique("node", (node.name for node in graph.graph_def.node))
        _require_unique("function", (f.signature.name for f in library.function))
        self.savers = _saver_functions(graph)
        self.by_name: dict[str, FunctionDef] = {}
        self._n_bytes = 0
        calls: dict[str, list[str]] = {}
        called = self._check_nodes(graph.graph_def.node, allowed.AT_TOP, True, "")
        self.constants = {
            node.name: node.attr["value"].tensor.dtype
            for node in graph.graph_def.node
            if node.op == "Const" and "value" in node.attr
        }
        for function in library.function:
            name = function.signature.name
            if name in allowed.OPERATIONS:  # each such node would call it
                raise NotAllowed(f"a function with the name of an operation, {name!r}")
            is_saver = name in self.savers
            operations = allowed.IN_SAVERS if is_saver else allowed.IN_FUNCTIONS
            place = f" in the function {quote(name)}"
            calls[name] = self._check_nodes(
                function.node_def, operations, is_saver, place
            )
            _check_signature(function, is_saver)
            if not is_saver:
                self.by_name[name] = function
        for name in called:
            if name not in calls:
                raise NotAllowed(f"a call of {quote(name)}, which is no function")
        self._check_calls(calls)

    def _check_nodes(
        self,
        nodes: Collection[node_def_pb2.NodeDef],
        operations: Collection[str],
        has_strings: bool,
        place: str,
    ) -> list[str]:
        """Check nodes, and list the functions that they call."""
        called = []
        for node in nodes:  # first, since the operation says best what it is
            if node.op not in operations:
                name = f"{quote(node.op)} of the node {quote(node.name)}"
                raise NotAllowed(f"the operation {name}{place or ' of the graph'}")
        for node in nodes:
            operation = node.op
            if node.device not in allowed.DEVICES:
                raise NotAllowed(f"the device {quote(node.device)}{place}")
            if node.HasField("experimental_type"):
                _check_full_type(node.experimental_type, f"{quote(node.name)}{place}")
            known = _attributes(operation)
            for name, value in node.attr.items():
                if name not in known:
                    raise NotAllowed(
                        f"the attribute {quote(name)} of the node {quote(node.name)}{place}"
                    )
                function = self._check_value(operation, name, value, has_strings, place)
                if function:
                    called.append(function)
        return called

    def _check_value(
        self,
        operation: str,
        name: str,
        value: AttrValue,
        has_strings: bool,
        place: str,
    ) -> str:
        """Check an attribute; of a call, return the name of the function."""
        kind = value.WhichOneof("value")
        where = f"the attribute {quote(name)} of a node {quote(operation)}{place}"
        is_call = operation in allowed.CALLS
        if kind == "func":
            if not is_call or name != "f" or len(value.func.attr):
                raise NotAllowed(f"a function in {where}")
            return value.func.name
        if kind == "type":
            _require_type(value.type, has_strings, where)
        elif kind == "list":
            if len(value.list.func) or len(value.list.tensor):
                raise NotAllowed(f"a function or a tensor in {where}")
            for dtype in value.list.type:
                if not (is_call and name == "Tin" and dtype == allowed.RESOURCE):
                    _require_type(dtype, has_strings, where)
        elif kind == "tensor" and operation == "Const":
            self._n_bytes += _count_bytes(value.tensor, has_strings, where)
            if self._n_bytes > MAX_CONSTANTS:
                raise NotAllowed(
                    f"more than {MAX_CONSTANTS} bytes of constants, up to {where}"
                )
        elif kind in ("tensor", "placeholder", None):
            raise NotAllowed(f"no value or a {kind} in {where}")
        elif kind == "s" and is_call:
            _check_call_option(name, value.s, where)
        return ""

    def _check_calls(self, calls: dict[str, list[str]]) -> None:
        """Refuse calls of savers, in a circle, or of so many that memory would not do."""
        for name, called in calls.items():
            for other in called:
                if other not in self.by_name:
                    raise NotAllowed(
                        f"a call of {quote(other)} in the function {quote(name)}"
                    )
        sizes: dict[str, int] = {}
        try:
            order = list(TopologicalSorter(calls).static_order())
        except CycleError:
            raise NotAllowed("functions that call each other in a circle") from None
        for name in order:
            n_own = len(self.by_name[name].node_def) if name in self.by_name else 0
            sizes[name] = n_own + sum(sizes[other] for other in calls[name])
            if sizes[name] > MAX_NODES:
                raise NotAllowed(
                    f"more than {MAX_NODES} nodes in the function {quote(name)} and those "
                    f"that it calls"
                )


def _saver_functions(graph: MetaGraphDef) -> set[str]:
    """The functions that the saver calls, by the nodes that it names."""
    saver = graph.saver_def
    names = {saver.save_tensor_name.partition(":")[0], saver.restore_op_name}
    return {
        node.attr["f"].func.name
        for node in graph.graph_def.node
        if node.name in names and node.op in allowed.CALLS and "f" in node.attr
    }


def _check_signature(function: FunctionDef, is_saver: bool) -> None:
    """Check all of a function but its nodes."""
    signature = function.signature
    place = f"the function {quote(signature.name)}"
    fields = {"signature", "attr", "arg_attr", "node_def", "ret", "control_ret"}
    require_fields(function, fields, place)
    fields = {"name", "input_arg", "output_arg", "control_output", "is_stateful"}
    require_fields(signature, fields, f"the signature of {place}")
    for name, value in function.attr.items():
        is_odd = name == "_construction_context" and value.s != CONTEXT
        if name not in allowed.FUNCTION_ATTRIBUTES or is_odd:
            raise NotAllowed(f"the attribute {quote(name)} of {place}")
    for argument in function.arg_attr.values():
        for name in argument.attr:
            if name not in allowed.ARGUMENT_ATTRIBUTES:
                raise NotAllowed(
                    f"the attribute {quote(name)} of an argument of {place}"
                )
    for argument in signature.input_arg:
        where = f"the argument {quote(argument.name)} of {place}"
        require_fields(argument, {"name", "description", "type", "handle_data"}, where)
        if argument.type == allowed.RESOURCE:
            _check_handle(argument, where)
        else:
            _require_type(argument.type, is_saver, where)
    for argument in signature.output_arg:
        where = f"the result {quote(argument.name)} of {place}"
        require_fields(argument, {"name", "description", "type"}, where)
        _require_type(argument.type, is_saver, where)


def _check_handle(argument: op_def_pb2.OpDef.ArgDef, where: str) -> None:
    """A resource is a variable, whose data type and shape are said."""
    for handle in argument.handle_data:
        require_fields(handle, {"dtype", "shape"}, where)
        _require_type(handle.dtype, False, where)
    if len(argument.handle_data) != 1:
        raise NotAllowed(f"a resource that is no variable as {where}")


def _check_call_option(name: str, value: bytes, where: str) -> None:
    """Of a call's options, only those of the usual executor and of plain devices."""
    if name != "config_proto":
        if value:
            raise NotAllowed(where)
        return
    config = parse(ConfigProto, value, name)
    fields = {
        *("device_count", "gpu_options", "allow_soft_placement", "experimental"),
        *("pluggable_device_options", "graph_options"),
    }
    require_fields(config, fields, where)
    if any(len(name) > 20 for name in config.device_count):
        raise NotAllowed(where)
    for message in (
        config.gpu_options,
        config.experimental,
        config.pluggable_device_options,
        config.graph_options.rewrite_options,
    ):
        _require_numbers(message, where)
    require_fields(config.graph_options, {"rewrite_options"}, where)


def _require_numbers(message: object, where: str) -> None:
    """Check that options are numbers and switches: no names, and no further options."""
    for field, value in message.ListFields():  # type: ignore[attr-defined]
        if field.name == "visible_device_list" and not value.strip("0123456789,"):
            continue
        if field.type == field.TYPE_MESSAGE and not hasattr(value, "append"):
            _require_numbers(value, where)
        elif field.type in (field.TYPE_MESSAGE, field.TYPE_STRING, field.TYPE_BYTES):
            raise NotAllowed(f"the option {field.name!r} in {where}")


def _count_bytes(tensor: tensor_pb2.TensorProto, has_strings: bool, where: str) -> int:
    """The bytes of a constant in memory, however little of it is written down."""
    _require_type(tensor.dtype, has_strings, where)
    sides = [dimension.size for dimension in tensor.tensor_shape.dim]
    if tensor.tensor_shape.unknown_rank or any(side < 0 for side in sides):
        raise NotAllowed(f"a constant without a shape in {where}")
    if tensor.dtype == allowed.STRING:
        n_longest = max(map(len, tensor.string_val), default=0)
        return math.prod(sides) * (STRING_BYTES + n_longest)
    n_bytes = math.prod(sides) * allowed.NUMBERS[tensor.dtype]
    if tensor.tensor_content and len(tensor.tensor_content) != n_bytes:
        raise NotAllowed(f"a constant whose content is not of its shape in {where}")
    return n_bytes


def _require_type(dtype: int, has_strings: bool, where: str) -> None:
    if dtype not in allowed.NUMBERS and not (has_strings and dtype == allowed.STRING):
        raise NotAllowed(f"the data type {name_type(dtype)} of {where}")


def _check_full_type(full_type: FullTypeDef, node: str) -> None:
    """What TensorFlow found out about the results of a node: tensors of numbers."""
    is_known = full_type.type_id in FULL_TYPES and full_type.WhichOneof("attr") is None
    if not is_known:
        raise NotAllowed(f"a type {full_type.type_id} of the node {node}")
    for argument in full_type.args:
        _check_full_type(argument, node)


def _require_unique(kind: str, names: Iterable[str]) -> None:
    for name, n in Counter(names).items():
        if n > 1:
            raise NotAllowed(f"{n} of the {kind} {quote(name)}")


_KNOWN: dict[str, frozenset[str]] = {}


def _attributes(operation: str) -> frozenset[str]:
    """The names of the attributes that a node with an allowed operation may have."""
    if operation not in _KNOWN:
        definition = op_def_registry.get(operation)
        names = (attribute.name for attribute in definition.attr) if definition else ()
        _KNOWN[operation] = allowed.NODE_ATTRIBUTES | frozenset(names)
    return _KNOWN[operation]
