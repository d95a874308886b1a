"""Cheap checks of arguments, made before heavy modules are imported."""

from collections.abc import Sequence
from pathlib import Path

from kaggle_kit.errors import KitError
from kaggle_kit.storage.folders import require_complete


def require_one(options: str, given: Sequence[str]) -> None:
    """Check that exactly one of several options was given.

    Args:
        options: all of them, for the error message.
        given: the names of those that were given.

    Raises:
        KitError: none or more than one was given.
    """
    if len(given) != 1:
        got = " and ".join(f"--{name}" for name in given) or "none"
        raise KitError(
            f"options: expected one of {options}, got {got}; give exactly one"
        )


def require(path: Path, what: str, command: str) -> None:
    """Check that a folder has the file that identifies its kind.

    Args:
        path: the file in the folder.
        what: the kind of folder, for the error message.
        command: the command that makes such a folder.

    Raises:
        KitError: there is no such file.
    """
    require_complete(path.parent)
    if not path.exists():
        raise KitError(
            f"{path.parent}: expected {what}, found no {path.name}; make it with "
            f"kaggle-kit {command}"
        )


def require_bundle(folder: Path) -> None:
    """Check that a folder is a bundle."""
    require(folder / "kit-manifest.json", "a bundle", "bundle")


def require_runs(folders: Sequence[Path]) -> None:
    """Check that each folder is a run."""
    for folder in folders:
        require(folder / "config.json", "a run", "train")
