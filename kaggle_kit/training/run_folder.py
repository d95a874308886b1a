"""A run: the folder that a training leaves, and from which it is gone on with."""

import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd

import kaggle_kit
from kaggle_kit import config
from kaggle_kit.config import Config
from kaggle_kit.errors import ArtefactError, ConfigError
from kaggle_kit.storage.files import atomic_write, atomic_write_dir
from kaggle_kit.storage.json_files import json_text

CONFIG, WEIGHTS, HISTORY = "config.json", "model.weights.h5", "history.csv"
TABLES, ENVIRONMENT = ("classes.csv", "subset.csv"), "environment.json"
PACKAGES = ("tensorflow", "keras", "keras-cv", "numpy", "pandas")


def read_run(run_dir: Path) -> Config:
    """The config of a run, once it is clear that it has been trained.

    Raises:
        ArtefactError: the folder holds no finished epoch of the network it needs.
    """
    run_dir = Path(run_dir)
    path = run_dir / CONFIG
    settings = config.read_json(path) if path.exists() else None
    if settings and (settings.model.backbone == "none" or (run_dir / WEIGHTS).exists()):
        return settings
    raise ArtefactError(
        f"{run_dir}: expected a trained run ({CONFIG}, {WEIGHTS}), found no weights; run "
        f"kaggle-kit train first"
    )


def open_run(
    settings: Config, shards_dir: Path, run_dir: Path, resume: bool
) -> list[dict[str, Any]]:
    """Make the run folder, or find the history of the one that is there.

    Args:
        shards_dir: where ``classes.csv`` and ``subset.csv`` are.

    Returns:
        A row for each whole epoch.

    Raises:
        ConfigError: the run that is there has other settings.
        ArtefactError: there is a run and ``resume`` is False, or it has other classes, or
            the folder holds other files.
    """
    if (run_dir / CONFIG).exists():
        if not resume:
            raise ArtefactError(
                f"{run_dir}: expected a new folder, found a run; add --resume to go on "
                f"with it or choose another --run"
            )
        _require_same(settings, config.read_json(run_dir / CONFIG), run_dir)
        _require_same_file(shards_dir / "classes.csv", run_dir / "classes.csv")
        history = read_history(run_dir)
        _clear(run_dir, len(history))
        return history
    if run_dir.exists() and any(run_dir.iterdir()):
        raise ArtefactError(
            f"{run_dir}: expected a new or empty folder, found other files; choose "
            f"another --run"
        )
    with atomic_write_dir(run_dir, CONFIG) as part:
        for name in TABLES:
            shutil.copyfile(shards_dir / name, part / name)
        text = json_text(environment())
        (part / ENVIRONMENT).write_text(text, encoding="utf-8")
        config.write_json(settings, part / CONFIG)
    return []


def copy_run(earlier: Path, run_dir: Path) -> None:
    """Begin ``run_dir`` as a copy of what is needed to go on with an earlier run.

    The earlier one may be read-only and is left as it is. A run that ``run_dir`` holds
    already is kept: it is the same one, further on.

    Raises:
        ArtefactError: the earlier folder holds no run, or lacks a file of it.
    """
    earlier, run_dir = Path(earlier), Path(run_dir)
    if (run_dir / CONFIG).exists():
        return
    n_epochs = len(read_history(earlier))
    names = [CONFIG, *TABLES, ENVIRONMENT]
    if n_epochs:
        names += [HISTORY, WEIGHTS, checkpoint_path(earlier, n_epochs).name]
    within = within_path(earlier, n_epochs)
    if within.is_file():
        names.append(within.name)
    missing = [name for name in names if not (earlier / name).is_file()]
    if missing:
        raise ArtefactError(
            f"{earlier}: expected a run to go on with, found no {', '.join(missing)}; "
            f"give the whole output of the earlier session, or begin without it"
        )
    with atomic_write_dir(run_dir, CONFIG) as part:
        for name in names:
            shutil.copyfile(earlier / name, part / name)  # not its mode: read-only


def read_history(run_dir: Path) -> list[dict[str, Any]]:
    """A row for each whole epoch of a run; none where there is no run yet.

    Raises:
        ArtefactError: it is not a table of numbers with a row for each epoch.
    """
    path = Path(run_dir) / HISTORY
    if not path.exists():
        return []
    try:
        table = pd.read_csv(path)
        if "epoch" not in table or (table["epoch"] != range(1, len(table) + 1)).any():
            raise ValueError("no row for each epoch, from 1 on")
        table.astype(float)
    except (OSError, ValueError, TypeError) as error:  # ValueError: pandas' own too
        raise ArtefactError(
            f"{path}: expected the history of a training, got {str(error)!r:.200}; train "
            f"into another --run"
        ) from None
    rows = table.to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]


def write_history(history: list[dict[str, Any]], run_dir: Path) -> None:
    """Write the history whole or not at all. An epoch counts once it is in there."""
    with atomic_write(run_dir / HISTORY) as part:
        pd.DataFrame(history).to_csv(part, index=False)


def checkpoint_path(run_dir: Path, n_epochs: int) -> Path:
    """Where the state of the training after so many whole epochs lies."""
    return run_dir / f"checkpoint-{n_epochs:04d}.npz"


def within_path(run_dir: Path, n_epochs: int) -> Path:
    """Where the state within the next epoch lies, after so many whole ones."""
    return run_dir / f"checkpoint-{n_epochs:04d}-within.npz"


def save(saver: Callable[[Path], Any], path: Path) -> None:
    """Write a file with a Keras saver, whole or not at all; Keras goes by its ending."""
    part = path.with_name(f"part-{path.name}")
    try:
        saver(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def environment() -> dict[str, Any]:
    """What a run's result depends on beside its config: versions, commit, machine."""
    here = Path(kaggle_kit.__file__).parent
    git = shutil.which("git")
    commit = None
    if git and (here.parent / ".git").exists():
        command = [git, "-C", str(here.parent), "rev-parse", "HEAD"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        commit = done.stdout.strip() or None
    return {
        "kaggle_kit": kaggle_kit.__version__,
        "commit": commit,
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "machine": platform.machine(),
        "cores": os.cpu_count(),
    }


def _clear(run_dir: Path, n_epochs: int) -> None:
    """Remove what a killed training left: half-written files, other checkpoints."""
    newest = {checkpoint_path(run_dir, n_epochs), within_path(run_dir, n_epochs)}
    for pattern in ("part-*", "*.part", "*.kit.lock", "checkpoint-*"):
        for path in set(run_dir.glob(pattern)) - newest:
            path.unlink()


def _require_same(settings: Config, earlier: Config, run_dir: Path) -> None:
    new, old = (pd.json_normalize(c.model_dump()).iloc[0] for c in (settings, earlier))
    for name in new.index.union(old.index):
        if str(new.get(name)) != str(old.get(name)):
            raise ConfigError(
                f"{run_dir}: expected the settings of the run that is there, got "
                f"{name}={new.get(name)} for {old.get(name)}; choose another --run or "
                f"begin without the earlier one"
            )


def _require_same_file(new: Path, old: Path) -> None:
    if new.read_bytes() != old.read_bytes():
        raise ArtefactError(
            f"{new}: expected the classes of the run in {old.parent}, got others; use "
            f"the shards it began with or choose another --run"
        )
