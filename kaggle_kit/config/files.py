"""Configs in files: YAML with ``extends``, JSON of a run, and single changes."""

import json
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pydantic

from kaggle_kit.config.names import no_setting
from kaggle_kit.config.schema import Config
from kaggle_kit.errors import ConfigError
from kaggle_kit.storage.files import shipped, written


def load(path: Path) -> Config:
    """Read a YAML config and those it extends.

    A name that is no file, such as ``configs/r50_64.yaml`` outside a checkout, is looked
    up among the configs that came with the kit.

    Raises:
        ConfigError: no such file, not YAML, an unknown setting, a value out of range.
    """
    path = Path(path)
    if not path.exists() and (shipped("configs") / path.name).exists():
        path = shipped("configs") / path.name
    try:
        return _resolve(_read_yaml(path, ()), str(path))
    except RecursionError:
        raise ConfigError(
            f"{path}: expected sections of settings, got one within itself"
        ) from None


def override(config: Config, settings: Mapping[str, Any]) -> Config:
    """A config with single settings replaced, by dotted name (``train.epochs``)."""
    values = config.model_dump()
    for name, value in settings.items():
        *sections, key = name.split(".")
        place: Any = values
        for section in sections:
            place = place.get(section) if isinstance(place, dict) else None
        if not isinstance(place, dict) or key not in place:
            raise ConfigError(no_setting(name))
        place[key] = value
    return _resolve(values, "--set")


def parse_setting(text: str) -> tuple[str, Any]:
    """Split ``train.epochs=3`` into its name and its value, read as YAML.

    Raises:
        ConfigError: there is no ``=``, or the value is not YAML.
    """
    import yaml  # not in the kernel, which reads config.json

    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--set: expected SETTING=VALUE, got {text!r}")
    try:
        return name.strip(), _parsed(value)
    except yaml.YAMLError:
        raise ConfigError(f"--set: expected a value after '=', got {text!r}") from None


def read_json(path: Path) -> Config:
    """Read the ``config.json`` of a run or bundle."""
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: expected a run's config, got {error}") from None
    return _resolve(values, str(path))


def write_json(config: Config, path: Path) -> None:
    """Write a config whole or not at all."""
    with written(path) as part:
        part.write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _read_yaml(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    import yaml  # not in the kernel, which reads config.json

    try:
        if path.resolve() in seen:
            raise ConfigError(f"{path}: expected an end to 'extends', got a circle")
        if path.exists() and not path.is_file():  # /dev/zero has no end
            raise ConfigError(f"{path}: expected YAML settings, got no plain file")
        values = _parsed(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        names = sorted(p.name for p in shipped("configs").glob("*.yaml"))
        raise ConfigError(
            f"{path}: expected a config, found no file; the kit has {', '.join(names)}"
        ) from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"{path}: expected YAML settings, got {reason}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected YAML settings, got {_shown(values)}")
    parent = values.pop("extends", None)
    if parent is None:
        return values
    if not isinstance(parent, str) or len(parent) > 255:
        raise ConfigError(
            f"{path}: extends: expected the name of another config, got "
            f"{_shown(parent)}"
        )
    return _merged(_read_yaml(path.parent / parent, (*seen, path.resolve())), values)


def _shown(value: Any) -> str:
    """A value as a complaint quotes it, however large it is."""
    return reprlib.repr(value)[:100]


def _parsed(text: str) -> Any:
    """A value in YAML, of its plain types alone.

    Raises:
        YAMLError: it is not YAML, or a key comes twice.
    """
    import yaml  # not in the kernel, which reads config.json

    class Loader(yaml.SafeLoader):
        """Refuses a key that comes twice."""

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            """A mapping, once its keys differ."""
            names = [key.value for key, _ in node.value]
            again = [name for name in names if names.count(name) > 1]
            if again:
                mark = node.start_mark
                raise yaml.MarkedYAMLError(
                    problem=f"{_shown(again[0])} twice", problem_mark=mark
                )
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(text, Loader)
    except (
        ValueError,
        LookupError,
        AttributeError,
        TypeError,
        RecursionError,
    ) as error:
        # PyYAML lets these through: of the date 2021-13-45, of !!bool x, of 5,000 digits
        raise yaml.YAMLError(f"no value of YAML's: {error!r:.100}") from error


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            value = _merged(old, value)
        merged[key] = value
    return merged


def _resolve(values: dict[str, Any], where: str) -> Config:
    try:
        return Config.model_validate(values)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))[:100]
        if first["type"] == "extra_forbidden":
            raise ConfigError(f"{where}: {no_setting(name)}") from None
        if first["type"] == "missing":
            raise ConfigError(f"{where}: expected the setting '{name}'") from None
        reason = first["msg"].removeprefix("Value error, ")
        reason = reason[0].lower() + reason[1:]
        if not name:  # settings that do not go together
            raise ConfigError(f"{where}: {reason}") from None
        raise ConfigError(
            f"{where}: {name}: {reason}, got {_shown(first['input'])}"
        ) from None
