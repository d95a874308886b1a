"""The run directory: everything a training leaves, and everything it resumes from.

``config.json``, ``classes.csv``, ``subset.csv``, ``non_landmarks.json`` (where the pools
come from), ``environment.json`` (versions, commit, machine), ``history.csv`` (one row per epoch), ``model.weights.h5`` (of the best epoch) and
checkpoints: ``checkpoint-0003.npz`` is the state after three epochs,
``checkpoint-0003-within.npz`` a state within the fourth. ``training.checkpoint`` has their
format. The command ``train`` adds ``learning_curves.png``.
"""

import math
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pandas as pd

from kaggle_kit import config
from kaggle_kit.config import Config, image_size
from kaggle_kit.data.non_landmarks import RECORD
from kaggle_kit.data.subset import same_split
from kaggle_kit.errors import ArtefactError, ConfigError
from kaggle_kit.frameworks import keras
from kaggle_kit.storage import tables
from kaggle_kit.storage.csv_files import write_rows
from kaggle_kit.storage.files import atomic_write, report_full_disk
from kaggle_kit.storage.folders import FolderKind, atomic_write_dir
from kaggle_kit.storage.json_files import json_text
from kaggle_kit.storage.locks import lock
from kaggle_kit.storage.tables import Class, Member
from kaggle_kit.training.checkpoint import (
    EpochProgress,
    load_checkpoint,
    read_progress,
    require_converged,
    write_checkpoint,
    write_whole,
)
from kaggle_kit.training.environment import read_environment
from kaggle_kit.training.history import read_history

CONFIG, WEIGHTS, HISTORY = "config.json", "model.weights.h5", "history.csv"
CLASSES, SUBSET, ENVIRONMENT = "classes.csv", "subset.csv", "environment.json"
# What a killed process leaves: no name that a user would choose.
LEFTOVER = re.compile(
    r"(part-)?checkpoint-\d{4,}(-within)?\.npz|part-model\.weights\.h5|.+\.kit\.(part|lock|soft)",
    re.ASCII,
)
RUN = FolderKind(CONFIG)  # a new one: the files of a run are written one by one

History = list[dict[str, float]]  # the rows of history.csv: one per whole epoch


class RunDirectory:
    """The files of one run: paths, tables, history, weights and checkpoints.

    Args:
        is_chief: whether this host writes; else the methods that write do nothing.
    """

    def __init__(self, path: Path, is_chief: bool = True):
        self.path = Path(path)
        self.is_chief = is_chief
        self.config_path = self.path / CONFIG
        self.weights_path = self.path / WEIGHTS
        self.history_path = self.path / HISTORY

    def checkpoint_path(self, n_epochs: int) -> Path:
        """The state after ``n_epochs`` whole epochs."""
        return self.path / f"checkpoint-{n_epochs:04d}.npz"

    def progress_path(self, n_epochs: int) -> Path:
        """The state within the epoch that follows ``n_epochs`` whole ones."""
        return self.path / f"checkpoint-{n_epochs:04d}-within.npz"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes from writing the run; report a full disk in one line.

        Raises:
            ArtefactError: another process writes it.
            DataError: the disk is full.
        """
        exclusive = lock(self.path) if self.is_chief else nullcontext()
        with exclusive, report_full_disk(self.path):
            yield

    def open(self, settings: Config, shards_dir: Path, resume: bool) -> None:
        """Create the run directory, or check that its run can be resumed.

        Args:
            shards_dir: the directory of ``classes.csv`` and ``subset.csv``.

        Raises:
            ConfigError: the run has other settings.
            ArtefactError: there is a run and ``resume`` is False, or it has other
                classes or another split, or the directory holds other files.
        """
        if not self.is_chief:
            return
        if self.config_path.exists():
            if not resume:
                raise ArtefactError(
                    f"{self.path}: expected a new directory, found a run; add --resume to "
                    f"resume it or choose another --run"
                )
            self._require_same(settings, shards_dir)
            self._take_over_pools(shards_dir)
            self._delete_leftovers()
            return
        if self.path.exists() and not RUN.is_replaceable(self.path):
            raise ArtefactError(
                f"{self.path}: expected a new or empty directory, found other files; "
                f"choose another --run"
            )
        with atomic_write_dir(self.path, RUN) as part:
            for name in (CLASSES, SUBSET, RECORD):
                if name != RECORD or (shards_dir / name).exists():
                    shutil.copyfile(shards_dir / name, part / name)
            text = json_text(read_environment())
            (part / ENVIRONMENT).write_text(text, encoding="utf-8")
            config.write_json(settings, part / CONFIG)

    def copy_from(self, earlier: Path) -> None:
        """Copy what is needed to resume another run, which may be read-only.

        A run that is here already is kept: it is the same one, further on.

        Raises:
            ArtefactError: the other directory holds no run, or lacks a file of it.
        """
        if self.config_path.exists():
            return
        source = RunDirectory(earlier)
        n_epochs = len(source.read_history())
        names = [CONFIG, CLASSES, SUBSET, ENVIRONMENT]
        if n_epochs:
            names += [HISTORY, WEIGHTS, source.checkpoint_path(n_epochs).name]
        if source.progress_path(n_epochs).is_file():
            names.append(source.progress_path(n_epochs).name)
        missing = [name for name in names if not (source.path / name).is_file()]
        if (source.path / RECORD).is_file():
            names.append(RECORD)
        if missing:
            raise ArtefactError(
                f"{source.path}: expected a run to resume, found no "
                f"{', '.join(missing)}; give the whole output of the earlier session, or "
                f"begin without it"
            )
        with atomic_write_dir(self.path, RUN) as part:
            for name in names:
                shutil.copyfile(source.path / name, part / name)  # without its mode

    def copy_split(self, folder: Path) -> list[Member]:
        """Copy ``classes.csv`` and ``subset.csv`` without its pools into a new folder.

        Returns:
            The rows that were copied: the images of landmarks.
        """
        folder.mkdir()
        shutil.copyfile(self.path / CLASSES, folder / CLASSES)
        members = tables.read_subset(self.path / SUBSET)
        members = [member for member in members if member.landmark_id is not None]
        write_rows(folder / SUBSET, ("id", "landmark_id", "split"), members)
        return members

    def read_classes(self) -> Sequence[Class]:
        """The classes of the run, in order."""
        return tables.read_classes(self.path / CLASSES)

    def read_history(self) -> History:
        """One row per whole epoch; none where there is no run yet.

        Raises:
            ArtefactError: it is not a table of numbers with a row for each epoch.
        """
        if not self.history_path.exists():
            return []
        rows = read_history(self.history_path).to_dict("records")
        return [{str(name): value for name, value in row.items()} for row in rows]

    def save_weights(self, network: keras.Model) -> None:
        """Write the network's weights as those of the best epoch.

        Raises:
            ConfigError: a weight is not finite; the file is unchanged.
        """
        for weight in network.weights:
            values = keras.ops.convert_to_numpy(weight)
            require_converged(self.weights_path, weight.path, values)
        if self.is_chief:
            write_whole(self.weights_path, network.save_weights)

    def save_epoch(self, history: History, variables: Sequence[Any]) -> None:
        """Save the state after the last epoch of ``history``, then the history.

        An epoch counts once it is in ``history.csv``. Only then are the checkpoints of
        the epoch before deleted.
        """
        if not self.is_chief:
            return
        n_epochs = len(history)
        write_checkpoint(self.checkpoint_path(n_epochs), variables)
        with atomic_write(self.history_path) as part:
            pd.DataFrame(history).to_csv(part, index=False)
        self.checkpoint_path(n_epochs - 1).unlink(missing_ok=True)
        self.progress_path(n_epochs - 1).unlink(missing_ok=True)

    def save_progress(self, progress: EpochProgress, variables: Sequence[Any]) -> None:
        """Save the state within an epoch, in place of the one saved before."""
        if self.is_chief:
            write_checkpoint(self.progress_path(progress.epoch), variables, progress)

    def read_progress(self) -> EpochProgress:
        """The epoch that the run continues with, and the progress within it.

        Raises:
            ArtefactError: the history or the checkpoint is damaged.
        """
        n_epochs = len(self.read_history())
        path = self.progress_path(n_epochs)
        return (
            read_progress(path, n_epochs) if path.exists() else EpochProgress(n_epochs)
        )

    def load_state(self, progress: EpochProgress, variables: Sequence[Any]) -> None:
        """Assign the state that belongs to ``progress``, unless that is the beginning.

        Raises:
            ArtefactError: the checkpoint is missing, damaged or of another network.
        """
        if progress.n_batches:
            load_checkpoint(self.progress_path(progress.epoch), variables)
        elif progress.epoch:
            load_checkpoint(self.checkpoint_path(progress.epoch), variables)

    def _delete_leftovers(self) -> None:
        """Delete the partial files and old checkpoints that a killed process left."""
        n_epochs = len(self.read_history())
        newest = {self.checkpoint_path(n_epochs), self.progress_path(n_epochs)}
        for path in set(self.path.iterdir()) - newest:
            if LEFTOVER.fullmatch(path.name):
                path.unlink()

    def _require_same(self, settings: Config, shards_dir: Path) -> None:
        earlier = config.read_json(self.config_path)
        new, old = (
            pd.json_normalize(c.model_dump()).iloc[0] for c in (settings, earlier)
        )
        for name in new.index.union(old.index):
            if str(new.get(name)) != str(old.get(name)):
                raise ConfigError(
                    f"{self.path}: expected {name}={old.get(name)} as in the run there, "
                    f"got {new.get(name)}; choose another --run or begin without the "
                    f"earlier run"
                )
        self.require_same_split(shards_dir)

    def require_same_split(self, folder: Path) -> None:
        """Check that the run, if there is one, began with the split in a folder.

        Args:
            folder: has ``classes.csv`` and ``subset.csv``.

        Raises:
            ArtefactError: its classes or its split are others.
        """
        if not self.config_path.exists():
            return
        path = folder / CLASSES
        if path.read_bytes() != (self.path / CLASSES).read_bytes():
            raise ArtefactError(
                f"{path}: expected the classes of the run in {self.path}, got others; use "
                f"the shards it began with or choose another --run"
            )
        path = folder / SUBSET
        if not same_split(path, self.path / SUBSET):
            raise ArtefactError(
                f"{path}: expected the split of the run in {self.path}, got another, in "
                f"which images it was trained on may be for validation; use the shards it "
                f"began with or choose another --run"
            )

    def _take_over_pools(self, shards_dir: Path) -> None:
        """Take over the pools of non-landmarks, which no training reads."""
        if (shards_dir / RECORD).exists():
            for name in (SUBSET, RECORD):
                with atomic_write(self.path / name) as part:
                    shutil.copyfile(shards_dir / name, part)


def read_run(run_dir: Path) -> Config:
    """The config of a trained run.

    Raises:
        ArtefactError: there is no run, or it lacks the weights of its network.
    """
    run = RunDirectory(run_dir)
    settings = config.read_json(run.config_path) if run.config_path.exists() else None
    if settings and (settings.model.backbone == "none" or run.weights_path.exists()):
        return settings
    raise ArtefactError(
        f"{run.path}: expected a trained run ({CONFIG}, {WEIGHTS}), found no weights; run "
        f"kaggle-kit train first"
    )


def best_epoch(history: History, settings: Config) -> int:
    """The index of the epoch with the best monitor at the last image size.

    Of equal values the last is the best; without a monitor it is the last epoch. A
    monitor at a smaller size does not show how good the network is at the last one.
    """
    last, monitor = len(history) - 1, settings.train.monitor
    if monitor not in history[last]:
        return last
    sign = -1 if monitor == "val_loss" else 1

    def rank(epoch: int) -> tuple[float, int]:
        value = sign * history[epoch][monitor]
        return value if math.isfinite(value) else -math.inf, epoch

    size = image_size(last, settings)
    same = [i for i in range(len(history)) if image_size(i, settings) == size]
    return max(same, key=rank)


def is_finished(history: History, settings: Config) -> bool:
    """Whether nothing is left to train after these epochs."""
    if not history:
        return not settings.train.epochs
    since_best = len(history) - 1 - best_epoch(history, settings)
    patience = settings.train.patience
    stale = patience is not None and since_best >= patience
    return stale or len(history) >= settings.train.epochs
