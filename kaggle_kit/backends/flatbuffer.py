"""Read FlatBuffers of strangers: every offset and every length is checked before it is used.

A table is described by a dataclass whose fields are made by ``slot``. The rules are those of
FlatBuffers' own verifier, and stricter: a table has no field that its class does not name.

Source of the format: https://flatbuffers.dev/internals/
"""

import dataclasses
import struct
from mmap import mmap
from typing import Any, NoReturn, TypeVar

# Scalars by their codes in ``struct``, with their sizes, to which they are aligned.
SIZES = {"b": 1, "B": 1, "?": 1, "i": 4, "I": 4, "f": 4, "q": 8, "Q": 8}
OFFSET = 4  # bytes of an offset, of a length and of the number that starts a table
DATA_ALIGNMENT = 4  # of raw data; the schema asks for 16, but some converters give 4
MAX_BYTES = 2**31 - 1  # a FlatBuffer is not larger
# Elements of vectors that a file may have, a table counting as some of them; what several
# refer to counts for each. A ResNet-50 of four views in 8-bit integers has 400,000.
MAX_READS, TABLE_READS = 4_000_000, 32

Row = TypeVar("Row")


@dataclasses.dataclass(frozen=True)
class _Slot:
    """Where a field is in its table, and what it is; see ``slot``."""

    index: int
    kind: Any
    is_vector: bool
    tag: str | None


def slot(
    index: int,
    kind: Any,
    default: Any = None,
    vector: bool = False,
    tag: str | None = None,
) -> Any:
    """A field of a table.

    Args:
        index: its number in the schema, from 0.
        kind: a scalar's code in ``struct``; ``str``, a string; ``bytes``, a vector of bytes
            that is returned as a ``memoryview``; the dataclass of a table; or, for one of
            several, a dictionary of dataclasses.
        default: the value where the file has none.
        vector: it is a vector of such elements, and is returned as a tuple. Its default
            is ().
        tag: the name of an earlier field, whose value is the key in that dictionary.
    """
    default = () if vector else default
    return dataclasses.field(
        default=default, metadata={"slot": _Slot(index, kind, vector, tag)}
    )


class FlatBuffer:
    """A FlatBuffer in memory.

    Attributes:
        content: its bytes.
    """

    def __init__(self, content: bytes | mmap):
        self.content = memoryview(content)
        self._n_reads = 0

    def read(self, row: type[Row], identifier: bytes) -> Row:
        """Read the root table, and all tables that it refers to.

        Args:
            row: the dataclass of the table.
            identifier: four bytes that tell the kind of file.

        Raises:
            ValueError: the file is of another kind or damaged.
        """
        size = len(self.content)
        if not 2 * OFFSET <= size <= MAX_BYTES or self.content[4:8] != identifier:
            _fail(f"no file of the kind {identifier.decode()}")
        return self._read_table(row, self._follow(0))

    def _read_table(self, row: type[Row], start: int) -> Row:
        """Read the table that starts at a byte."""
        self._count(TABLE_READS)
        self._require(start, OFFSET, OFFSET)
        vtable = start - self._number("i", start)
        self._require(vtable, 4, 2)
        vtable_size, size = self._numbers("H", 2, vtable)
        if vtable_size < 4 or vtable_size % 2 or size < OFFSET:
            _fail(f"a table at {start} whose sizes are {vtable_size} and {size}")
        self._require(vtable, vtable_size, 2)
        self._require(start, size, OFFSET)
        positions = self._numbers("H", vtable_size // 2 - 2, vtable + 4)
        values: dict[str, Any] = {}
        for field in dataclasses.fields(row):  # type: ignore[arg-type]
            place: _Slot = field.metadata["slot"]
            at = positions[place.index] if place.index < len(positions) else 0
            if not at:
                continue
            if place.tag:
                place = _choose(place, values.get(place.tag, 0))
            is_scalar = not place.is_vector and place.kind in SIZES
            width = SIZES[place.kind] if is_scalar else OFFSET
            if at < OFFSET or at + width > size or (start + at) % width:
                _fail(f"the field {field.name} at {at} of a table of {size} bytes")
            values[field.name] = self._read_value(place, start + at)
        known = {field.metadata["slot"].index for field in dataclasses.fields(row)}  # type: ignore[arg-type]
        for index, at in enumerate(positions):
            if at and index not in known:
                _fail(f"a {row.__name__} with an unknown field {index}")
        return row(**values)

    def _read_value(self, place: _Slot, at: int) -> Any:
        """The value of a field; ``at`` is where its scalar or its offset is."""
        if place.is_vector:
            return self._read_vector(place.kind, self._follow(at))
        if place.kind in SIZES:
            return self._number(place.kind, at)
        start = self._follow(at)
        if place.kind is bytes:
            n = self._length(start, 1, DATA_ALIGNMENT)
            return self.content[start + OFFSET : start + OFFSET + n]
        if place.kind is str:
            return self._read_string(start)
        return self._read_table(place.kind, start)

    def _read_vector(self, kind: Any, start: int) -> tuple[Any, ...]:
        is_scalar = kind in SIZES
        n = self._length(start, SIZES[kind] if is_scalar else OFFSET)
        self._count(n)
        if is_scalar:
            return self._numbers(kind, n, start + OFFSET)
        starts = range(start + OFFSET, start + OFFSET + OFFSET * n, OFFSET)
        return tuple(self._read_table(kind, self._follow(at)) for at in starts)

    def _read_string(self, start: int) -> str:
        n = self._length(start, 1)
        self._count(n)
        end = start + OFFSET + n
        self._require(end, 1, 1)
        if self.content[end] != 0:
            _fail(f"a text at {start} that does not end with zero")
        return bytes(self.content[start + OFFSET : end]).decode("utf-8", "replace")

    def _length(self, start: int, width: int, alignment: int = 1) -> int:
        """The number of elements of a vector that starts at a byte, all in the file."""
        self._require(start, OFFSET, OFFSET)
        n: int = self._number("I", start)
        if n:
            self._require(start + OFFSET, n * width, max(width, alignment))
        return n

    def _follow(self, at: int) -> int:
        """Where the offset at a byte leads to: forward, as all but a table's first."""
        self._require(at, OFFSET, OFFSET)
        distance: int = self._number("I", at)
        if not distance:
            _fail(f"an offset at {at} that leads to itself")
        return at + distance

    def _require(self, start: int, n_bytes: int, alignment: int) -> None:
        if start < 0 or start + n_bytes > len(self.content) or start % alignment:
            _fail(
                f"{n_bytes} bytes at {start}, outside of the {len(self.content)} bytes or "
                f"not aligned to {alignment}"
            )

    def _count(self, n: int) -> None:
        self._n_reads += n
        if self._n_reads > MAX_READS:
            _fail(f"more than {MAX_READS} numbers")

    def _number(self, code: str, at: int) -> Any:
        return struct.unpack_from(f"<{code}", self.content, at)[0]

    def _numbers(self, code: str, n: int, at: int) -> tuple[Any, ...]:
        return struct.unpack_from(f"<{n}{code}", self.content, at)


def _choose(place: _Slot, key: int) -> _Slot:
    """The table that a key names."""
    if key not in place.kind:
        _fail(f"a table of an unknown kind {key}")
    return dataclasses.replace(place, kind=place.kind[key], tag=None)


def _fail(reason: str) -> NoReturn:
    raise ValueError(reason)
