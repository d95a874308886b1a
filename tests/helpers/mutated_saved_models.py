"""SavedModels changed at random, in their structure and in their bytes."""

import random
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from tensorflow.core.protobuf.tensor_bundle_pb2 import BundleEntryProto

from tests.helpers.saved_models import Altered, read_altered

NUMBERS = (-1, 0, 1, 2, 3, 7, 20, 21, 31, 2**20, 2**31 - 1, 2**40, 2**62)
FLOATS = (0.0, -1.0, 1e38, float("inf"), float("nan"))
TEXT = """
WriteFile ReadFile SaveV2 RestoreV2 HashTableV2 PyFunc While Relu Add Identity Const NoOp Cast
ReadVariableOp StatefulPartitionedCall PartitionedCall Conv2D MatMul Reshape Pad Transpose
_restore_from_tensors _serialize_to_tensors __call__ serve one small weights 0 1 999999999
api_implements _class f T dtype value shape _output_shapes padding SAME VALID NHWC NCHW
trackable_list_wrapper _generic_user_object signature_map optimizer tf.StaticHashTable
VARIABLE_VALUE /device:CPU:0 /device:GPU:0 images embedding canary
"""
NAMES = TEXT.split()
INTEGERS = {
    *(FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_INT64),
    *(FieldDescriptor.TYPE_UINT32, FieldDescriptor.TYPE_UINT64),
}


def mutate(source: Path, seed: str, folder: Path) -> Path:
    """Write a copy of a SavedModel with one to four random changes.

    Args:
        seed: the same one gives the same bytes.
    """
    rng = random.Random(seed)
    altered = read_altered(source)
    in_bytes = rng.random() < 0.3
    if not in_bytes:
        for _ in range(rng.choice([1, 1, 2, 4])):
            _change_part(altered, rng)
    altered.write(folder)
    if in_bytes:
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        _change_bytes(rng.choice(files), rng)
    return folder


def _change_part(altered: Altered, rng: random.Random) -> None:
    """Change something in the graph, a function, an object or the index."""
    library = altered.graph.graph_def.library.function
    largest = sorted(library, key=lambda function: len(function.node_def))[-3:]
    change = rng.randrange(8)
    if change == 0:
        _change_list(library, rng)
    elif change == 1:
        _change_list(altered.nodes, rng)
    elif change == 2 and altered.nodes:
        _change_field(rng.choice(altered.nodes), rng)
        _change_field(rng.choice(altered.objects.nodes), rng)
    elif change == 3:
        _change_entry(altered, rng)
    elif change == 4:
        _change_field(altered.graph, rng)
    elif largest:
        nodes = rng.choice(largest).node_def
        if change == 5 and nodes:
            rng.choice(nodes).op = rng.choice(NAMES)
        elif change == 6 and nodes:
            _change_field(rng.choice(nodes), rng)
        else:
            _change_list(nodes, rng)


def _change_entry(altered: Altered, rng: random.Random) -> None:
    """Change where the index says that a weight is, or what it is."""
    key = rng.choice([key for key in sorted(altered.index) if key])
    entry = BundleEntryProto.FromString(altered.index[key])
    _change_field(entry, rng)
    altered.index[key] = entry.SerializeToString()


def _change_list(items: Any, rng: random.Random) -> None:
    """Add, double, remove, replace or change one of several messages."""
    if not items:
        items.add()
        return
    item, other = rng.choice(items), rng.choice(items)
    change = rng.randrange(5)
    if change == 0:
        items.add().CopyFrom(item)
    elif change == 1:
        items.remove(item)
    elif change == 2:
        item.CopyFrom(type(other).FromString(other.SerializeToString()))
    elif change == 3:
        _change_field(items.add(), rng)
    else:
        _change_field(item, rng)


def _change_field(message: Any, rng: random.Random) -> None:
    """Change a field of a message, or of a message within it."""
    fields = [field for field, _ in message.ListFields()]
    if not fields or rng.random() < 0.1:
        fields = list(message.DESCRIPTOR.fields)
    if not fields:
        return
    field = rng.choice(fields)
    value = getattr(message, field.name)
    is_map = (
        field.message_type is not None and field.message_type.GetOptions().map_entry
    )
    if is_map:
        _change_map(value, field, rng)
    elif hasattr(value, "append") or hasattr(value, "add"):
        if rng.random() < 0.2 and value:
            del value[rng.randrange(len(value))]
        elif field.message_type is not None:
            _change_list(value, rng)
        elif value and rng.random() < 0.7:
            value[rng.randrange(len(value))] = _value(field, rng)
        else:
            value.append(_value(field, rng))
    elif rng.random() < 0.1:
        message.ClearField(field.name)
    elif field.message_type is not None:
        value.SetInParent()
        _change_field(value, rng)
    else:
        setattr(message, field.name, _value(field, rng))


def _change_map(value: Any, field: FieldDescriptor, rng: random.Random) -> None:
    """Change a value of a map, remove it, or copy it to another key."""
    of_key, of_value = field.message_type.fields
    keys = sorted(value)
    if not keys or rng.random() < 0.1:
        keys = [_value(of_key, rng)]
    key = rng.choice(keys)
    if of_value.message_type is None:
        value[key] = _value(of_value, rng)
    elif key in value and rng.random() < 0.1:
        del value[key]
    elif rng.random() < 0.2:
        value[_value(of_key, rng)].CopyFrom(value[key])
    else:
        _change_field(value[key], rng)


def _value(field: FieldDescriptor, rng: random.Random) -> Any:
    """A value for a field that is no message."""
    if field.type in INTEGERS:
        low, high = {
            FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
            FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
            FieldDescriptor.TYPE_UINT32: (0, 2**32 - 1),
            FieldDescriptor.TYPE_UINT64: (0, 2**64 - 1),
        }[field.type]
        return min(high, max(low, rng.choice(NUMBERS)))
    if field.type == FieldDescriptor.TYPE_ENUM:
        return rng.choice(field.enum_type.values).number
    if field.type == FieldDescriptor.TYPE_STRING:
        return rng.choice(NAMES)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return rng.choice(NAMES).encode()
    if field.type == FieldDescriptor.TYPE_BOOL:
        return rng.random() < 0.5
    if field.type in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE):
        return rng.choice(FLOATS)
    return rng.randrange(2**32)  # fixed32


def _change_bytes(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(rng.choice([1, 4, 30])):
        content[rng.randrange(len(content))] = rng.randrange(256)
    cut = rng.choice([None, None, None, rng.randrange(len(content))])
    path.write_bytes(content[:cut])
