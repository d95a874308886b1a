"""Arrays from files: numbers alone, never objects, whoever made the file."""

import tokenize
import zlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
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


def mapped(path: Path) -> NDArray[Any]:
    """The array of an ``.npy`` file; its numbers stay on disk until they are used.

    Raises:
        DAMAGE: the file is not one, or it holds objects, which are code.
    """
    return np.lib.format.open_memmap(path, mode="r")


def loaded(path: Path) -> NDArray[Any]:
    """The array of an ``.npy`` file, in memory.

    Raises:
        DAMAGE: the file is not one, or it holds objects, which are code.
    """
    return np.array(mapped(path))


def opened(path: Path) -> AbstractContextManager[Mapping[str, NDArray[Any]]]:
    """The arrays of an ``.npz`` file by their names, each read when it is asked for.

    Raises:
        DAMAGE: the file is not one; when asked for, an array is damaged or of objects.
    """
    archive = np.load(path, allow_pickle=False)
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise TypeError("one array in place of several")
    return archive
