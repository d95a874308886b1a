"""Read NumPy files from untrusted sources: arrays of numbers, never pickled objects.

``require_range`` and ``require_lengths`` check the numbers, where they are written and
where they are read: one value that is not finite is enough to give every image the same
guess.
"""

import math
import mmap
import tokenize
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

# Reading a damaged or malicious file raises one of these. MemoryError: the header claims
# an array that does not fit into memory. NotImplementedError, RuntimeError: a zip file
# with a compression method that Python does not support, or with a password.
DAMAGE = (
    *(OSError, EOFError, ValueError, KeyError, TypeError, SyntaxError, MemoryError),
    *(BadZipFile, zlib.error, tokenize.TokenError, NotImplementedError, RuntimeError),
)
NUMBERS = "biuf"  # accepted NumPy dtype kinds: bool, signed and unsigned integer, float
BLOCK = (
    2**21
)  # values that are checked at a time: 8 MB in float32, however long the file
LARGEST_WEIGHT = 1e18  # of a network: its square is still a float32
ROUNDING = 2.0**-10  # twice the most that float16 changes the length of a unit vector


class Arrays(Mapping[str, NDArray[Any]]):
    """The arrays of an ``.npz`` file by name; each is read on access.

    Raises:
        DAMAGE: one of these exceptions; when the file is opened, if it is no ``.npz``
            file; when an array is read, if it is damaged or does not contain numbers.
    """

    def __init__(self, path: Path):
        self._file = np.load(path, allow_pickle=False)
        if not isinstance(self._file, np.lib.npyio.NpzFile):
            raise TypeError("one array instead of an archive of arrays")

    def __getitem__(self, name: str) -> NDArray[Any]:
        return _require_numbers(self._file[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._file.files)

    def __len__(self) -> int:
        return len(self._file.files)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def map_array(path: Path) -> NDArray[Any]:
    """Memory-map an ``.npy`` file, read-only.

    Raises:
        DAMAGE: the file is damaged, or has a dtype other than numbers.
    """
    return _require_numbers(np.lib.format.open_memmap(path, mode="r"))


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


def _require_numbers(array: Any) -> NDArray[Any]:
    if not isinstance(array, np.ndarray) or array.dtype.kind not in NUMBERS:
        raise TypeError(f"{getattr(array, 'dtype', 'no array')} instead of numbers")
    return array
