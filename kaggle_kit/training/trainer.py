"""Train a network from shards, into a run directory from which it can be resumed."""

import logging
import math
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kaggle_kit.config import Config
from kaggle_kit.data.datasets import Photos
from kaggle_kit.data.shards import read_manifest
from kaggle_kit.errors import ConfigError
from kaggle_kit.progress import progress
from kaggle_kit.storage.files import full_disk_told, locked
from kaggle_kit.training.checkpoint import EpochProgress
from kaggle_kit.training.distribute import Workers, find_workers, scale_settings
from kaggle_kit.training.network import (
    average_backbone,
    build_network,
    compile_for,
    reseed_dropout,
)
from kaggle_kit.training.result import TrainingResult
from kaggle_kit.training.run_directory import (
    History,
    RunDirectory,
    best_epoch,
    is_finished,
)
from kaggle_kit.training.train_step import TrainStep, metrics

logger = logging.getLogger(__name__)


def train(
    settings: Config,
    shards_dir: Path,
    run_dir: Path,
    resume: bool = False,
    stop_at: float = math.inf,
) -> TrainingResult:
    """Train until the epochs are over or the monitor stops improving.

    On one device, all GPUs of this host, or all hosts of ``TF_CONFIG``: see
    ``training.distribute``. The weights that are saved are of the epoch with the best
    monitor at the last image size, the last of equals; with ``train.trained_share`` below
    1 they are averaged first. With no epochs the initial weights are saved.

    Args:
        shards_dir: the shards; where nothing is left to train, the subset suffices.
        resume: continue the run in ``run_dir``, if there is one, from its last checkpoint,
            which within an epoch is written every ``train.checkpoint_minutes``. The result
            is bit by bit that of a training without interruption.
        stop_at: a time of ``time.monotonic``; no batch begins after it, and the training
            can be resumed there.

    Raises:
        ConfigError: the settings differ from those of the shards or of the run, or the
            loss is not finite.
        ArtefactError: there is a run and ``resume`` is False, or the run or a shard is
            damaged, or another process trains the run.
        DataError: the disk is full.
        KitError: another host is lost.
    """
    workers = find_workers()
    settings = scale_settings(settings, workers.n_devices)
    keras.utils.set_random_seed(settings.seed)
    run = RunDirectory(run_dir)
    lock = locked(run.path) if workers.is_chief else nullcontext()
    with workers.report_lost_host(), lock, full_disk_told(run.path):
        trainer = Trainer(settings, Path(shards_dir), run, workers, stop_at)
        return trainer.train(resume)


class Trainer:
    """One training: opens or resumes a run, trains its epochs and saves them."""

    data: Photos
    network: keras.Model
    step: TrainStep

    def __init__(
        self,
        settings: Config,
        shards_dir: Path,
        run: RunDirectory,
        workers: Workers,
        stop_at: float,
    ):
        self.settings = settings
        self.shards_dir = shards_dir
        self.run = run
        self.workers = workers
        self.stop_at = stop_at
        self.history: History = run.read_history()
        self.progress = EpochProgress(len(self.history))
        self.initial_backbone: list[NDArray[Any]] | None = None

    def train(self, resume: bool) -> TrainingResult:
        """Open the run, and train what is left of it."""
        if is_finished(self.history, self.settings):
            self.open_run(resume)
            self.save_untrained()
        else:
            manifest = self.read_shards()
            self.open_run(resume)
            share = self.workers.batch_share
            self.data = Photos(self.settings, self.shards_dir, manifest, share)
            self.load_state()
            self.train_epochs()
        self.workers.wait()  # until the chief has written everything
        return self.result()

    def read_shards(self) -> dict[str, Any]:
        """The manifest of the shards, once they are of the size in the settings."""
        manifest = read_manifest(self.shards_dir)
        if manifest["stored_size"] != self.settings.data.stored_size:
            raise ConfigError(
                f"{self.shards_dir}: expected photos of data.stored_size "
                f"{self.settings.data.stored_size}, got {manifest['stored_size']}; make "
                f"the shards again"
            )
        return manifest

    def open_run(self, resume: bool) -> None:
        """Create the run directory, or check that its run can be resumed."""
        if self.workers.is_chief:
            self.run.open(self.settings, self.shards_dir, resume)
        self.workers.wait()  # the other hosts need the directory

    def save_untrained(self) -> None:
        """Where there are no epochs to train, save the network as it is built."""
        has_network = self.settings.model.backbone != "none"
        untrained = has_network and not self.settings.train.epochs
        if untrained and not self.run.weights_path.exists():
            network = self.build_network()
            if self.workers.is_chief:
                self.run.save_weights(network)

    def load_state(self) -> None:
        """Build the network and its training step, and load their newest checkpoint."""
        if self.settings.train.trained_share < 1:
            backbone = self.build_network().get_layer("backbone")
            self.initial_backbone = backbone.get_weights()
        self.network = self.build_network()
        self.progress = self.run.read_progress()
        epoch, n_batches = self.progress.epoch, self.progress.n_batches
        # between epochs the checkpoint is of the phase that the epoch before was in
        self.start_phase(epoch if n_batches else max(0, epoch - 1))
        self.run.load_state(self.progress, self.step.variables)
        self.workers.require_same(epoch, n_batches)

    def build_network(self) -> keras.Model:
        """The network as it is before training."""
        return build_network(self.settings, len(self.run.read_classes()), self.workers)

    def start_phase(self, epoch: int) -> None:
        """Create the optimizer and the training step for the phase of an epoch."""
        classes = self.run.read_classes()
        # nothing is saved in this scope: that would block until all hosts save
        with self.workers.strategy.scope():
            compile_for(self.network, self.settings, classes, self.data.steps, epoch)
            self.step = TrainStep(self.network, self.settings, classes, self.workers)

    def train_epochs(self) -> None:
        """Train, validate and save one epoch after the other.

        A process that is killed leaves the run as it was after the last epoch in
        ``history.csv``, or at a checkpoint within the next one.
        """
        while not is_finished(self.history, self.settings):
            start = time.monotonic() - self.progress.seconds
            if not self.progress.n_batches:
                self.start_epoch()
            epoch, n_batches = self.progress.epoch, self.progress.n_batches
            batches, validation = self.data.epoch(epoch, n_batches)
            if not self.train_batches(batches, start):
                return
            row = self.validate_epoch(validation)
            row["seconds"] = round(time.monotonic() - start, 1)
            logger.info(", ".join(f"{k} {v:.4g}" for k, v in row.items()))
            if self.workers.is_chief:
                self.run.save_epoch(self.history, self.step.variables)
            self.progress = EpochProgress(epoch + 1)

    def start_epoch(self) -> None:
        """Begin a new phase where the frozen epochs end; reseed dropout."""
        epoch = self.progress.epoch
        if epoch and epoch == self.settings.train.frozen_epochs:
            self.start_phase(epoch)
        reseed_dropout(self.network, self.settings.seed, epoch)

    def train_batches(self, batches: tf.data.Dataset, start: float) -> bool:
        """Train on the remaining batches of the epoch; False if the time is up first.

        Args:
            start: when the epoch began, by ``time.monotonic``, without interruptions.
        """
        epoch, n_steps = self.progress.epoch, self.data.steps
        frozen = self.settings.train.frozen_epochs
        phase = frozen if epoch >= frozen else 0  # the epoch in which the phase began
        saved = time.monotonic()
        remaining = self.workers.batches(batches)
        label = f"epoch {epoch + 1}/{self.settings.train.epochs}"
        with progress(total=n_steps, label=label) as bar:
            bar.update(self.progress.n_batches)
            while self.progress.n_batches < n_steps:
                if self.is_time_up():
                    if self.progress.n_batches:
                        self.save_progress()
                    return False
                number = (epoch - phase) * n_steps + self.progress.n_batches
                self.progress.sums += self.step.train(next(remaining), number)
                self.progress.n_batches += 1
                now = time.monotonic()
                self.progress.seconds = now - start
                bar.update()
                loss = metrics(self.progress.sums)["loss"]
                bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
                due = now - saved >= 60 * self.settings.train.checkpoint_minutes
                if due and self.progress.n_batches < n_steps:
                    self.save_progress()
                    saved = now
        if not math.isfinite(loss):
            raise ConfigError(
                f"{label}: expected a finite loss, got {loss}; lower train.learning_rate "
                f"or set train.clip_norm, and train into another --run"
            )
        return True

    def is_time_up(self) -> bool:
        """Whether the time is up on any host; all of them stop at the same batch."""
        if math.isinf(self.stop_at):
            return False
        return bool(self.workers.gather(time.monotonic() >= self.stop_at).any())

    def save_progress(self) -> None:
        """Save the state within the epoch."""
        if self.workers.is_chief:
            self.run.save_progress(self.progress, self.step.variables)

    def validate_epoch(self, batches: tf.data.Dataset | None) -> dict[str, float]:
        """Add a row to the history, and save the weights if they are the best so far."""
        row = {"epoch": self.progress.epoch + 1} | metrics(self.progress.sums)
        share = self.settings.train.trained_share
        with average_backbone(self.network, self.initial_backbone, share):
            row |= self.validate(batches)
            row["learning_rate"] = float(self.network.optimizer.learning_rate)
            self.history.append(row)
            is_best = best_epoch(self.history, self.settings) == self.progress.epoch
            if is_best and self.workers.is_chief:
                self.run.save_weights(self.network)
        return row

    def validate(self, batches: tf.data.Dataset | None) -> dict[str, float]:
        """The metrics on the validation photos, if there are any."""
        if batches is None:
            return {}
        sums = np.zeros(3)
        for batch in self.workers.batches(batches):
            sums += self.step.validate(batch)
        return {f"val_{name}": value for name, value in metrics(sums).items()}

    def result(self) -> TrainingResult:
        """How far the training is."""
        result = TrainingResult(
            finished=is_finished(self.history, self.settings),
            epochs=len(self.history),
            of=self.settings.train.epochs,
            steps=self.progress.n_batches,
        )
        if not self.history:
            return result
        best = best_epoch(self.history, self.settings)
        row = self.history[best]
        return replace(
            result,
            best_epoch=best + 1,
            best={k: v for k, v in row.items() if k.startswith("val_")},
            minutes=round(sum(row["seconds"] for row in self.history) / 60, 2),
        )
