"""Refuse SavedModels from untrusted sources that could do more than compute.

A SavedModel is a program, and parts of it run as soon as it is loaded. So TensorFlow loads
none that holds anything but what the networks of this kit hold: ``allowed`` is the list.
What is refused, and why:

- an operation that is not listed, in any function or node, called or not: shapes are found
  by running constant parts, and the optimiser swaps functions by their attributes, such as
  ``api_implements``. Saving and restoring stand in functions that only the saver names,
  and the loader never calls those;
- an object that is no weight, constant, function or plain holder; ``saveable_objects``,
  ``registered_name`` and the names of children, by which the loader runs code;
- gradients, assets, initialisers, collections and a second graph; two functions of one
  name, of which one would be looked at and the other be run;
- what makes much of little: constants and weights larger than what is written down of
  them, calls of calls, indices of lists;
- a weight that the index of the weights describes otherwise than the objects do.

How much a network computes is not bounded here: a product of two constants may still need
more memory than there is.
"""

from collections.abc import Collection
from pathlib import Path

from tensorflow.core.protobuf.fingerprint_pb2 import FingerprintDef
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from kaggle_kit.errors import ArtefactError
from kaggle_kit.model.allowed import NotAllowed, parse, quote, require_fields
from kaggle_kit.model.saved_model_functions import Functions
from kaggle_kit.model.saved_model_objects import check_objects
from kaggle_kit.model.saved_variables import check_variables
from kaggle_kit.storage.regular_files import read_regular

GRAPH, FINGERPRINT, VARIABLES = "saved_model.pb", "fingerprint.pb", "variables"
EMPTY = "assets"  # a folder that TensorFlow makes even if there are no assets
MAX_GRAPH = 2**25  # bytes: 32 MiB; that of ResNet-50 with two views and a third is 2 MB
MAX_FINGERPRINT = 4096  # bytes
# What TensorFlow writes for an operation to be run on loading, which does nothing.
INIT, MAIN = "__saved_model_init_op", "saved_model_main_op"


def check_saved_model(folder: Path, names: Collection[str]) -> None:
    """Refuse a SavedModel with anything that no network of this kit contains.

    Args:
        folder: of the SavedModel.
        names: of the functions that will be called; those that it has must be functions.

    Raises:
        OSError, ValueError: it is missing or malformed.
        ArtefactError: it contains something else; nothing of it has been loaded.
    """
    try:
        _check_files(folder)
        graph = _parse_graph(read_regular(folder / GRAPH, MAX_GRAPH))
        functions = Functions(graph)
        objects = graph.object_graph_def
        check_objects(objects, functions)
        for child in objects.nodes[0].children:
            kind = objects.nodes[child.node_id].WhichOneof("kind")
            if child.local_name in names and kind != "function":
                raise NotAllowed(f"an object of kind {kind!r} as {child.local_name!r}")
        _check_frame(graph)
        check_variables(folder / VARIABLES, list(objects.nodes))
    except NotAllowed as error:
        raise ArtefactError(
            f"{folder}: expected only what a network of this kit contains, got {error}; "
            f"do not use this bundle, or make it again if it is yours"
        ) from None


def _check_files(folder: Path) -> None:
    """Refuse files that the loader might read beside those that are checked."""
    known = {GRAPH, FINGERPRINT, VARIABLES, EMPTY}
    unknown = {path.name for path in folder.iterdir()} - known
    if unknown:
        raise NotAllowed(f"the file {quote(min(unknown))}")
    if (folder / EMPTY).exists() and any((folder / EMPTY).iterdir()):
        raise NotAllowed(f"files in {EMPTY!r}")
    if (folder / FINGERPRINT).exists():
        content = read_regular(folder / FINGERPRINT, MAX_FINGERPRINT)
        parse(FingerprintDef, content, FINGERPRINT)


def _parse_graph(content: bytes) -> MetaGraphDef:
    saved = parse(SavedModel, content, GRAPH)
    if not saved.meta_graphs:
        raise ValueError("no SavedModel with a graph")
    if len(saved.meta_graphs) > 1:
        raise NotAllowed(f"{len(saved.meta_graphs)} graphs")
    return saved.meta_graphs[0]


def _check_frame(graph: MetaGraphDef) -> None:
    """Check what stands beside the functions and objects of a graph."""
    fields = {"meta_info_def", "graph_def", "saver_def", "signature_def"}
    fields |= {"object_graph_def", "collection_def"}
    require_fields(graph, fields, GRAPH)
    fields = {"stripped_op_list", "tags", "tensorflow_version", "meta_graph_version"}
    fields |= {"tensorflow_git_version", "stripped_default_attrs"}
    require_fields(graph.meta_info_def, fields, "'meta_info_def'")
    nothing = {
        node.name
        for node in graph.graph_def.node
        if node.op == "NoOp" and not node.input
    }
    for name, collection in graph.collection_def.items():
        if name != MAIN or not set(collection.node_list.value) <= nothing:
            raise NotAllowed(f"the collection {quote(name)}")
    for name, signature in graph.signature_def.items():
        fields = {"inputs", "outputs", "method_name"}
        require_fields(signature, fields, f"the signature {quote(name)}")
        runs = {tensor.name for tensor in signature.outputs.values()}
        if name.startswith("__") and not (name == INIT and runs <= nothing):
            raise NotAllowed(f"the signature {quote(name)}")
