"""JSON files: read as UTF-8, written with an indent of two and a newline at the end."""

import json
from pathlib import Path
from typing import Any

from kaggle_kit.storage.files import written

# What reading a damaged file may raise. ValueError: it is not UTF-8, or not JSON.
# RecursionError: it is nested too deeply.
DAMAGE = (OSError, ValueError, RecursionError)


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        DAMAGE: there is none, or it is damaged.
    """
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(values: Any, path: Path) -> None:
    """Write a JSON file whole or not at all.

    Raises:
        DataError: the disk is full.
    """
    with written(path) as part:
        part.write_text(json_text(values), encoding="utf-8")


def json_text(values: Any, ensure_ascii: bool = True) -> str:
    """The text of a JSON file, for a folder that is itself written whole or not at all.

    Args:
        ensure_ascii: write other letters than ASCII's as ``\\u`` and a number.

    >>> print(json_text({"name": "Orée"}), end="")
    {
      "name": "Or\\u00e9e"
    }
    """
    return json.dumps(values, indent=2, ensure_ascii=ensure_ascii) + "\n"
