"""Compare two configs, setting by setting."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import yaml

from kaggle_kit import config
from kaggle_kit.config import Config
from kaggle_kit.storage.files import package_path


class Difference(NamedTuple):
    """A setting and its two values; the value of a missing setting is None."""

    setting: str
    value: Any
    other: Any


def differences(settings: Config, other: Config) -> list[Difference]:
    """The settings that differ, except ``name``."""
    new, old = flatten(settings.model_dump()), flatten(other.model_dump())
    names = [*new, *(name for name in old if name not in new)]
    return [
        Difference(name, new.get(name), old.get(name))
        for name in names
        if name != "name" and new.get(name) != old.get(name)
    ]


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested settings to dotted names.

    >>> flatten({"train": {"epochs": 3}, "seed": 0})
    {'train.epochs': 3, 'seed': 0}
    """
    settings: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            settings |= flatten(value, f"{prefix}{name}.")
        else:
            settings[f"{prefix}{name}"] = value
    return settings


def parent(settings: Config) -> tuple[str, Config]:
    """The config that a config extends, preceded by its name.

    A run stores the resolved config without ``extends``, so the parent is looked up by the
    config's name among the configs of the kit. For other configs it is the defaults.
    """
    path = package_path("configs") / f"{settings.name}.yaml"
    if path.parent == package_path("configs") and path.is_file():
        extended = yaml.safe_load(path.read_text(encoding="utf-8")).get("extends")
        if extended:
            return str(extended), config.load(path.parent / extended)
    return "the defaults", Config(name=settings.name)
