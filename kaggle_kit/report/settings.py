"""How one config differs from another, setting by setting."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import yaml

from kaggle_kit import config
from kaggle_kit.config import Config
from kaggle_kit.storage.files import shipped


class Difference(NamedTuple):
    """A setting and its two values; None is also what a config does not have."""

    setting: str
    value: Any
    other: Any


def differences(settings: Config, other: Config) -> list[Difference]:
    """The settings, by dotted name, that are not the same; ``name`` is none."""
    new, old = flat(settings.model_dump()), flat(other.model_dump())
    names = [*new, *(name for name in old if name not in new)]
    return [
        Difference(name, new.get(name), old.get(name))
        for name in names
        if name != "name" and new.get(name) != old.get(name)
    ]


def flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names.

    >>> flat({"train": {"epochs": 3}, "seed": 0})
    {'train.epochs': 3, 'seed': 0}
    """
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{before}{name}.")
        else:
            found[f"{before}{name}"] = value
    return found


def parent(settings: Config) -> tuple[str, Config]:
    """What a config is the difference from, and what that is called.

    A run keeps what its config resolved to and not what it extended; that is looked up
    among the kit's own configs by the name. For others it is the defaults.
    """
    path = shipped("configs") / f"{settings.name}.yaml"
    if path.parent == shipped("configs") and path.is_file():
        extended = yaml.safe_load(path.read_text(encoding="utf-8")).get("extends")
        if extended:
            return str(extended), config.load(path.parent / extended)
    return "the defaults", Config(name=settings.name)
