"""A table in memory: stored as columns, read as rows."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

Row = TypeVar("Row")


class Columns(Sequence[Row]):
    """A sequence of named tuples, stored as one array per field.

    A million rows take a third of the memory of a list, and selection and concatenation
    are array operations. A row is created when it is read.

    Args:
        row_type: the class of a row, a ``NamedTuple``.
        columns: (n,) arrays, one per field: int64 or objects.

    >>> from kaggle_kit.storage.tables import Class
    >>> Columns(Class, np.array([7, 8]), np.array([1, 2]))[1]
    Class(landmark_id=8, n_images=2)
    """

    def __init__(self, row_type: Callable[..., Row], *columns: NDArray[Any]):
        self.row_type, self.columns = row_type, columns

    @classmethod
    def of(cls, row_type: Any, rows: Iterable[Row]) -> "Columns[Row]":
        """Convert rows to columns; columns are returned unchanged."""
        if isinstance(rows, Columns):
            return rows
        fields = list(zip(*rows, strict=True)) or [()] * len(row_type._fields)
        return cls(row_type, *(_array(field) for field in fields))

    def column(self, name: str) -> NDArray[Any]:
        """The array of a field."""
        return self.columns[self.row_type._fields.index(name)]  # type: ignore[attr-defined]

    def select(self, index: NDArray[Any] | slice) -> "Columns[Row]":
        """The rows of a boolean mask, of an index array, or of a slice."""
        return Columns(self.row_type, *(column[index] for column in self.columns))

    def tuples(self) -> Iterator[tuple]:
        """The rows as plain tuples, which are faster to create."""
        return zip(*(column.tolist() for column in self.columns), strict=True)

    def __len__(self) -> int:
        return len(self.columns[0])

    def __iter__(self) -> Iterator[Row]:
        return (self.row_type(*row) for row in self.tuples())

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> "Columns[Row]": ...

    def __getitem__(self, index: int | slice) -> "Row | Columns[Row]":
        if isinstance(index, slice):
            return self.select(index)
        return self.row_type(*(column.item(index) for column in self.columns))

    def __add__(self, other: Sequence[Row]) -> "Columns[Row]":
        others = Columns.of(self.row_type, other)
        pairs = zip(self.columns, others.columns, strict=True)
        return Columns(self.row_type, *map(np.concatenate, pairs))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(
            a == b for a, b in zip(self, other, strict=True)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        name = getattr(self.row_type, "__name__", self.row_type)
        return f"<{len(self)} rows of {name}>"


def _array(values: Sequence[Any]) -> NDArray[Any]:
    """An int64 array if all values are integers, else an array of objects."""
    if values and all(isinstance(value, int | np.integer) for value in values):
        return np.array(values, np.int64)
    return np.array(values, object)
