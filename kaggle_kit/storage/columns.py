"""Records by the million: kept as columns, read as rows."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

Row = TypeVar("Row")


class Columns(Sequence[Row]):
    """A sequence of named tuples that keeps an array for each of their fields.

    A million of them take a third of the memory, and are chosen from or put together at
    once; a row is made when it is looked at.

    Args:
        kind: the class of a row, a ``NamedTuple``.
        columns: (n,) arrays, one for each field: of integers, or of objects.

    >>> from kaggle_kit.storage.tables import Class
    >>> Columns(Class, np.array([7, 8]), np.array([1, 2]))[1]
    Class(landmark_id=8, n_images=2)
    """

    def __init__(self, kind: Callable[..., Row], *columns: NDArray[Any]):
        self.kind, self.columns = kind, columns

    @classmethod
    def of(cls, kind: Any, rows: Iterable[Row]) -> "Columns[Row]":
        """The same rows, if they are not kept so already."""
        if isinstance(rows, Columns):
            return rows
        fields = list(zip(*rows, strict=True)) or [()] * len(kind._fields)
        return cls(kind, *(_array(field) for field in fields))

    def column(self, name: str) -> NDArray[Any]:
        """The array of a field."""
        return self.columns[self.kind._fields.index(name)]  # type: ignore[attr-defined]

    def taken(self, which: NDArray[Any] | slice) -> "Columns[Row]":
        """The rows of a mask, of indices or of a slice."""
        return Columns(self.kind, *(column[which] for column in self.columns))

    def tuples(self) -> Iterator[tuple]:
        """The rows as plain tuples, which are quicker to make."""
        return zip(*(column.tolist() for column in self.columns), strict=True)

    def __len__(self) -> int:
        return len(self.columns[0])

    def __iter__(self) -> Iterator[Row]:
        return (self.kind(*row) for row in self.tuples())

    @overload
    def __getitem__(self, place: int) -> Row: ...

    @overload
    def __getitem__(self, place: slice) -> "Columns[Row]": ...

    def __getitem__(self, place: int | slice) -> "Row | Columns[Row]":
        if isinstance(place, slice):
            return self.taken(place)
        return self.kind(*(column.item(place) for column in self.columns))

    def __add__(self, other: Sequence[Row]) -> "Columns[Row]":
        added = Columns.of(self.kind, other)
        pairs = zip(self.columns, added.columns, strict=True)
        return Columns(self.kind, *map(np.concatenate, pairs))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(
            a == b for a, b in zip(self, other, strict=True)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self)} rows of {getattr(self.kind, '__name__', self.kind)}>"


def _array(values: Sequence[Any]) -> NDArray[Any]:
    """Of whole numbers if all are, else of the objects as they are."""
    if values and all(isinstance(value, int | np.integer) for value in values):
        return np.array(values, np.int64)
    return np.array(values, object)
