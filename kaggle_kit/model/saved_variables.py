"""Check the weights of a SavedModel: see ``saved_model_check``.

``variables.index`` is a table of LevelDB: sorted blocks of keys and values, and an index of
the blocks. Its values say where in the data files a tensor begins, how long it is, and of
what shape. TensorFlow believes them; here they have to agree with each other, with the
files, and with the objects, before a byte is allocated.

Source: tensorflow/core/util/tensor_bundle and tensorflow/core/lib/io/table_format.txt.
"""

import math
import struct
from collections.abc import Iterator
from pathlib import Path

from tensorflow.core.protobuf.saved_object_graph_pb2 import SavedObject
from tensorflow.core.protobuf.tensor_bundle_pb2 import (
    BundleEntryProto,
    BundleHeaderProto,
)
from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

from kaggle_kit.model import allowed
from kaggle_kit.model.allowed import NotAllowed, name_type, parse, quote, require_fields
from kaggle_kit.model.saved_model_objects import shape_of
from kaggle_kit.storage.regular_files import open_regular, read_regular

INDEX = "variables.index"
MAX_INDEX = 2**20  # bytes: some 20,000 weights; ResNet-50 has 271, in 16 kB
MAX_KEY = 500  # bytes of the name of a weight
MAX_OBJECTS = 2**24  # bytes of the description of the objects
MAX_WEIGHTS = 2**33  # bytes of all weights: 8 GiB
MAX_SHARDS = 100
OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"  # key of the description of the objects
VALUE = "VARIABLE_VALUE"  # name of the attribute of an object that is its weight
FOOTER = 48  # bytes
MAGIC = bytes.fromhex("57fb808b247547db")
CHECKSUM = 4  # bytes


def check_variables(folder: Path, nodes: list[SavedObject]) -> None:
    """Check that the weights in a folder are exactly those of the variables.

    Args:
        folder: ``variables/`` of a SavedModel.
        nodes: the objects of the SavedModel, checked.

    Raises:
        OSError, ValueError: a file is missing or malformed.
        NotAllowed: there is anything that no network of the kit contains.
    """
    entries = _read_entries(folder)
    graph = entries.pop(OBJECTS, None)
    if graph is None:
        raise ValueError(f"{INDEX} without a description of the objects")
    saved = _parse_objects(_read_string(folder, graph))
    if len(saved.nodes) != len(nodes):
        raise NotAllowed(
            f"{len(saved.nodes)} objects in {INDEX}, and {len(nodes)} elsewhere"
        )
    for i, (own, node) in enumerate(zip(saved.nodes, nodes, strict=True)):
        place = f"object {i} of {INDEX}"
        require_fields(own, {"children", "attributes", "has_checkpoint_values"}, place)
        children = {(child.local_name, child.node_id) for child in node.children}
        if {(child.local_name, child.node_id) for child in own.children} != children:
            raise NotAllowed(f"other children of {place}")
        keys = [a.checkpoint_key for a in own.attributes if a.name == VALUE]
        is_variable = node.WhichOneof("kind") == "variable"
        if len(own.attributes) != len(keys) or len(keys) != is_variable:
            raise NotAllowed(f"other attributes of {place}")
        if is_variable:
            entry = entries.pop(keys[0], None)
            shape = shape_of(node.variable.shape, place)
            if entry is None or entry.dtype != node.variable.dtype:
                raise NotAllowed(f"no weights of its data type for {place}")
            if shape_of(entry.shape, place) != shape:
                raise NotAllowed(f"weights of another shape for {place}")
    if entries:
        raise NotAllowed(f"weights {quote(min(entries))} without a variable")


def _read_entries(folder: Path) -> dict[str, BundleEntryProto]:
    """The entries of the index, which lie within the data files and do not overlap."""
    content = read_regular(folder / INDEX, MAX_INDEX)
    try:
        pairs = list(read_table(content))
        if not pairs or pairs[0][0]:
            raise ValueError("no header")
        header = parse(BundleHeaderProto, pairs[0][1], "header")
        entries = {
            key.decode("utf-8"): parse(BundleEntryProto, value, "entry")
            for key, value in pairs[1:]
        }
    except (ValueError, IndexError) as error:
        raise ValueError(f"a damaged {INDEX} ({error})") from None
    if header.endianness != BundleHeaderProto.LITTLE:
        raise NotAllowed(f"numbers of another byte order in {INDEX}")
    sizes = _data_sizes(folder, header.num_shards)
    spans: list[tuple[int, int, int]] = []
    for key, entry in entries.items():
        _check_entry(key, entry)
        if not 0 <= entry.shard_id < len(sizes):
            raise NotAllowed(f"the data file {entry.shard_id} of {quote(key)}")
        spans.append((entry.shard_id, entry.offset, entry.offset + entry.size))
    spans.sort()
    for (shard, _, end), following in zip(spans, [*spans[1:], (-1, 0, 0)], strict=True):
        last = following[1] if following[0] == shard else sizes[shard]
        if end > last:
            raise NotAllowed(
                f"weights that overlap or end behind their file in {INDEX}"
            )
    if sum(entry.size for entry in entries.values()) > MAX_WEIGHTS:
        raise NotAllowed(f"more than {MAX_WEIGHTS} bytes of weights")
    return entries


def _check_entry(key: str, entry: BundleEntryProto) -> None:
    place = f"the weights {quote(key)}"
    fields = {"dtype", "shape", "shard_id", "offset", "size", "crc32c"}
    require_fields(entry, fields, place)
    n_values = math.prod(shape_of(entry.shape, place))
    if key == OBJECTS:
        if entry.dtype != allowed.STRING or n_values != 1 or len(entry.shape.dim):
            raise NotAllowed(f"no single text as {place}")
    elif entry.dtype not in allowed.NUMBERS:
        raise NotAllowed(f"the data type {name_type(entry.dtype)} of {place}")
    elif entry.size != n_values * allowed.NUMBERS[entry.dtype]:
        raise NotAllowed(f"{entry.size} bytes for {n_values} numbers of {place}")
    if entry.offset < 0 or entry.size < 0:
        raise NotAllowed(f"a negative place of {place}")


def _data_sizes(folder: Path, n_shards: int) -> list[int]:
    """The sizes of the data files; there is no other file beside them."""
    if not 1 <= n_shards <= MAX_SHARDS:
        raise NotAllowed(f"{n_shards} data files in {INDEX}")
    names = [f"variables.data-{i:05}-of-{n_shards:05}" for i in range(n_shards)]
    unknown = {path.name for path in folder.iterdir()} - {INDEX, *names}
    if unknown:
        raise NotAllowed(f"the file {quote(f'variables/{min(unknown)}')}")
    sizes = []
    for name in names:
        with open_regular(folder / name) as file:
            sizes.append(file.seek(0, 2))
    return sizes


def _read_string(folder: Path, entry: BundleEntryProto) -> bytes:
    """The text of an entry: its length, a checksum of the length, and itself."""
    if entry.size > MAX_OBJECTS:
        raise NotAllowed(f"more than {MAX_OBJECTS} bytes of objects")
    name = next(folder.glob(f"variables.data-{entry.shard_id:05}-of-*"))
    with open_regular(name) as file:
        file.seek(entry.offset)
        content = file.read(entry.size)
    try:
        length, start = read_varint(content, 0)
    except (ValueError, IndexError):
        raise ValueError(f"damaged data of {OBJECTS}") from None
    start += CHECKSUM
    if len(content) != start + length:
        raise ValueError(f"damaged data of {OBJECTS}")
    return content[start:]


def _parse_objects(content: bytes) -> TrackableObjectGraph:
    graph: TrackableObjectGraph = parse(TrackableObjectGraph, content, OBJECTS)
    require_fields(graph, {"nodes"}, INDEX)
    return graph


def read_table(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of a table, whose keys rise.

    TensorFlow may begin to read at any restart of a block. All are checked, so that it
    finds no other pairs than these.

    Raises:
        ValueError, IndexError: it is malformed.
    """
    footer = content[-FOOTER:]
    if len(footer) < FOOTER or footer[-len(MAGIC) :] != MAGIC:
        raise ValueError("no table")
    _, position = _handle(footer, 0)  # of an empty block
    (start, size), _ = _handle(footer, position)
    previous: bytes | None = None
    end = 0
    for _, handle in _read_block(content, start, size):
        (start, size), _ = _handle(handle, 0)
        if start < end:
            raise ValueError("blocks out of order")
        end = start + size
        for key, value in _read_block(content, start, size):
            if previous is not None and key <= previous:
                raise ValueError("keys out of order")
            previous = key
            yield key, value


def _read_block(content: bytes, start: int, size: int) -> list[tuple[bytes, bytes]]:
    """The pairs of a block. Each key shares a first part with the one before it."""
    block = content[start : start + size]
    if len(block) != size or size < 4 or content[start + size] != 0:
        raise ValueError("a block that is cut or compressed")
    n_restarts = int.from_bytes(block[-4:], "little")
    end = size - 4 - 4 * n_restarts
    if end < 0:
        raise ValueError("a block without an end")
    pairs: list[tuple[bytes, bytes]] = []
    starts = {0}  # of pairs whose key stands there in full
    key, position = b"", 0
    while position < end:
        first = position
        n_shared, position = read_varint(block, position)
        n_own, position = read_varint(block, position)
        n_value, position = read_varint(block, position)
        n_key = n_shared + n_own
        if n_shared > len(key) or n_key > MAX_KEY or position + n_own + n_value > end:
            raise ValueError("a key or a value that is cut or too long")
        if not n_shared:
            starts.add(first)
        key = key[:n_shared] + block[position : position + n_own]
        position += n_own
        pairs.append((key, block[position : position + n_value]))
        position += n_value
    restarts = struct.unpack(f"<{n_restarts}I", block[end:-4])
    if position != end or not set(restarts) <= starts:
        raise ValueError("a restart within a pair")
    return pairs


def _handle(content: bytes, position: int) -> tuple[tuple[int, int], int]:
    """The start and the size of a block, and the position behind them."""
    start, position = read_varint(content, position)
    size, position = read_varint(content, position)
    return (start, size), position


def read_varint(content: bytes, position: int) -> tuple[int, int]:
    """A number of up to 64 bits, seven to a byte, and the position behind it."""
    value = 0
    for shift in range(0, 64, 7):
        byte = content[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise ValueError("a number that does not end")
