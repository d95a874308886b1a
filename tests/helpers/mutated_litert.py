"""LiteRT files changed in their bytes or in their structure, by a seed."""

import random

import flatbuffers
import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

EXTREMES = [-(2**31), -128, -2, -1, 0, 1, 2, 3, 5, 7, 64, 127, 1000, 2**16, 2**31 - 1]
FACTORS = [0.0, -1.0, 1e-30, 1e-6, 0.5, 3.0, 1e6, 1e30, float("inf"), float("nan")]
TWICE = ["tensor", "options", "quantization", "numbers"]
KINDS = [
    *TWICE,
    *TWICE,
    "inputs",
    "outputs",
    "code",
    "order",
    "buffer",
    "signature",
    "graph",
]
N_BYTES = [1, 1, 2, 4, 30]


def mutate(content: bytes, rng: random.Random) -> bytes:
    """A file that differs in some bytes, in its length, or in some entries of its tables."""
    kind = rng.random()
    if kind < 0.05:
        return content[: rng.randrange(len(content))]
    if kind < 0.45:
        return mutate_bytes(content, rng)
    return mutate_structure(content, rng)


def mutate_bytes(content: bytes, rng: random.Random) -> bytes:
    """Change bytes; most of them outside of the weights, which no check can tell wrong."""
    changed = bytearray(content)
    structure = _structure(content)
    for _ in range(rng.choice(N_BYTES)):
        place = rng.choice(structure if rng.random() < 0.9 else [(0, len(content))])
        at = rng.randrange(*place)
        changed[at] = rng.choice(
            [rng.randrange(256), changed[at] ^ 1 << rng.randrange(8)]
        )
    return bytes(changed)


def mutate_structure(content: bytes, rng: random.Random) -> bytes:
    """Change entries of tables, and write the file anew, so that all offsets are right."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        _change_one(model, rng)
    builder = flatbuffers.Builder(len(content) + 4096)
    try:
        builder.Finish(model.Pack(builder), b"TFL3")
    except (TypeError, ValueError, OverflowError, AttributeError, IndexError):
        return mutate_bytes(content, rng)  # no file has such an entry
    return bytes(builder.Output())


def _structure(content: bytes) -> list[tuple[int, int]]:
    """The stretches between the contents of the buffers."""
    model = schema.Model.GetRootAs(content)
    data = []
    for i in range(model.BuffersLength()):
        buffer = model.Buffers(i)
        if buffer.DataLength() > 64:
            start = buffer._tab.Vector(buffer._tab.Offset(4))
            data.append((start, start + buffer.DataLength()))
    stretches, begin = [], 0
    for start, end in sorted(data):
        stretches.append((begin, start))
        begin = end
    stretches.append((begin, len(content)))
    return [(start, end) for start, end in stretches if end > start]


def _change_one(model, rng: random.Random) -> None:
    graph = model.subgraphs[0]
    kind = rng.choice(KINDS)
    if kind == "tensor":
        _change_object(rng.choice(graph.tensors), rng)
    elif kind == "options":
        _change_object(rng.choice(graph.operators).builtinOptions, rng)
    elif kind in ("inputs", "outputs"):
        operator = rng.choice(graph.operators)
        setattr(
            operator,
            kind,
            _change_list(getattr(operator, kind), rng, len(graph.tensors)),
        )
    elif kind == "code":
        target = rng.choice(
            [rng.choice(model.operatorCodes), rng.choice(graph.operators)]
        )
        _change_object(target, rng)
    elif kind == "order":
        i, j = rng.randrange(len(graph.operators)), rng.randrange(len(graph.operators))
        if rng.random() < 0.3:
            del graph.operators[i]
        elif rng.random() < 0.5:
            graph.operators.insert(j, graph.operators[i])
        else:
            a, b = graph.operators[i], graph.operators[j]
            graph.operators[i], graph.operators[j] = b, a
    elif kind == "buffer":
        buffer = rng.choice(model.buffers)
        if buffer.data is not None:
            size = len(buffer.data)
            n = rng.choice([0, 1, 4, size // 2, max(0, size - 4), size + 4, 2 * size])
            buffer.data = np.resize(np.asarray(buffer.data, np.uint8), n)
    elif kind == "numbers":
        _change_numbers(model, rng)
    elif kind == "quantization":
        tensors = [t for t in graph.tensors if t.quantization is not None]
        if tensors:
            _change_object(rng.choice(tensors).quantization, rng)
    elif kind == "signature":
        signature = rng.choice(model.signatureDefs)
        _change_object(
            rng.choice([signature, *signature.inputs, *signature.outputs]), rng
        )
    else:
        _change_object(rng.choice([graph, model]), rng)


def _change_numbers(model, rng: random.Random) -> None:
    """Change a small constant of integers: axes, shapes, limits of slices, biases."""
    tensors = [
        t for t in model.subgraphs[0].tensors if t.type == schema.TensorType.INT32
    ]
    for tensor in rng.sample(tensors, len(tensors)):
        data = model.buffers[tensor.buffer].data
        if data is not None and len(data) >= 4:
            numbers = np.asarray(data, np.uint8).view(np.int32).copy()
            numbers[rng.randrange(len(numbers))] = _number(rng, 4)
            model.buffers[tensor.buffer].data = numbers.view(np.uint8)
            return


def _change_object(target, rng: random.Random) -> None:
    """Change one entry of a table that is a number, a text, or a list of numbers."""
    if target is None:
        return
    names = [
        name
        for name, value in vars(target).items()
        if isinstance(value, int | float | bytes | np.ndarray | list | np.generic)
        and not (isinstance(value, list) and value and hasattr(value[0], "Pack"))
    ]
    if not names:
        return
    name = rng.choice(names)
    value = getattr(target, name)
    if isinstance(value, bytes):
        changed = rng.choice([b"", value[:-1], value + b"x", b"\xff" * 3, b"x" * 5000])
    elif isinstance(value, np.ndarray | list):
        changed = _change_list(value, rng, 8)
    elif isinstance(value, bool):
        changed = not value
    elif isinstance(value, float):
        changed = value * rng.choice(FACTORS)
    else:
        changed = _number(rng, int(value))
    setattr(target, name, changed)


def _change_list(values, rng: random.Random, limit: int):
    """Change an element, remove one, add one, or empty the list."""
    array = np.asarray(values)
    changed = array.tolist()
    kind = rng.random()
    if not changed or kind < 0.1:
        changed.append(_number(rng, limit))
    elif kind < 0.2:
        del changed[rng.randrange(len(changed))]
    elif kind < 0.25:
        changed = []
    elif kind < 0.35:
        rng.shuffle(changed)
    else:
        i = rng.randrange(len(changed))
        if array.dtype.kind == "f":
            changed[i] *= rng.choice(FACTORS)
        else:
            changed[i] = rng.choice(
                [_number(rng, int(changed[i])), rng.randrange(limit)]
            )
    if not changed:
        return np.array([], array.dtype)
    kind = array.dtype if array.dtype.kind == "f" or array.size else np.int32
    with np.errstate(over="ignore"):
        return np.array(changed).astype(kind)


def _number(rng: random.Random, near: int) -> int:
    return rng.choice([near - 1, near + 1, near * 2, near // 2, rng.choice(EXTREMES)])
