"""Check the objects of a SavedModel: see ``saved_model_check``.

The loader sets each child of an object as an attribute by the name that the file gives it,
so that a child named ``_restore_from_tensors`` would be called. A list grows up to the
number that is the name of a child.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tensorflow.core.framework.function_pb2 import FunctionDef
from tensorflow.core.protobuf.saved_object_graph_pb2 import (
    SavedConcreteFunction,
    SavedObject,
    SavedObjectGraph,
)

from kaggle_kit.model import allowed
from kaggle_kit.model.allowed import NotAllowed, name_type, quote, require_fields
from kaggle_kit.model.saved_model_functions import Functions

# The kinds of objects in a ``tf.Module``. Others have functions that run on loading.
KINDS = ("user_object", "function", "bare_concrete_function", "variable", "constant")
FUNCTIONS = KINDS[1:3]
CONSTANT = "tf.TrackableConstant"  # the registered name of every constant
LISTS = ("trackable_list_wrapper", "trackable_tuple_wrapper")
IDENTIFIERS = ("_generic_user_object", "signature_map", "trackable_dict_wrapper")
CHILD = re.compile(
    r"[A-Za-z]\w{0,99}", re.ASCII
)  # none of Python's or TensorFlow's own
TRACE = re.compile(r"trace_\d{1,9}", re.ASCII)
CAPTURE = re.compile(r"capture_\d{1,9}", re.ASCII)
MAX_RANK = 8
# The arguments and results of functions: plain values and tensors.
VALUES = {
    *("none_value", "int64_value", "float64_value", "bool_value", "string_value"),
    *("list_value", "tuple_value", "dict_value", "named_tuple_value"),
    "tensor_spec_value",
}


def check_objects(objects: SavedObjectGraph, functions: Functions) -> None:
    """Refuse objects other than weights, constants, functions, and plain holders of them.

    Args:
        objects: of the SavedModel.
        functions: of the SavedModel, checked.

    Raises:
        NotAllowed: there is anything that no network of the kit contains.
        ValueError: there is no object.
    """
    nodes = objects.nodes
    if not nodes:
        raise ValueError("no object")
    for i, node in enumerate(nodes):
        kind = node.WhichOneof("kind")
        place = f"object {i}"
        if kind not in KINDS:
            raise NotAllowed(f"an object of kind {kind!r} as {place}")
        more = {"dependencies"} if kind in FUNCTIONS else set()
        if kind == "constant" and node.registered_name == CONSTANT:
            more = {"registered_name"}
        require_fields(node, {"children", kind, *more}, place)
        _check_children(node, len(nodes), place)
        if kind == "variable":
            _check_variable(node, place)
        elif kind == "constant":
            _check_constant(node, functions.constants, place)
        elif kind in FUNCTIONS:
            _check_function(node, kind, objects.concrete_functions, place)
    if nodes[0].user_object.identifier != IDENTIFIERS[0]:
        raise NotAllowed(f"an object {quote(nodes[0].user_object.identifier)} as root")
    _require_held(nodes)
    for name, concrete in objects.concrete_functions.items():
        if name not in functions.by_name:
            raise NotAllowed(f"an object that calls the function {quote(name)}")
        _check_concrete(concrete, functions.by_name[name], functions.constants, nodes)


def shape_of(proto: Any, place: str) -> tuple[int, ...]:
    """The shape of a variable, which has to be known.

    Raises:
        NotAllowed: a side of it is not known.
    """
    shape = tuple(dimension.size for dimension in proto.dim)
    if proto.unknown_rank or len(shape) > MAX_RANK or any(side < 0 for side in shape):
        raise NotAllowed(f"a shape that is not known of {place}")
    return shape


def _check_children(node: SavedObject, n_objects: int, place: str) -> None:
    names = [child.local_name for child in node.children]
    for child in (*node.children, *node.dependencies):
        if not 0 <= child.node_id < n_objects:
            raise NotAllowed(
                f"a child {child.node_id} of {place}, among {n_objects} objects"
            )
    if len(set(names)) != len(names):
        raise NotAllowed(f"two children of one name in {place}")
    kind = node.WhichOneof("kind")
    if kind == "user_object":
        identifier = node.user_object.identifier
        require_fields(node.user_object, {"identifier", "version"}, place)
        if identifier in LISTS:
            odd = set(names) - {str(i) for i in range(len(names))}
        elif identifier in IDENTIFIERS:
            odd = {name for name in names if not CHILD.fullmatch(name)}
        else:
            raise NotAllowed(f"an object {quote(identifier)} as {place}")
    elif kind in FUNCTIONS:
        pattern = TRACE if kind == FUNCTIONS[0] else CAPTURE
        odd = {name for name in names if not pattern.fullmatch(name)}
    else:
        odd = set(names)
    if odd:
        raise NotAllowed(f"a child {quote(min(odd))} of {place}")


def _require_held(nodes: Sequence[SavedObject]) -> None:
    """Check that the root holds all objects, which would be deleted otherwise."""
    waiting, held = [0], {0}
    while waiting:
        children = {child.node_id for child in nodes[waiting.pop()].children} - held
        waiting += children
        held |= children
    if len(held) < len(nodes):
        first = min(set(range(len(nodes))) - held)
        raise NotAllowed(f"object {first}, which no other object holds")


def _check_variable(node: SavedObject, place: str) -> None:
    fields = {"dtype", "shape", "trainable", "synchronization", "aggregation", "name"}
    require_fields(node.variable, fields, place)
    if node.variable.dtype not in allowed.NUMBERS:
        raise NotAllowed(f"the data type {name_type(node.variable.dtype)} of {place}")
    shape_of(node.variable.shape, place)


def _check_constant(
    node: SavedObject, constants: Mapping[str, int], place: str
) -> None:
    require_fields(node.constant, {"operation"}, place)
    if constants.get(node.constant.operation) not in allowed.NUMBERS:
        raise NotAllowed(
            f"{quote(node.constant.operation)}, which is no constant of numbers, as {place}"
        )


def _check_function(
    node: SavedObject,
    kind: str,
    concrete: Mapping[str, SavedConcreteFunction],
    place: str,
) -> None:
    if kind == "function":
        function = node.function
        names = list(function.concrete_functions)
        require_fields(function, {"concrete_functions", "function_spec"}, place)
    else:
        function = node.bare_concrete_function
        names = [function.concrete_function_name]
        fields = {"concrete_function_name", "argument_keywords", "function_spec"}
        fields |= {"allowed_positional_arguments"}
        require_fields(function, fields, place)
    for name in names or [""]:
        if name not in concrete:
            raise NotAllowed(f"the function {quote(name)} as {place}")
    if kind == FUNCTIONS[1] and not function.HasField("function_spec"):
        return  # a signature, which is called by keywords
    spec = function.function_spec
    require_fields(spec, {"fullargspec", "is_method", "input_signature"}, place)
    _check_value(spec.fullargspec, place)
    _check_value(spec.input_signature, place)


def _check_concrete(
    concrete: SavedConcreteFunction,
    function: FunctionDef,
    constants: Mapping[str, int],
    nodes: Sequence[SavedObject],
) -> None:
    """Check that the last arguments of a function are weights and constants that fit."""
    place = f"the function {quote(function.signature.name)}"
    fields = {"bound_inputs", "canonicalized_input_signature", "output_signature"}
    require_fields(concrete, fields, place)
    _check_value(concrete.canonicalized_input_signature, place)
    _check_value(concrete.output_signature, place)
    arguments = function.signature.input_arg
    bound = concrete.bound_inputs
    n_free = len(arguments) - len(bound)
    if n_free < 0 or any(a.type == allowed.RESOURCE for a in arguments[:n_free]):
        raise NotAllowed(f"{len(bound)} objects bound to {place}")
    for argument, i in zip(arguments[n_free:], bound, strict=True):
        kind = nodes[i].WhichOneof("kind") if 0 <= i < len(nodes) else None
        if kind == "constant":
            fits = argument.type == constants[nodes[i].constant.operation]
        elif kind == "variable" and argument.type == allowed.RESOURCE:
            (handle,), variable = argument.handle_data, nodes[i].variable
            fits = handle.dtype == variable.dtype and handle.shape == variable.shape
        else:
            fits = False
        if not fits:
            raise NotAllowed(f"object {i}, which does not fit, bound to {place}")


def _check_value(value: Any, place: str) -> None:
    kind = value.WhichOneof("kind")
    if kind not in VALUES:
        raise NotAllowed(f"a value of kind {kind!r} in {place}")
    if kind == "tensor_spec_value":
        spec = value.tensor_spec_value
        if spec.dtype not in allowed.NUMBERS:
            raise NotAllowed(f"the data type {name_type(spec.dtype)} in {place}")
    elif kind in ("list_value", "tuple_value"):
        for item in getattr(value, kind).values:
            _check_value(item, place)
    elif kind == "dict_value":
        for item in value.dict_value.fields.values():
            _check_value(item, place)
    elif kind == "named_tuple_value":
        if value.named_tuple_value.name != "FullArgSpec":
            raise NotAllowed(f"a type {quote(value.named_tuple_value.name)} in {place}")
        for pair in value.named_tuple_value.values:
            _check_value(pair.value, place)
