"""Check an HDF5 file of weights before it is read.

HDF5 can hold more than numbers: links and datasets that are stored in other files, and
datasets that are much larger in memory than in the file.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from kaggle_kit.storage.regular_files import open_regular

NUMBERS = "biuf"  # accepted kinds of NumPy dtypes
MOST_OBJECTS = 200_000  # groups and datasets; a network has some thousands
MOST_NAMES = 10_000  # in an attribute, such as the names of all layers
TIMES = 4  # as many bytes of weights as the file has; weights hardly shrink
SLACK = 10**6  # bytes


def check_weights_file(path: Path) -> None:
    """Refuse an HDF5 file that is more than groups of arrays of numbers.

    Raises:
        OSError: the file is missing, not a regular file, or not HDF5.
        ValueError: it has a link other than a plain one, or an object twice; a dataset is
            not of numbers, stored in another file, or too large for the file.
    """
    with open_regular(path) as regular:
        size = regular.seek(0, 2)
    with h5py.File(path, "r") as file:
        n_bytes = 0
        for name, item in _walk(file):
            if isinstance(item, h5py.Dataset):
                _require_own_numbers(name, item)
                n_bytes += item.nbytes
            if n_bytes > TIMES * size + SLACK:
                raise ValueError(f"{n_bytes} bytes of weights in a file of {size}")


def _walk(file: h5py.File) -> Iterator[tuple[str, Any]]:
    """All groups and datasets of a file and their names, each once."""
    waiting: list[tuple[str, Any]] = [("/", file)]
    seen: set[int] = set()
    while waiting:
        name, item = waiting.pop()
        address = h5py.h5o.get_info(item.id).addr
        if address in seen or len(seen) >= MOST_OBJECTS:
            raise ValueError(
                f"{name[:80]!r} twice, or more than {MOST_OBJECTS} objects"
            )
        seen.add(address)
        _require_short_attributes(name, item)
        yield name, item
        if isinstance(item, h5py.Dataset):
            continue
        _require(isinstance(item, h5py.Group), name, "neither a group nor a dataset")
        for key in item:
            is_plain = isinstance(item.get(key, getlink=True), h5py.HardLink)
            _require(is_plain, key, "a link to another place")
            waiting.append((f"{name}/{key}", item[key]))


def _require_own_numbers(name: str, dataset: h5py.Dataset) -> None:
    is_elsewhere = bool(dataset.external) or dataset.is_virtual
    _require(not is_elsewhere, name, "stored in another file")
    _require(dataset.dtype.kind in NUMBERS, name, f"of {str(dataset.dtype)[:80]}")


def _require_short_attributes(name: str, item: Any) -> None:
    for key in item.attrs:
        n = math.prod(item.attrs.get_id(key).shape or ())
        _require(n <= MOST_NAMES, name, f"with {n} values of {key[:80]!r}")


def _require(condition: bool, name: str, problem: str) -> None:
    """Raise ``ValueError``, unless a condition holds."""
    if not condition:
        raise ValueError(f"{name[:80]!r}, {problem}")
