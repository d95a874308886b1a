"""Checks of arguments that cost nothing, before anything heavy is imported."""

from collections.abc import Sequence
from pathlib import Path

from kaggle_kit.errors import KitError


def require_one(options: str, given: Sequence[str]) -> None:
    """Refuse options of which there must be one, unless there is."""
    if len(given) != 1:
        got = " and ".join(f"--{name}" for name in given) or "none of them"
        raise KitError(f"expected one of {options}, got {got}")


def require(path: Path, what: str, command: str) -> None:
    """Refuse a folder of another kind, and say which command makes the right one."""
    if not path.exists():
        raise KitError(
            f"{path.parent}: expected {what}, found no {path.name}; make it with "
            f"kaggle-kit {command}"
        )


def require_bundle(folder: Path) -> None:
    """Refuse a folder that is no bundle."""
    require(folder / "kit-manifest.json", "a bundle", "bundle")


def require_runs(folders: Sequence[Path]) -> None:
    """Refuse folders of which one is no run."""
    for folder in folders:
        require(folder / "config.json", "a run", "train")
