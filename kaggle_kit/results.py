"""Results of stages as JSON: a dataclass becomes an object with a key for each field."""

from collections.abc import Mapping
from dataclasses import Field, fields, is_dataclass
from typing import Any

# Metadata of dataclass fields with default None: ``field(default=None, metadata=...)``
OPTIONAL = {"json": "optional"}  # the key is omitted while the value is None
INLINE = {
    "json": "inline"
}  # the keys of the value, if any, take the place of the field


def as_json(value: Any) -> Any:
    """The value with every dataclass in it, at any depth, replaced by a dict.

    Keys keep the order of the fields.

    >>> from dataclasses import field, make_dataclass
    >>> optional = field(default=None, metadata=OPTIONAL)
    >>> Page = make_dataclass("Page", ["gap", ("path", str, optional)])
    >>> as_json([Page(0.5), Page(None, "page.html")])
    [{'gap': 0.5}, {'gap': None, 'path': 'page.html'}]
    >>> inline = field(default=None, metadata=INLINE)
    >>> Run = make_dataclass("Run", [("page", Page, inline), ("seconds", int, 7)])
    >>> as_json(Run(Page(0.5))), as_json(Run())
    ({'gap': 0.5, 'seconds': 7}, {'seconds': 7})
    """
    if is_dataclass(value) and not isinstance(value, type):
        pairs: dict[str, Any] = {}
        for entry in fields(value):
            pairs |= _entries(entry, getattr(value, entry.name))
        return pairs
    if isinstance(value, Mapping):
        return {key: as_json(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(part) for part in value]
    return value


def _entries(entry: Field, value: Any) -> dict[str, Any]:
    """The keys and values of a dataclass field."""
    kind = entry.metadata.get("json")
    if kind and value is None:
        return {}
    return dict(as_json(value)) if kind == "inline" else {entry.name: as_json(value)}
