"""Read NumPy files from untrusted sources: arrays of numbers, never pickled objects.

``require_range`` and ``require_lengths`` check the numbers, where they are written and
where they are read: one value that is not finite is enough to give every image the same
guess.
"""

import io
import math
import mmap
import tokenize
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.storage import zip_files
from kaggle_kit.storage.regular_files import open_regular

# Reading a damaged or malicious file raises one of these.
DAMAGE = (
    *(OSError, ValueError, KeyError, TypeError, SyntaxError, MemoryError),
    *(RecursionError, tokenize.TokenError, *zip_files.DAMAGE),
)
NUMBERS = "biuf"  # accepted NumPy dtype kinds: bool, signed and unsigned integer, float
LONGEST_HEADER = 4096  # bytes; NumPy writes 128
MOST_COLUMNS = 2**20  # of an array without rows
MOST_ARRAYS = 20_000  # in a file; a checkpoint has one for each variable
BLOCK = (
    2**21
)  # values that are checked at a time: 8 MB in float32, however long the file
LARGEST_WEIGHT = 1e18  # of a network: its square is still a float32
ROUNDING = 2.0**-10  # twice the most that float16 changes the length of a unit vector


class Header(NamedTuple):
    """What an ``.npy`` file says of its array, and where the numbers begin."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    is_fortran: bool
    offset: int


class Arrays(Mapping[str, NDArray[Any]]):
    """The arrays of an ``.npz`` file by name; each is read on access.

    An array has at most as many bytes as the file: the kit compresses none, and a
    compressed one of 3 MB may need 4 GB of memory.

    Raises:
        DAMAGE: one of these exceptions; when the file is opened, if it is no ``.npz``
            file; when an array is read, if it is damaged or does not contain numbers.
    """

    def __init__(self, path: Path):
        self._largest = path.stat().st_size
        self._opened = ExitStack()
        self._file = self._opened.enter_context(
            zip_files.open_zip(path, most_members=MOST_ARRAYS)
        )
        members = self._file.infolist()
        self._members = {m.filename.removesuffix(".npy"): m for m in members}
        if len(self._members) != len(members):
            self._opened.close()
            raise ValueError("repeated names")

    def header(self, name: str) -> Header:
        """The dtype and the shape of an array; its numbers are not read."""
        member = self._members[name]
        if member.file_size > self._largest:
            raise ValueError(
                f"{name}: {member.file_size} bytes in a file of {self._largest}"
            )
        with self._file.open(member) as file:
            return _read_header(file.read(LONGEST_HEADER), member.file_size)

    def __getitem__(self, name: str) -> NDArray[Any]:
        self.header(name)
        with self._file.open(self._members[name]) as file:
            array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()


def map_array(path: Path) -> NDArray[Any]:
    """Memory-map an ``.npy`` file, read-only.

    Raises:
        DAMAGE: the file is damaged, or has a dtype other than numbers.
    """
    with open_regular(path) as file:
        return _map(file)


def load_array(path: Path) -> NDArray[Any]:
    """Read an ``.npy`` file into memory.

    Raises:
        DAMAGE: the file is damaged, or has a dtype other than numbers.
    """
    return np.array(map_array(path))


def require_range(name: str, array: NDArray[Any], low: float, high: float) -> None:
    """Check that every value is a finite number from ``low`` to ``high``.

    Args:
        name: of the array, for the error message.

    Raises:
        ValueError: names the array and the first value that is not.
    """
    for _, block in _blocks(array):
        is_inside = (block >= low) & (block <= high)  # False for NaN
        if not is_inside.all():
            value = block[~is_inside].flat[0]
            raise ValueError(f"the value {value!s} in {name}")


def require_lengths(name: str, array: NDArray[Any], low: float, high: float) -> bool:
    """Check that each row is zero or has a length from ``low`` to ``high``.

    A row of zeros is what an image without any feature has.

    Args:
        name: of the array, for the error message.
        array: (n, d).

    Returns:
        Whether any row is not zero.

    Raises:
        ValueError: names the array and the first row of another length.
    """
    is_any = False
    for first, block in _blocks(array):
        with np.errstate(over="ignore", invalid="ignore"):
            squares = np.einsum("ij,ij->i", block, block)
        is_right = (squares >= low**2) & (squares <= high**2)  # False for NaN
        is_right |= squares == 0
        if not is_right.all():
            row = int((~is_right).argmax())
            raise ValueError(
                f"the length {math.sqrt(squares[row]):.4g} of row {first + row} in {name}"
            )
        is_any = is_any or bool(squares.any())
    return is_any


def release_pages(array: NDArray[Any]) -> None:
    """Release the resident pages of an array that is memory-mapped read-only.

    A later access reads the file again.
    """
    if isinstance(array, np.memmap) and array.mode == "r":
        mapping = getattr(array, "_mmap", None)
        if mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
            mapping.madvise(mmap.MADV_DONTNEED)


def _blocks(array: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield the first row and the float32 or float64 values of each block of rows.

    One pass, with one block in memory and no page of a mapped file resident after it: the
    gallery of the whole competition, 1.58 million rows of 512 float16, is 386 blocks.
    """
    n_rows = max(1, BLOCK // max(1, math.prod(array.shape[1:])))
    dtype = np.float64 if array.dtype == np.float64 else np.float32
    array = np.atleast_1d(array)
    for first in range(0, len(array), n_rows):
        yield first, np.asarray(array[first : first + n_rows]).astype(dtype)
        release_pages(array)


def _map(file: BinaryIO) -> NDArray[Any]:
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    header = _read_header(file.read(LONGEST_HEADER), size)
    return np.memmap(
        file,
        dtype=header.dtype,
        mode="r",
        offset=header.offset,
        shape=header.shape,
        order="F" if header.is_fortran else "C",
    )


def _read_header(start: bytes, size: int) -> Header:
    """Parse the start of an ``.npy`` file of ``size`` bytes; nothing else is allocated.

    Raises:
        DAMAGE: the header is malformed or too long, the array is not of numbers, or the
            file has more or fewer bytes than the array needs.
    """
    file = io.BytesIO(start)
    if np.lib.format.read_magic(file) == (1, 0):
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
    else:
        shape, is_fortran, dtype = np.lib.format.read_array_header_2_0(file)
    if dtype.kind not in NUMBERS:
        raise TypeError(f"{dtype} instead of numbers")
    n_bytes = math.prod(shape) * dtype.itemsize
    # An array without numbers may claim any number of empty rows, or of columns.
    most = max(size, MOST_COLUMNS)
    if min(shape, default=0) < 0 or max(shape, default=0) > most:
        raise ValueError(f"the shape {shape}")
    if file.tell() + n_bytes != size:
        raise ValueError(f"the shape {shape} of {dtype} in a file of {size} bytes")
    return Header(dtype, shape, is_fortran, file.tell())
