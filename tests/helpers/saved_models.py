"""A SavedModel that is built once and then altered, part by part."""

from pathlib import Path
from typing import NamedTuple

import tensorflow as tf
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c
from tensorflow.core.framework.function_pb2 import FunctionDef
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow.core.protobuf.tensor_bundle_pb2 import BundleEntryProto
from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

from kaggle_kit.model.deterministic import stabilise
from kaggle_kit.model.saved_model_check import GRAPH
from kaggle_kit.model.saved_variables import (
    CHECKSUM,
    FOOTER,
    INDEX,
    MAGIC,
    OBJECTS,
    read_table,
    read_varint,
)

SIDE = 8
TRAILER = 1 + CHECKSUM  # bytes behind a block
SPEC = [tf.TensorSpec((None, SIDE, SIDE, 3), tf.uint8, "images")]


def network(images, kernel, scale):
    """A small network: pixels to unit vectors of 4 numbers."""
    features = tf.nn.conv2d(tf.cast(images, tf.float32), kernel, 2, "SAME")
    pooled = tf.reduce_mean(tf.nn.relu(features), [1, 2]) * scale
    return {"embedding": tf.math.l2_normalize(pooled, -1)}


def module_of(function=network):
    """A module as ``model.export`` makes them: weights in a list, and ``serve``."""
    module = tf.Module()
    kernel = tf.Variable(tf.random.stateless_normal((3, 3, 3, 4), (1, 2)))
    module.weights = [kernel, tf.Variable(tf.ones(4))]
    module.serve = tf.function(
        lambda images: function(images, *module.weights), input_signature=SPEC
    )
    return module


def save_network(folder: Path, function=network, **more) -> Path:
    """Save a module, with further attributes."""
    module = module_of(function)
    for name, value in more.items():
        setattr(module, name, value)
    tf.saved_model.save(module, str(folder), signatures=module.serve)
    stabilise(folder)
    return folder


class Altered(NamedTuple):
    """A SavedModel in memory, to be altered and written.

    Attributes:
        saved: the content of ``saved_model.pb``.
        index: the keys and values of ``variables.index``.
        objects: the description of the objects among the weights.
        source: the folder that it was read from.
    """

    saved: SavedModel
    index: dict[bytes, bytes]
    objects: TrackableObjectGraph
    source: Path

    @property
    def graph(self) -> MetaGraphDef:
        return self.saved.meta_graphs[0]

    @property
    def nodes(self):
        return self.graph.object_graph_def.nodes

    def function(self, word: str) -> FunctionDef:
        """The first function with a word in its name."""
        library = self.graph.graph_def.library
        return next(f for f in library.function if word in f.signature.name)

    @property
    def serve(self) -> FunctionDef:
        """The function of the network."""
        return next(
            f
            for f in self.graph.graph_def.library.function
            if any(node.op == "Conv2D" for node in f.node_def)
        )

    def object(self, kind: str):
        """The first object of a kind."""
        return next(node for node in self.nodes if node.WhichOneof("kind") == kind)

    def entry(self) -> tuple[bytes, BundleEntryProto]:
        """The first weight in the index."""
        key = next(key for key in self.index if b"VARIABLE_VALUE" in key)
        return key, BundleEntryProto.FromString(self.index[key])

    def write(self, folder: Path) -> Path:
        """Write it; the weights are copied, and the objects written behind them."""
        (folder / "variables").mkdir(parents=True)
        (folder / GRAPH).write_bytes(self.saved.SerializeToString())
        (data,) = self.source.glob("variables/*data*")
        content, index = data.read_bytes(), dict(self.index)
        if OBJECTS.encode() in index:
            text = self.objects.SerializeToString()
            length = len(text).to_bytes(4, "little")
            length_sum = masked_crc32c(length).to_bytes(CHECKSUM, "little")
            entry = BundleEntryProto.FromString(index[OBJECTS.encode()])
            entry.offset = len(content)
            content += write_varint(len(text)) + length_sum + text
            entry.size = len(content) - entry.offset
            entry.crc32c = masked_crc32c(length + length_sum + text)
            index[OBJECTS.encode()] = entry.SerializeToString()
        (folder / "variables" / data.name).write_bytes(content)
        (folder / "variables" / INDEX).write_bytes(write_table(index))
        return folder


def read_altered(folder: Path) -> Altered:
    """Read a SavedModel of one data file."""
    saved = SavedModel.FromString((folder / GRAPH).read_bytes())
    index = dict(read_table((folder / "variables" / INDEX).read_bytes()))
    entry = BundleEntryProto.FromString(index[OBJECTS.encode()])
    (data,) = folder.glob("variables/*data*")
    text = data.read_bytes()[entry.offset : entry.offset + entry.size]
    length, start = read_varint(text, 0)
    objects = TrackableObjectGraph.FromString(text[start + CHECKSUM :])
    assert start + CHECKSUM + length == entry.size
    return Altered(saved, index, objects, folder)


def write_table(index: dict[bytes, bytes], restart: bytes | None = None) -> bytes:
    """A table of LevelDB with one block.

    Args:
        restart: content of the block where its second restart is; None: there is none.
    """
    block = _write_block(list(index.items()), restart)
    handle = write_varint(0) + write_varint(len(block) - TRAILER)
    empty = _write_block([])
    of_empty = write_varint(len(block)) + write_varint(len(empty) - TRAILER)
    blocks = _write_block([(b"\xff", handle)])
    start = len(block) + len(empty)
    of_blocks = write_varint(start) + write_varint(len(blocks) - TRAILER)
    footer = (of_empty + of_blocks).ljust(FOOTER - len(MAGIC), b"\0") + MAGIC
    return block + empty + blocks + footer


def write_varint(value: int) -> bytes:
    """A number, seven bits to a byte."""
    more = bytearray()
    while value > 127:
        more.append(value & 127 | 128)
        value >>= 7
    return bytes([*more, value])


def _write_block(
    pairs: list[tuple[bytes, bytes]], restart: bytes | None = None
) -> bytes:
    """A block in which no key shares a part with another, and its checksum."""
    block = b""
    for key, value in pairs:
        sizes = (0, len(key), len(value))
        block += b"".join(map(write_varint, sizes)) + key + value
    restarts = [0] if restart is None else [0, block.index(restart)]
    for number in (*restarts, len(restarts)):
        block += number.to_bytes(4, "little")
    block += b"\0"  # no compression
    return block + masked_crc32c(block).to_bytes(CHECKSUM, "little")
