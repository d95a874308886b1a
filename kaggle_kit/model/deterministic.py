"""Make the bytes of a SavedModel reproducible."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from tensorflow.core.framework import node_def_pb2
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

FUNCTION_NAME = re.compile(r"(.+_)(\d+)")  # the number counts objects of the process
ARGUMENT_NAME = "_user_specified_name"  # attribute; a number for a captured weight


def stabilise(folder: Path) -> None:
    """Remove from a SavedModel what differs each time the same network is saved.

    TensorFlow numbers functions and captured weights by a counter of the process; here
    functions are renumbered from 0. The fingerprint is random and is deleted, which does
    not affect loading; an empty folder for assets is deleted too.
    """
    path = folder / "saved_model.pb"
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString(path.read_bytes())
    for graph in saved.meta_graphs:
        _renumber(graph)
    path.write_bytes(saved.SerializeToString(deterministic=True))
    (folder / "fingerprint.pb").unlink(missing_ok=True)
    assets = folder / "assets"
    if assets.is_dir() and not any(assets.iterdir()):
        assets.rmdir()


def renumber(names: Iterable[str]) -> dict[str, str]:
    """Renumber function names from 0 for each prefix, in the same order.

    Returns:
        The new names by the old ones, without names that have no number.

    >>> renumber(["save_812", "serve_71", "serve_9"])
    {'save_812': 'save_0', 'serve_9': 'serve_0', 'serve_71': 'serve_1'}
    """
    matches = [match for name in names if (match := FUNCTION_NAME.fullmatch(name))]
    new: dict[str, str] = {}
    counts: dict[str, int] = {}
    for match in sorted(matches, key=lambda match: (match[1], int(match[2]))):
        number = counts.get(match[1], 0)
        counts[match[1]] = number + 1
        new[match[0]] = f"{match[1]}{number}"
    return new


def _renumber(graph: meta_graph_pb2.MetaGraphDef) -> None:
    library = graph.graph_def.library
    new = renumber(function.signature.name for function in library.function)
    _rename_calls(graph.graph_def.node, new)
    for function in library.function:
        function.signature.name = new.get(
            function.signature.name, function.signature.name
        )
        _rename_calls(function.node_def, new)
        for argument in function.arg_attr.values():
            user_name = argument.attr.get(ARGUMENT_NAME)
            if user_name is not None and user_name.s.isdigit():
                del argument.attr[ARGUMENT_NAME]
    library.function.sort(key=lambda function: function.signature.name)
    objects = graph.object_graph_def
    for node in objects.nodes:
        if node.WhichOneof("kind") == "function":
            names = list(node.function.concrete_functions)
            node.function.concrete_functions[:] = [new.get(n, n) for n in names]
        elif node.WhichOneof("kind") == "bare_concrete_function":
            bare = node.bare_concrete_function
            name = bare.concrete_function_name
            bare.concrete_function_name = new.get(name, name)
    functions = {
        new.get(name, name): type(saved).FromString(saved.SerializeToString())
        for name, saved in objects.concrete_functions.items()
    }
    objects.concrete_functions.clear()
    for name, saved in functions.items():
        objects.concrete_functions[name].CopyFrom(saved)


def _rename_calls(
    nodes: Iterable[node_def_pb2.NodeDef], new: Mapping[str, str]
) -> None:
    for node in nodes:
        node.op = new.get(node.op, node.op)
        for value in node.attr.values():
            if value.HasField("func"):
                value.func.name = new.get(value.func.name, value.func.name)
            for function in value.list.func if value.HasField("list") else ():
                function.name = new.get(function.name, function.name)
