"""The tables of a LiteRT file, as far as the kit's networks need them.

A file with any other field is refused: custom operations, sparse or variable tensors, data
outside of the FlatBuffer, references to other subgraphs.

Source: schema.fbs, version 3 (``TFL3``), of TensorFlow Lite.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from kaggle_kit.backends.flatbuffer import slot
from kaggle_kit.backends.litert_options import OPTIONS

IDENTIFIER, VERSION = b"TFL3", 3


class TensorType(IntEnum):
    """The types of numbers that the kit's networks have."""

    FLOAT32 = 0
    INT32 = 2
    UINT8 = 3
    BOOL = 6
    INT8 = 9

    @property
    def n_bytes(self) -> int:
        """The size of a number."""
        return 4 if self in (TensorType.FLOAT32, TensorType.INT32) else 1


@dataclass(frozen=True)
class Quantization:
    """What 8-bit integers mean: ``scale * (integer - zero_point)``.

    With several scales, each is of one index of the dimension ``dimension``.
    """

    min: tuple[float, ...] = slot(0, "f", vector=True)
    max: tuple[float, ...] = slot(1, "f", vector=True)
    scale: tuple[float, ...] = slot(2, "f", vector=True)
    zero_point: tuple[int, ...] = slot(3, "q", vector=True)
    dimension: int = slot(6, "i", 0)


NOT_QUANTIZED = Quantization()


@dataclass(frozen=True)
class Tensor:
    """An array. ``signature`` is its shape with -1 for the size of the batch."""

    shape: tuple[int, ...] = slot(0, "i", vector=True)
    type: int = slot(1, "b", 0)
    buffer: int = slot(2, "I", 0)
    name: str = slot(3, str, "")
    quantization: Quantization = slot(4, Quantization, NOT_QUANTIZED)  # noqa: RUF009
    signature: tuple[int, ...] = slot(7, "i", vector=True)
    has_rank: bool = slot(8, "?", False)


@dataclass(frozen=True)
class Operator:
    """A call of an operation; an input of -1 is one that is left out."""

    code: int = slot(0, "I", 0)
    inputs: tuple[int, ...] = slot(1, "i", vector=True)
    outputs: tuple[int, ...] = slot(2, "i", vector=True)
    options_type: int = slot(3, "B", 0)
    options: Any = slot(4, OPTIONS, tag="options_type")  # noqa: RUF009
    custom_options: tuple[int, ...] = slot(5, "B", vector=True)


@dataclass(frozen=True)
class OperatorCode:
    """An operation. Files of older converters have its code in ``old_code`` alone.

    ``custom`` is the name of one that is not built in, such as those of TensorFlow.
    """

    old_code: int = slot(0, "b", 0)
    custom: str = slot(1, str, "")
    version: int = slot(2, "i", 1)
    code: int = slot(3, "i", 0)


@dataclass(frozen=True)
class Subgraph:
    """A network."""

    tensors: tuple[Tensor, ...] = slot(0, Tensor, vector=True)
    inputs: tuple[int, ...] = slot(1, "i", vector=True)
    outputs: tuple[int, ...] = slot(2, "i", vector=True)
    operators: tuple[Operator, ...] = slot(3, Operator, vector=True)
    name: str = slot(4, str, "")


@dataclass(frozen=True)
class Data:
    """The content of a constant; empty for what is computed."""

    data: memoryview = slot(0, bytes, memoryview(b""))  # noqa: RUF009


@dataclass(frozen=True)
class Metadata:
    """A named buffer, such as the version of the converter."""

    name: str = slot(0, str, "")
    buffer: int = slot(1, "I", 0)


@dataclass(frozen=True)
class NamedTensor:
    """An input or output of a signature."""

    name: str = slot(0, str, "")
    tensor: int = slot(1, "I", 0)


@dataclass(frozen=True)
class Signature:
    """The names of the inputs and outputs of a subgraph."""

    inputs: tuple[NamedTensor, ...] = slot(0, NamedTensor, vector=True)
    outputs: tuple[NamedTensor, ...] = slot(1, NamedTensor, vector=True)
    key: str = slot(2, str, "")
    subgraph: int = slot(4, "I", 0)


@dataclass(frozen=True)
class Model:
    """The root of the file."""

    version: int = slot(0, "I", 0)
    codes: tuple[OperatorCode, ...] = slot(1, OperatorCode, vector=True)
    subgraphs: tuple[Subgraph, ...] = slot(2, Subgraph, vector=True)
    description: str = slot(3, str, "")
    buffers: tuple[Data, ...] = slot(4, Data, vector=True)
    metadata: tuple[Metadata, ...] = slot(6, Metadata, vector=True)
    signatures: tuple[Signature, ...] = slot(7, Signature, vector=True)
