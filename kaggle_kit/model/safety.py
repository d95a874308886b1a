"""Refuse networks from untrusted sources that could do more than compute.

A TensorFlow graph is a program: some operations write files, and parts of a SavedModel run
as soon as it is loaded. These checks parse the files before TensorFlow loads them.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef
from tensorflow.python.framework import op_def_registry
from tensorflow.python.saved_model.loader_impl import parse_saved_model

from kaggle_kit.errors import ArtefactError

FILES = {"saved_model.pb", "fingerprint.pb", "variables", "assets"}
# The kinds of objects in a ``tf.Module``. Resources and assets would run code on loading.
KINDS = {"user_object", "function", "bare_concrete_function", "variable"}
# Stateful operations that every network needs.
NEEDED = {"ReadVariableOp", "StatefulPartitionedCall"}
# Operations that read or write files although TensorFlow does not mark them as stateful.
FILE_OPERATIONS = {"ReadFile", "MatchingFiles", "ImmutableConst"}
FILE_OPERATION_WORDS = ("Debug", "Dataset", "Snapshot")


def check_saved_model(folder: Path, names: Iterable[str]) -> None:
    """Refuse a SavedModel that could have side effects.

    Args:
        folder: of the SavedModel.
        names: of the functions that will be called.

    Raises:
        OSError, ValueError: it is missing or malformed.
        ArtefactError: loading it, or one of the functions, could have a side effect.
    """
    unknown = sorted({path.name for path in folder.iterdir()} - FILES)
    if unknown:
        raise _refusal(folder, f"the file {unknown[0]!r}")
    try:
        (graph,) = parse_saved_model(str(folder)).meta_graphs
        root, *_ = graph.object_graph_def.nodes
    except ValueError as error:  # no graph, or several
        raise ValueError(f"no SavedModel with one graph ({error})") from None
    for node in graph.object_graph_def.nodes:
        kind = node.WhichOneof("kind")
        if kind not in KINDS:
            raise _refusal(folder, f"an object of kind {kind!r}")
    called = [
        function
        for child in root.children
        if child.local_name in set(names)
        for function in _function_names(graph, child.node_id)
    ]
    for name, operation in _operations(graph, called):
        if _has_effect(operation):
            raise _refusal(folder, f"the operation {operation!r} in {name!r}")


def _function_names(graph: MetaGraphDef, node_id: int) -> list[str]:
    nodes = graph.object_graph_def.nodes
    if not 0 <= node_id < len(nodes):
        raise ValueError(f"a child {node_id} among {len(nodes)} objects")
    node = nodes[node_id]
    if node.WhichOneof("kind") == "function":
        return list(node.function.concrete_functions)
    return [node.bare_concrete_function.concrete_function_name]


def _operations(graph: MetaGraphDef, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield (function, operation) for functions and all functions that they call."""
    functions = {f.signature.name: f for f in graph.graph_def.library.function}
    queue, seen = list(names), set(names)
    while queue:
        name = queue.pop()
        if name not in functions:
            raise ValueError(f"no function {name[:80]!r}")
        for node in functions[name].node_def:
            callees = {node.op, *_callees(node)} & functions.keys()
            queue += callees - seen
            seen |= callees
            if node.op not in functions:
                yield name, node.op


def _callees(node: NodeDef) -> Iterator[str]:
    """The names of the functions in a node's attributes."""
    for value in node.attr.values():
        yield value.func.name
        for function in value.list.func:
            yield function.name


def _has_effect(operation: str) -> bool:
    definition = op_def_registry.get(operation)
    if operation in NEEDED:
        return False
    if operation in FILE_OPERATIONS:
        return True
    if any(word in operation for word in FILE_OPERATION_WORDS):
        return True
    return definition is None or definition.is_stateful


def _refusal(path: Path, reason: str) -> ArtefactError:
    return ArtefactError(
        f"{path}: expected a network without side effects, got {reason}; do not use this "
        f"bundle"
    )
