"""Refuse LiteRT files that could crash their interpreter, or do more than compute.

The runtime trusts its files: an index that is out of range, or a filter that does not fit its
images, makes it read or write outside of its memory. So every file is verified before: its
structure (``flatbuffer``), its tables (``litert_schema``), every tensor, and every operation
with its shapes (``litert_rules``). What no check can know is left to the process in which the
network runs: see ``isolated``.
"""

import math
import mmap
from pathlib import Path

import numpy as np

from kaggle_kit.backends.flatbuffer import MAX_BYTES, FlatBuffer
from kaggle_kit.backends.litert_layers import Array, Shape, refuse
from kaggle_kit.backends.litert_rules import MAY_LACK_OPTIONS, RULES, Rule
from kaggle_kit.backends.litert_schema import (
    IDENTIFIER,
    VERSION,
    Model,
    NamedTensor,
    Operator,
    OperatorCode,
    Tensor,
    TensorType,
)
from kaggle_kit.errors import ArtefactError
from kaggle_kit.storage.regular_files import open_regular

SIGNATURE = "serving_default"
IMAGES, EMBEDDING, SCORES = "images", "embedding", "log_probability"
METADATA = {"min_runtime_version", "CONVERSION_METADATA"}
MAX_RANK = 6
MAX_SCALE, MIN_SCALE = 1e10, 1e-20  # of 8-bit integers
MAX_OLD_CODE = 127  # of an operation, in a field of one byte
INT8 = range(-128, 128)


def check_lite(path: Path) -> None:
    """Refuse a LiteRT file that is not a network from images to embeddings.

    Raises:
        OSError: the file is missing, or not a regular file.
        ValueError: it is damaged, or of another kind.
        ArtefactError: it has an operation that is not allowed.
    """
    with open_regular(path) as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    model = FlatBuffer(content).read(Model, IDENTIFIER)
    if model.version != VERSION or len(model.subgraphs) != 1:
        refuse(f"version {model.version} with {len(model.subgraphs)} subgraphs")
    if not model.buffers or len(model.buffers[0].data):
        refuse("no empty first buffer")
    for entry in model.metadata:
        if entry.name not in METADATA or entry.buffer >= len(model.buffers):
            refuse(f"the metadata {entry.name[:80]!r}")
    rules = [_find_rule(path, code) for code in model.codes]
    arrays = _Graph(model).run(rules)
    _check_signature(model, arrays)


class _Graph:
    """The arrays of a network, in the order in which its operations compute them."""

    def __init__(self, model: Model):
        (self.graph,) = model.subgraphs
        self.arrays: dict[int, Array] = {}  # what is known so far, by its index
        for index, tensor in enumerate(self.graph.tensors):
            try:
                array = _read_tensor(tensor, model)
            except ValueError as error:
                refuse(f"the tensor {tensor.name[:80]!r} with {error}")
            if array.is_constant or index in self.graph.inputs:
                self.arrays[index] = array

    def run(self, rules: list[Rule]) -> dict[int, Array]:
        """Check every operation; return all arrays by the index of their tensor."""
        for operator in self.graph.operators:
            if operator.code >= len(rules):
                refuse(f"an operation {operator.code} of {len(rules)}")
            rule = rules[operator.code]
            try:
                self._compute(operator, rule)
            except ValueError as error:
                refuse(f"the operation {rule.name} with {error}")
        return self.arrays

    def _compute(self, operator: Operator, rule: Rule) -> None:
        parameters = _read_options(operator, rule)
        inputs = [None if i == -1 else self._input(i) for i in operator.inputs]
        output = rule.output(inputs, parameters)
        if len(operator.outputs) != 1:
            refuse(f"{len(operator.outputs)} outputs")
        (index,) = operator.outputs
        if not 0 <= index < len(self.graph.tensors) or index in self.arrays:
            refuse(f"an output {index} that is no tensor, or is there already")
        tensor = self.graph.tensors[index]
        is_countable = math.prod(output.shape) * output.type.n_bytes <= MAX_BYTES
        is_same = tensor.type == output.type and _fits(tensor, output.shape)
        if not is_same or not is_countable:
            refuse(
                f"an output {tensor.shape} of type {tensor.type} in place of "
                f"{output.shape} of type {output.type.value}"
            )
        self.arrays[index] = Array(
            output.shape,
            output.type,
            numbers=output.numbers,
            quantization=tensor.quantization,
        )

    def _input(self, index: int) -> Array:
        if index not in self.arrays:
            refuse(f"an input {index} that no operation before it computes")
        return self.arrays[index]


def _fits(tensor: Tensor, shape: Shape) -> bool:
    """Whether a tensor has a shape; 1 stands for a side that the runtime computes."""
    sides = [
        real if side == 1 and open_side == -1 else side
        for side, open_side, real in zip(
            tensor.shape, tensor.signature or tensor.shape, shape, strict=False
        )
    ]
    return len(tensor.shape) == len(shape) and tuple(sides) == shape


def _find_rule(path: Path, code: OperatorCode) -> Rule:
    """The rule of an operation; the larger one of its two codes counts."""
    number = max(code.code, code.old_code)
    if code.old_code != min(number, MAX_OLD_CODE):
        refuse(f"an operation with the codes {code.code} and {code.old_code}")
    rule = RULES.get(number)
    if rule is None or code.custom or not 1 <= code.version <= rule.max_version:
        name = code.custom[:80] or (rule.name if rule else str(number))
        raise ArtefactError(
            f"{path}: expected a network of operations that the kit knows, got {name!r} of "
            f"version {code.version}; do not use this bundle"
        )
    return rule


def _read_tensor(tensor: Tensor, model: Model) -> Array:
    """Check a tensor by itself."""
    try:
        kind = TensorType(tensor.type)
    except ValueError:
        refuse(f"the type {tensor.type}")
    shape = tensor.shape
    size = math.prod(shape) * kind.n_bytes
    if len(shape) > MAX_RANK or min(shape, default=1) < 1 or size > MAX_BYTES:
        refuse(f"the shape {shape}")
    pairs = zip(shape, tensor.signature, strict=False)
    if len(tensor.signature) not in (0, len(shape)) or any(
        side not in (length, -1) for length, side in pairs
    ):
        refuse(f"the signature {tensor.signature} of the shape {shape}")
    if tensor.buffer >= len(model.buffers):
        refuse(f"the buffer {tensor.buffer} of {len(model.buffers)}")
    data = model.buffers[tensor.buffer].data
    if len(data) not in (0, size):
        refuse(f"{len(data)} bytes for the shape {shape}")
    is_constant = len(data) > 0
    _check_quantization(tensor, kind, is_constant)
    numbers = None
    if is_constant and kind == TensorType.INT32:
        numbers = np.frombuffer(data, "<i4").reshape(shape)
    return Array(shape, kind, is_constant, numbers, tensor.quantization)


def _check_quantization(tensor: Tensor, kind: TensorType, is_constant: bool) -> None:
    """Check what the integers of a tensor mean: only 8-bit integers and biases mean more."""
    scale, zero_point = tensor.quantization.scale, tensor.quantization.zero_point
    is_quantized = kind == TensorType.INT8 or (
        kind == TensorType.INT32 and is_constant and len(tensor.shape) == 1
    )
    if not is_quantized and (scale or zero_point):
        refuse(f"{len(scale)} scales for numbers of type {kind.name}")
    if kind == TensorType.INT8 and not scale:
        refuse("no scale")
    if len(scale) != len(zero_point):
        refuse(f"{len(scale)} scales and {len(zero_point)} zero points")
    if not all(MIN_SCALE < value < MAX_SCALE for value in scale):
        refuse("a scale that is zero, negative or too large")
    if not all(
        value in (INT8 if kind == TensorType.INT8 else (0,)) for value in zero_point
    ):
        refuse("a zero point that is out of range")
    if len(scale) > 1:
        dimension = tensor.quantization.dimension
        if not is_constant or not 0 <= dimension < len(tensor.shape):
            refuse(f"{len(scale)} scales along the dimension {dimension}")
        if len(scale) != tensor.shape[dimension]:
            refuse(f"{len(scale)} scales for the shape {tensor.shape}")


def _read_options(operator: Operator, rule: Rule) -> object:
    """The parameters of an operation, of the class that its rule names."""
    kind = rule.options
    if operator.custom_options:
        refuse("parameters of a custom operation")
    if operator.options is None:
        if operator.options_type or not (kind is None or kind in MAY_LACK_OPTIONS):
            refuse("no parameters")
        return None
    if kind is None or type(operator.options) is not kind:
        refuse(f"parameters of the kind {operator.options_type}")
    return operator.options


def _check_signature(model: Model, arrays: dict[int, Array]) -> None:
    """Check names, types and shapes of the only input and of the outputs."""
    (graph,) = model.subgraphs
    if len(model.signatures) != 1:
        refuse(f"{len(model.signatures)} signatures")
    (signature,) = model.signatures
    if signature.key != SIGNATURE or signature.subgraph:
        refuse(f"the signature {signature.key[:80]!r} of subgraph {signature.subgraph}")
    _require_same(signature.inputs, graph.inputs)
    _require_same(signature.outputs, graph.outputs)
    inputs = {entry.name: arrays.get(entry.tensor) for entry in signature.inputs}
    outputs = {entry.name: arrays.get(entry.tensor) for entry in signature.outputs}
    if inputs.keys() != {IMAGES} or outputs.keys() not in (
        {EMBEDDING},
        {EMBEDDING, SCORES},
    ):
        refuse(f"the signature {[*inputs, *outputs]}")
    images = inputs[IMAGES]
    if (
        images is None
        or not _is_square(images.shape)
        or images.type != TensorType.UINT8
    ):
        refuse("other images than (1, side, side, 3) in 8-bit integers")
    for name, array in outputs.items():
        if array is None or array.type != TensorType.FLOAT32 or array.is_constant:
            refuse(f"an output {name} that is not computed, or not in floats")
        if array.rank != 2 or array.shape[0] != 1:
            refuse(f"an output {name} of the shape {array.shape}")


def _require_same(named: tuple[NamedTensor, ...], indices: tuple[int, ...]) -> None:
    """Check that a signature names the inputs or outputs of the network, each once."""
    if sorted(entry.tensor for entry in named) != sorted(set(indices)):
        refuse(f"a signature of other tensors than {indices}")
    if len({entry.name for entry in named}) != len(indices):
        refuse("a signature with a name twice")


def _is_square(shape: Shape) -> bool:
    return len(shape) == 4 and shape[0] == 1 and shape[1] == shape[2] and shape[3] == 3
