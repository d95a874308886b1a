"""Arrays from files: numbers alone, never objects, whoever made the file."""

import tokenize
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

# What reading a damaged or malicious file may raise. MemoryError: its header says that
# the array is larger than any memory. NotImplementedError, RuntimeError: a zip file with
# a method or a password that Python has not.
DAMAGE = (
    *(OSError, EOFError, ValueError, KeyError, TypeError, SyntaxError, MemoryError),
    *(BadZipFile, zlib.error, tokenize.TokenError, NotImplementedError, RuntimeError),
)


NUMBERS = "biuf"  # kinds of types: truth values, integers, floats


class Arrays(Mapping[str, NDArray[Any]]):
    """The arrays of an ``.npz`` file by their names, each read when it is asked for.

    Raises:
        DAMAGE: the file is not one; when asked for, an array is damaged or not of numbers.
    """

    def __init__(self, path: Path):
        self._file = np.load(path, allow_pickle=False)
        if not isinstance(self._file, np.lib.npyio.NpzFile):
            raise TypeError("one array in place of several")

    def __getitem__(self, name: str) -> NDArray[Any]:
        return _of_numbers(self._file[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._file.files)

    def __len__(self) -> int:
        return len(self._file.files)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def mapped(path: Path) -> NDArray[Any]:
    """The array of an ``.npy`` file; its numbers stay on disk until they are used.

    Raises:
        DAMAGE: the file is not one, or it holds anything but numbers.
    """
    return _of_numbers(np.lib.format.open_memmap(path, mode="r"))


def loaded(path: Path) -> NDArray[Any]:
    """The array of an ``.npy`` file, in memory.

    Raises:
        DAMAGE: the file is not one, or it holds anything but numbers.
    """
    return np.array(mapped(path))


def _of_numbers(array: Any) -> NDArray[Any]:
    if not isinstance(array, np.ndarray) or array.dtype.kind not in NUMBERS:
        raise TypeError(f"{getattr(array, 'dtype', 'no array')} in place of numbers")
    return array
