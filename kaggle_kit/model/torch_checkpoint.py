"""Read the tensors of a PyTorch file without PyTorch and without executing its code.

The legacy format (before PyTorch 1.6) is a sequence of five pickles and the raw numbers: a
magic number, a protocol number, properties of the machine, a dictionary of tensors that
refer to storages by key, the keys in order, and for each key the length of its storage
(int64) and its content. A pickle can call any function by name; this reader accepts only
the four names that such a file needs.
"""

import collections
import math
import pickle
import struct
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.errors import ArtefactError

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
STORAGES = {"FloatStorage": "<f4", "LongStorage": "<i8"}


class _Tensor(NamedTuple):
    """A tensor as the pickle describes it: its storage, and its layout in that."""

    key: str
    dtype: str
    length: int
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class _Unpickler(pickle.Unpickler):
    """An unpickler that accepts four names."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        raise pickle.UnpicklingError(f"it names {module}.{name}")

    def persistent_load(self, pid: Any) -> tuple[str, str, int]:
        kind, dtype, key, _, length, view = pid
        if kind != "storage" or dtype not in STORAGES.values() or view is not None:
            raise pickle.UnpicklingError("it holds something other than tensors")
        return str(key), dtype, int(length)


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Read a state dictionary in PyTorch's legacy format: the tensors by name.

    Raises:
        ArtefactError: the file is missing, cut off or in another format, or it names
            anything that a dictionary of tensors does not need.
    """
    try:
        with open(path, "rb") as file:
            tensors = _read_header(file)
            storages = _read_storages(file, tensors)
            return {name: _array(t, storages[t.key]) for name, t in tensors.items()}
    except FileNotFoundError:
        raise ArtefactError(
            f"{path}: expected a PyTorch file, found none; install its package again"
        ) from None
    except (
        *(pickle.UnpicklingError, struct.error, EOFError, ValueError, TypeError),
        *(KeyError, IndexError, AttributeError, OverflowError, MemoryError),
    ) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ArtefactError(
            f"{path}: expected tensors in PyTorch's legacy format, got a file where "
            f"{reason}; do not use it"
        ) from None


def _read_header(file: BinaryIO) -> dict[str, _Tensor]:
    magic, protocol, _ = (_Unpickler(file).load() for _ in range(3))
    if magic != MAGIC or protocol != PROTOCOL:
        raise ValueError("the magic number is different")
    tensors = _Unpickler(file).load()
    if not isinstance(tensors, dict) or not all(
        isinstance(name, str) and isinstance(tensor, _Tensor)
        for name, tensor in tensors.items()
    ):
        raise ValueError("there is something other than tensors by name")
    return dict(tensors)


def _read_storages(
    file: BinaryIO, tensors: dict[str, _Tensor]
) -> dict[str, NDArray[Any]]:
    by_key = {tensor.key: tensor for tensor in tensors.values()}
    storages = {}
    for key in _Unpickler(file).load():
        tensor = by_key[key]
        (length,) = struct.unpack("<q", file.read(8))
        if length != tensor.length:
            raise ValueError(f"storage {key} has {length} numbers, not {tensor.length}")
        dtype = np.dtype(tensor.dtype)
        content = file.read(length * dtype.itemsize)
        storages[key] = np.frombuffer(content, dtype, length)
    return storages


def _array(tensor: _Tensor, storage: NDArray[Any]) -> NDArray[Any]:
    """Copy the numbers of a tensor out of its storage, in C order."""
    last = tensor.offset + sum(
        (n - 1) * step for n, step in zip(tensor.shape, tensor.stride, strict=True)
    )
    inside = tensor.offset >= 0 and min(tensor.stride, default=0) >= 0
    if math.prod(tensor.shape) and not (inside and last < len(storage)):
        raise ValueError("a tensor reaches beyond its storage")
    strides = [step * storage.itemsize for step in tensor.stride]
    view = np.lib.stride_tricks.as_strided(
        storage[tensor.offset :], tensor.shape, strides, writeable=False
    )
    return np.ascontiguousarray(view).reshape(tensor.shape)


def _rebuild_tensor(
    storage: Any, offset: int, shape: Any, stride: Any, *_: Any
) -> _Tensor:
    """Stands in for PyTorch's function of this name: describes the tensor."""
    key, dtype, length = storage
    sizes = tuple(map(int, shape)), tuple(map(int, stride))
    return _Tensor(key, dtype, length, int(offset), *sizes)
