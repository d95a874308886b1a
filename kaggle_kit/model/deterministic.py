"""A SavedModel whose bytes depend on the network alone."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from tensorflow.core.framework import node_def_pb2
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

NUMBERED = re.compile(r"(.+_)(\d+)")  # a function, and how many things were made before
GIVEN_NAME = "_user_specified_name"  # of an argument; of a captured weight, a number


def stabilise(folder: Path) -> None:
    """Take out of a SavedModel what differs each time the same network is saved.

    TensorFlow numbers functions and captured weights by all that a process has made
    before; here functions are numbered among themselves. Its fingerprint is random and is
    deleted, which loading does not mind, and so is the folder for assets if it is empty.
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


def renumbered(names: Iterable[str]) -> dict[str, str]:
    """New names by old ones: numbers begin at 0 for each name, in the same order.

    >>> renumbered(["save_812", "serve_71", "serve_9"])
    {'save_812': 'save_0', 'serve_9': 'serve_0', 'serve_71': 'serve_1'}
    """
    found = [match for name in names if (match := NUMBERED.fullmatch(name))]
    new: dict[str, str] = {}
    counts: dict[str, int] = {}
    for match in sorted(found, key=lambda match: (match[1], int(match[2]))):
        number = counts.get(match[1], 0)
        counts[match[1]] = number + 1
        new[match[0]] = f"{match[1]}{number}"
    return new


def _renumber(graph: meta_graph_pb2.MetaGraphDef) -> None:
    library = graph.graph_def.library
    new = renumbered(function.signature.name for function in library.function)
    _rename_calls(graph.graph_def.node, new)
    for function in library.function:
        function.signature.name = new.get(
            function.signature.name, function.signature.name
        )
        _rename_calls(function.node_def, new)
        for argument in function.arg_attr.values():
            given = argument.attr.get(GIVEN_NAME)
            if given is not None and given.s.isdigit():
                del argument.attr[GIVEN_NAME]
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
    captures = {
        new.get(name, name): type(found).FromString(found.SerializeToString())
        for name, found in objects.concrete_functions.items()
    }
    objects.concrete_functions.clear()
    for name, found in captures.items():
        objects.concrete_functions[name].CopyFrom(found)


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
