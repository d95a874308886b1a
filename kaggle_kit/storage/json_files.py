"""JSON files (UTF-8, indented by two spaces) and the results that are written as JSON.

Their numbers are finite: JSON has no others, although Python reads and writes ``NaN``.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from kaggle_kit.storage.files import atomic_write
from kaggle_kit.storage.regular_files import read_regular

LARGEST = 64 * 10**6  # bytes of a JSON file; a manifest of 100,000 files has 15 MB

# Reading a damaged file raises one of these. ValueError: not UTF-8, or not JSON.
# RecursionError: nested too deeply.
DAMAGE = (OSError, ValueError, RecursionError)


# Metadata of dataclass fields with default None: ``field(default=None, metadata=...)``
OPTIONAL = {"json": "optional"}  # the key is omitted while the value is None
INLINE = {"json": "inline"}  # the keys of the value, if any, replace the field


@dataclass(frozen=True)
class JsonObject:
    """Base of results that are printed and saved as a JSON object."""

    def as_json(self) -> dict[str, Any]:
        """The fields by name, in their order, with values that ``json.dumps`` accepts."""
        return _fields_as_json(self)


def to_json(value: Any) -> Any:
    """Convert a value, and the values in it, to what ``json.dumps`` accepts.

    A dataclass or a mapping becomes a dictionary with string keys, a tuple becomes a
    list, a path becomes its text, a float that is not finite becomes None; any other value
    is returned unchanged.

    >>> to_json({0.5: (1, Path("a/b"), math.nan)})
    {'0.5': [1, 'a/b', None]}
    >>> from dataclasses import field, make_dataclass
    >>> Page = make_dataclass("Page", ["gap", ("path", str, field(metadata=OPTIONAL))])
    >>> to_json(Page(0.5, None))
    {'gap': 0.5}
    >>> Run = make_dataclass("Run", [("page", Page, field(metadata=INLINE)), "seconds"])
    >>> to_json(Run(Page(0.5, "a.html"), 7)), to_json(Run(None, 7))
    ({'gap': 0.5, 'path': 'a.html', 'seconds': 7}, {'seconds': 7})
    """
    if isinstance(value, JsonObject):
        return value.as_json()
    if is_dataclass(value) and not isinstance(value, type):
        return _fields_as_json(value)
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def _fields_as_json(value: Any) -> dict[str, Any]:
    pairs: dict[str, Any] = {}
    for entry in fields(value):
        item = getattr(value, entry.name)
        kind = entry.metadata.get("json")
        if kind and item is None:
            continue
        pairs |= to_json(item) if kind == "inline" else {entry.name: to_json(item)}
    return pairs


def read_json(path: Path, max_bytes: int = LARGEST) -> Any:
    """Parse a JSON file.

    Raises:
        DAMAGE: the file is missing, damaged, or larger than ``max_bytes``.
    """
    return parse_json(read_regular(path, max_bytes).decode("utf-8"))


def parse_json(text: str | bytes) -> Any:
    """Parse JSON whose numbers are finite, and whose keys are distinct.

    Raises:
        ValueError, RecursionError: it is not JSON, has a number such as NaN or 1e999, or
            an object has a key twice, of which two readers may take different ones.
    """
    return json.loads(
        text,
        parse_constant=_finite,
        parse_float=_finite,
        object_pairs_hook=_distinct,
    )


def _distinct(pairs: list[tuple[str, Any]]) -> Any:
    values = dict(pairs)
    if len(values) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {key[:40]!r} twice")
            seen.add(key)
    return values


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:40]}, which is not finite")
    return value


def write_json(values: Any, path: Path) -> None:
    """Write a JSON file atomically, converted by ``to_json``.

    Raises:
        DataError: the disk is full.
    """
    with atomic_write(path) as part:
        part.write_text(json_text(values), encoding="utf-8")


def json_text(values: Any, ensure_ascii: bool = True) -> str:
    """The text of a JSON file, for a folder that is itself written atomically.

    ``values`` are converted by ``to_json``.

    Args:
        ensure_ascii: write characters outside ASCII as ``\\u`` escapes.

    >>> print(json_text({"name": "Orée"}), end="")
    {
      "name": "Or\\u00e9e"
    }
    """
    return json.dumps(to_json(values), indent=2, ensure_ascii=ensure_ascii) + "\n"
