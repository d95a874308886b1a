"""Networks from strangers: only those that compute, and touch no file and no program.

A TensorFlow graph is a program: it has operations that write files, and what the folder
of a SavedModel says may run as soon as it is loaded. So it is looked at before.
"""

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.python.framework import op_def_registry
from tensorflow.python.saved_model.loader_impl import parse_saved_model

from kaggle_kit.errors import ArtefactError

FILES = {"saved_model.pb", "fingerprint.pb", "variables", "assets"}
# What ``tf.Module`` is made of. Resources and assets would be initialised when loaded.
KINDS = {"user_object", "function", "bare_concrete_function", "variable"}
# Operations with a state, or an effect, that a network needs all the same.
NEEDED = {"ReadVariableOp", "StatefulPartitionedCall"}
# Operations that TensorFlow takes to have none, though they read or write files.
OUTWARD = {"ReadFile", "MatchingFiles", "ImmutableConst"}
OUTWARD_WORDS = ("Debug", "Dataset", "Snapshot")


def check_saved_model(folder: Path, names: Iterable[str]) -> None:
    """Refuse a SavedModel that could do more than compute.

    Args:
        names: of the functions that are going to be called.

    Raises:
        OSError, ValueError: it is none.
        ArtefactError: loading it, or one of these functions, could have an effect.
    """
    unknown = sorted({path.name for path in folder.iterdir()} - FILES)
    if unknown:
        raise _refused(folder, f"{unknown[0]!r} in its folder")
    try:
        (graph,) = parse_saved_model(str(folder)).meta_graphs
        root, *_ = graph.object_graph_def.nodes
    except ValueError as error:  # no graph, or several
        raise ValueError(f"no SavedModel of one graph ({error})") from None
    for node in graph.object_graph_def.nodes:
        kind = node.WhichOneof("kind")
        if kind not in KINDS:
            raise _refused(folder, f"something of the kind {kind!r}")
    called = [
        function
        for child in root.children
        if child.local_name in set(names)
        for function in _function_names(graph, child.node_id)
    ]
    for name, operation in _operations(graph, called):
        if _has_effect(operation):
            raise _refused(folder, f"the operation {operation!r} in {name!r}")


def check_lite(path: Path) -> None:
    """Refuse a LiteRT file with operations that are not LiteRT's own.

    Others may be TensorFlow's, of any kind.

    Raises:
        OSError, ValueError: it is no LiteRT file.
        ArtefactError: it has such an operation.
    """
    content = path.read_bytes()
    if content[4:8] != b"TFL3":
        raise ValueError("no LiteRT file")
    try:
        model = schema.Model.GetRootAs(content)
        codes = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
        found = [bytes(code.CustomCode() or b"") for code in codes]
    except (struct.error, LookupError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"a damaged LiteRT file ({error!r})") from None
    for name in filter(None, found):
        raise _refused(path, f"the operation {name.decode('latin-1')[:80]!r}")


def _function_names(graph: MetaGraphDef, node_id: int) -> list[str]:
    nodes = graph.object_graph_def.nodes
    if not 0 <= node_id < len(nodes):
        raise ValueError(f"a child {node_id} among {len(nodes)} objects")
    node = nodes[node_id]
    if node.WhichOneof("kind") == "function":
        return list(node.function.concrete_functions)
    return [node.bare_concrete_function.concrete_function_name]


def _operations(graph: MetaGraphDef, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(function, operation) of some functions, and of all that they call."""
    functions = {f.signature.name: f for f in graph.graph_def.library.function}
    waiting, seen = list(names), set(names)
    while waiting:
        name = waiting.pop()
        if name not in functions:
            raise ValueError(f"no function {name[:80]!r}")
        for node in functions[name].node_def:
            others = {node.op, *_called(node)} & functions.keys()
            waiting += others - seen
            seen |= others
            if node.op not in functions:
                yield name, node.op


def _called(node: NodeDef) -> Iterator[str]:
    for value in node.attr.values():
        yield value.func.name
        for function in value.list.func:
            yield function.name


def _has_effect(operation: str) -> bool:
    known = op_def_registry.get(operation)
    if operation in NEEDED:
        return False
    outward = operation in OUTWARD or any(w in operation for w in OUTWARD_WORDS)
    return known is None or known.is_stateful or outward


def _refused(place: Path, what: str) -> ArtefactError:
    return ArtefactError(
        f"{place}: expected a network that computes and no more, got {what}; do not use "
        f"this bundle"
    )
