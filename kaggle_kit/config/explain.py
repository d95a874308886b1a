"""Describe settings: their meaning, type, range and default."""

import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic_core import PydanticUndefined, to_jsonable_python

from kaggle_kit.config.base import Settings
from kaggle_kit.config.names import no_setting, section_of
from kaggle_kit.config.schema import Config
from kaggle_kit.errors import ConfigError

WIDTH = 80


def explain(name: str | None = None) -> str:
    """Describe a setting or a section: meaning, type, range and default.

    Args:
        name: dotted, such as ``train.epochs`` or ``train``; None: all settings.

    Returns:
        Lines of text. A section is followed by the settings in it.

    Raises:
        ConfigError: there is no such setting.
    """
    if name is None:
        return "\n".join(_describe_section(Config, ""))
    *sections, key = name.split(".")
    owner: Any = Config
    for section in sections:
        owner = _child(owner, section, name)
    _child(owner, key, name)
    return "\n".join(_describe(owner, key, name))


def _child(owner: Any, key: str, name: str) -> Any:
    """The section or the type of a setting in a section."""
    if key not in getattr(owner, "model_fields", {}):
        raise ConfigError(no_setting(name))
    return section_of(owner.model_fields[key].annotation)


def _describe_section(owner: type[Settings], prefix: str) -> Iterator[str]:
    for key in owner.model_fields:
        yield from _describe(owner, key, f"{prefix}{key}")


def _describe(owner: type[Settings], key: str, name: str) -> Iterator[str]:
    """The lines for a setting, and for those in it if it is a section."""
    field = owner.model_fields[key]
    section = section_of(field.annotation)
    is_section = hasattr(section, "model_fields")
    meaning = field.description or (section.__doc__ or "").split("\n\n")[0].replace(
        "``", ""
    )
    yield f"{name}{_default(field.default)}"
    yield from _indented(meaning)
    if section is not field.annotation or not is_section:
        schema = owner.model_json_schema()
        yield from _indented(_words(schema["properties"][key]))
    if is_section:
        yield from _describe_section(section, f"{name}.")


def _indented(text: str) -> list[str]:
    indent = " " * 4
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )


def _default(value: Any) -> str:
    """The default of a setting, as a suffix of its name; empty for a section."""
    if value is PydanticUndefined:
        return " (required)"
    if isinstance(value, Settings):
        return ""
    plain = to_jsonable_python(value)
    return f" = {plain if isinstance(plain, str) else json.dumps(plain)}"


def _words(schema: Mapping[str, Any]) -> str:
    """A type and its range in words, from JSON Schema.

    >>> _words({"type": "integer", "minimum": 1})
    'a whole number from 1'
    >>> _words({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "null"}]})
    'a number above 0, or null'
    """
    if "anyOf" in schema:
        return ", or ".join(map(_words, schema["anyOf"]))
    if "$ref" in schema:
        return "a section of settings"
    if "enum" in schema:
        return "one of " + ", ".join(schema["enum"])
    if schema["type"] == "array":
        return _list(schema)
    kinds = {
        "boolean": "true or false",
        "integer": "a whole number",
        "number": "a number",
        "string": "text",
        "null": "null",
    }
    return kinds[schema["type"]] + _range(schema)


def _list(schema: Mapping[str, Any]) -> str:
    items = schema["prefixItems"][0] if "prefixItems" in schema else schema["items"]
    least, most = schema.get("minItems", 0), schema.get("maxItems")
    size = f" of {most}" if most else f" of {least} or more" if least else ""
    return f"a list{size}, each {_words(items)}"


def _range(schema: Mapping[str, Any]) -> str:
    bounds = {
        "minimum": "from",
        "exclusiveMinimum": "above",
        "maximum": "to",
        "exclusiveMaximum": "and below",
    }
    return "".join(f" {word} {schema[b]}" for b, word in bounds.items() if b in schema)
