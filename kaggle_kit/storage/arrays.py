"""Read NumPy files from untrusted sources: arrays of numbers, never pickled objects."""

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


def _require_numbers(array: Any) -> NDArray[Any]:
    if not isinstance(array, np.ndarray) or array.dtype.kind not in NUMBERS:
        raise TypeError(f"{getattr(array, 'dtype', 'no array')} instead of numbers")
    return array
