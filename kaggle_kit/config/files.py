"""Read and write configs: YAML with ``extends``, the JSON of a run, ``--set``."""

import os
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pydantic

from kaggle_kit.config.names import no_setting
from kaggle_kit.config.schema import Config
from kaggle_kit.errors import ConfigError
from kaggle_kit.storage import json_files
from kaggle_kit.storage.files import atomic_write, package_path
from kaggle_kit.storage.regular_files import read_regular

MOST_EXTENDED = 20  # configs that extend each other in a row
LARGEST_JSON = 2**20  # bytes of the config of a run


def load(path: Path) -> Config:
    """Read a YAML config and the configs that it extends.

    A path that does not exist, such as ``configs/r50_64.yaml`` outside a checkout, is
    looked up by its file name among the configs of the kit; in ``extends``, too.

    Raises:
        ConfigError: the file is missing or not YAML, a setting is unknown, or a value is
            out of range.
    """
    path = _find(Path(path))
    try:
        return _resolve(_read_yaml(path, ()), str(path))
    except RecursionError:
        raise ConfigError(
            f"{path}: expected nested sections, got a section that contains itself; remove "
            f"the YAML alias"
        ) from None


def override(config: Config, settings: Mapping[str, Any]) -> Config:
    """A copy of a config with changed settings.

    Args:
        settings: new values by dotted name (``train.epochs``).

    Raises:
        ConfigError: a setting is unknown, or a value is out of range.
    """
    values = config.model_dump()
    for name, value in settings.items():
        *sections, key = name.split(".")
        owner: Any = values
        for section in sections:
            owner = owner.get(section) if isinstance(owner, dict) else None
        if not isinstance(owner, dict) or key not in owner:
            raise ConfigError(no_setting(name))
        owner[key] = value
    return _resolve(values, "--set")


def parse_setting(text: str) -> tuple[str, Any]:
    """Split ``train.epochs=3`` into the name and the value, which is parsed as YAML.

    Raises:
        ConfigError: ``=`` is missing, or the value is not YAML.
    """
    import yaml  # not in the kernel, which reads config.json

    from kaggle_kit.config.yaml_text import parse_yaml

    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--set: expected SETTING=VALUE, got {text!r}")
    try:
        return name.strip(), parse_yaml(value)
    except yaml.YAMLError:
        raise ConfigError(f"--set: expected a value after '=', got {text!r}") from None


def read_json(path: Path) -> Config:
    """Read the ``config.json`` of a run or bundle.

    Raises:
        ConfigError: the file is missing or damaged, or a setting is unknown or out of
            range.
    """
    try:
        values = json_files.read_json(Path(path), LARGEST_JSON)
    except json_files.DAMAGE as error:
        raise ConfigError(f"{path}: expected a run's config, got {error}") from None
    return _resolve(values, str(path))


def write_json(config: Config, path: Path) -> None:
    """Write a config atomically."""
    with atomic_write(path) as part:
        part.write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _read_yaml(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """Read a config and those that it extends.

    Args:
        seen: the configs that extend this one, the nearest last.
    """
    import yaml  # not in the kernel, which reads config.json

    from kaggle_kit.config.yaml_text import LARGEST_CONFIG, parse_yaml

    where = f"{seen[-1]}: extends: {path}" if seen else f"{path}"
    if len(seen) > MOST_EXTENDED:
        raise ConfigError(
            f"{where}: expected at most {MOST_EXTENDED} configs that extend each other, "
            f"got more; write them into one"
        )
    try:
        if path.resolve() in seen:
            raise ConfigError(
                f"{path}: extends: expected another config, got a cycle; remove one "
                f"'extends'"
            )
        content = read_regular(path, LARGEST_CONFIG)
        values = parse_yaml(content.decode("utf-8"))
    except FileNotFoundError:
        names = sorted(p.name for p in package_path("configs").glob("*.yaml"))
        raise ConfigError(
            f"{where}: expected a config, found no file; check the path, or choose one of "
            f"the kit's: {', '.join(names)}"
        ) from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"{where}: expected YAML settings, got {reason}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: expected YAML settings, got {_excerpt(values)}")
    parent = values.pop("extends", None)
    if parent is None:
        return values
    if not isinstance(parent, str) or len(parent) > 255:
        raise ConfigError(
            f"{path}: extends: expected the name of another config, got "
            f"{_excerpt(parent)}"
        )
    base = _find(path.parent / parent)
    return _merge(_read_yaml(base, (*seen, path.resolve())), values)


def _find(path: Path) -> Path:
    """The path of a config: as it is given, or else of that name among the kit's."""
    own = package_path("configs") / path.name
    return own if not os.path.exists(path) and os.path.isfile(own) else path


def _excerpt(value: Any) -> str:
    """An excerpt of a value, for error messages."""
    return reprlib.repr(value)[:100]


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Nested settings with changes; ``base`` is not modified."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            value = _merge(old, value)
        merged[key] = value
    return merged


def _resolve(values: dict[str, Any], where: str) -> Config:
    """Validate nested settings; report the first error in one line."""
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
        if not name:  # a rule between sections; the reason names the setting
            raise ConfigError(f"{where}: {reason}") from None
        raise ConfigError(
            f"{where}: {name}: {reason}, got {_excerpt(first['input'])}"
        ) from None
