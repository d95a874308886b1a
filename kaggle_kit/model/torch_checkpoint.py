"""Read the tensors of a PyTorch file without PyTorch and without executing its code.

The legacy format (before PyTorch 1.6) is a sequence of five pickles and the raw numbers: a
magic number, a protocol number, properties of the machine, a dictionary of tensors that
refer to storages by key, the keys in order, and for each key the length of its storage
(int64) and its content. A pickle can call any function by name; this reader accepts only
the four names that such a file needs.
"""

import collections
import io
import math
import os
import pickle
import pickletools
import struct
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.errors import ArtefactError
from kaggle_kit.storage.regular_files import open_regular

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
# What a pickle of protocol 2 needs for tensors by name. Texts of protocol 0 are numbers
# with any number of digits, and later protocols tell lengths of 8 bytes.
INSTRUCTIONS = {
    *("PROTO", "STOP", "MARK", "GLOBAL", "REDUCE", "BUILD", "BINPERSID", "NONE"),
    *("NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
    *(
        "BINUNICODE",
        "SHORT_BINSTRING",
        "BINSTRING",
        "EMPTY_DICT",
        "SETITEM",
        "SETITEMS",
    ),
    *("EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2"),
    *("TUPLE3", "BINGET", "LONG_BINGET", "BINPUT", "LONG_BINPUT"),
}
MOST_TIMES = 3  # that a number of the file is in tensors: some share their storage
LARGEST_PICKLE = 16 * 10**6  # bytes; that of a network of 300 tensors has 40,000
PUTS = ("BINPUT", "LONG_BINPUT")
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
        with open_regular(path) as file:
            tensors = _read_header(file)
            storages = _read_storages(file, tensors)
            _require_few_numbers(tensors, storages)
            return {name: _array(t, storages[t.key]) for name, t in tensors.items()}
    except FileNotFoundError:
        raise ArtefactError(
            f"{path}: expected a PyTorch file, found none; install its package again"
        ) from None
    except (
        *(
            pickle.UnpicklingError,
            struct.error,
            EOFError,
            OSError,
            ValueError,
            TypeError,
        ),
        *(KeyError, IndexError, AttributeError, OverflowError, MemoryError),
        RecursionError,
    ) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ArtefactError(
            f"{path}: expected tensors in PyTorch's legacy format, got a file where "
            f"{reason}; do not use it"
        ) from None


def _read_header(file: BinaryIO) -> dict[str, _Tensor]:
    magic, protocol, _ = (_unpickle(file) for _ in range(3))
    if magic != MAGIC or protocol != PROTOCOL:
        raise ValueError("the magic number is different")
    tensors = _unpickle(file)
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
    left = os.fstat(file.fileno()).st_size
    for key in _unpickle(file):
        tensor = by_key[key]
        (length,) = struct.unpack("<q", file.read(8))
        if length != tensor.length:
            raise ValueError(f"storage {key} has {length} numbers, not {tensor.length}")
        dtype = np.dtype(tensor.dtype)
        left -= length * dtype.itemsize
        if length < 0 or left < 0:
            raise ValueError(f"storage {key} has {length} numbers, more than the file")
        content = file.read(length * dtype.itemsize)
        storages[key] = np.frombuffer(content, dtype, length)
    return storages


def _require_few_numbers(
    tensors: dict[str, _Tensor], storages: dict[str, NDArray[Any]]
) -> None:
    """Refuse tensors that together are much more than the numbers of the file."""
    n = sum(math.prod(tensor.shape) for tensor in tensors.values())
    if n > MOST_TIMES * sum(map(len, storages.values())):
        raise ValueError(f"tensors have {n} numbers, many more than the file")


def _unpickle(file: BinaryIO) -> Any:
    """Load the next pickle of a file, after its instructions have been checked.

    An instruction for a place in the memo allocates as much memory as its number says,
    and one for a long text as much as its length says.
    """
    start = file.tell()
    content = io.BytesIO(file.read(LARGEST_PICKLE))  # never allocates more than it has
    for n, (instruction, argument, _) in enumerate(pickletools.genops(content)):
        if instruction.name not in INSTRUCTIONS:
            raise pickle.UnpicklingError(f"it has the instruction {instruction.name}")
        if instruction.name in PUTS and not (argument or 0) <= n:
            raise pickle.UnpicklingError(f"it puts something at {argument}")
    file.seek(start + content.tell())
    content.seek(0)
    return _Unpickler(content).load()


def _array(tensor: _Tensor, storage: NDArray[Any]) -> NDArray[Any]:
    """Copy the numbers of a tensor out of its storage, in C order."""
    last = tensor.offset + sum(
        (n - 1) * step for n, step in zip(tensor.shape, tensor.stride, strict=True)
    )
    lowest = min([tensor.offset, *tensor.shape, *tensor.stride])
    n = math.prod(tensor.shape)
    # A stride of 0 would repeat a number as often as the shape says.
    if lowest < 0 or n > len(storage) or (n and last >= len(storage)):
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
