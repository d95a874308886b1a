"""Train a network from shards, into a run directory from which it can be resumed."""

import logging
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.config import Config
from kaggle_kit.data.datasets import TrainingImages
from kaggle_kit.data.shards_manifest import ShardsManifest, read_manifest
from kaggle_kit.errors import ConfigError
from kaggle_kit.frameworks import keras, tf
from kaggle_kit.limits import require_stop
from kaggle_kit.progress import progress
from kaggle_kit.training.checkpoint import EpochProgress
from kaggle_kit.training.distribute import Workers, find_workers, scale_settings
from kaggle_kit.training.network import Learner, average_backbone, build_network
from kaggle_kit.training.result import TrainingResult
from kaggle_kit.training.run_directory import (
    History,
    RunDirectory,
    best_epoch,
    is_finished,
)

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
        KitError: another host is lost, or ``stop_at`` is not a number.
    """
    require_stop(stop_at)
    workers = find_workers()
    settings = scale_settings(settings, workers.n_devices)
    keras.utils.set_random_seed(settings.seed)
    with workers.report_lost_host():
        run = RunDirectory(run_dir, workers.is_chief)
        with run.lock():
            trainer = Trainer(settings, Path(shards_dir), run, workers, stop_at)
            return trainer.train(resume)


class Trainer:
    """One training: opens or resumes a run, trains its epochs and saves them."""

    data: TrainingImages
    learner: Learner

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

    def train(self, resume: bool) -> TrainingResult:
        """Open the run, and train what is left of it."""
        if is_finished(self.history, self.settings):
            self.open_run(resume)
            self.save_untrained()
        else:
            manifest = self.read_shards()
            self.open_run(resume)
            self.load_state(manifest)
            self.train_epochs()
        result = self.result()
        self.workers.wait()  # until the chief has written everything
        return result

    def read_shards(self) -> ShardsManifest:
        """The manifest of the shards, once they are of the size in the settings."""
        manifest = read_manifest(self.shards_dir)
        if manifest.stored_size != self.settings.data.stored_size:
            raise ConfigError(
                f"{self.shards_dir}: expected images of data.stored_size "
                f"{self.settings.data.stored_size}, got {manifest.stored_size}; make "
                f"the shards again"
            )
        return manifest

    def open_run(self, resume: bool) -> None:
        """Create the run directory, or check that its run can be resumed."""
        self.run.open(self.settings, self.shards_dir, resume)
        self.workers.wait()  # the other hosts need the directory

    def save_untrained(self) -> None:
        """Where there are no epochs to train, save the network as it is built."""
        has_network = self.settings.model.backbone != "none"
        untrained = has_network and not self.settings.train.epochs
        if untrained and not self.run.weights_path.exists():
            n_classes = len(self.run.read_classes())
            network = build_network(self.settings, n_classes, self.workers)
            self.run.save_weights(network)

    def load_state(self, manifest: ShardsManifest) -> None:
        """Set up the data and the network, and load the newest checkpoint."""
        classes = self.run.read_classes()
        self.progress = self.run.read_progress()
        epoch, n_batches = self.progress.epoch, self.progress.n_batches
        self.workers.require_same(epoch, n_batches)
        share = self.workers.batch_share
        self.data = TrainingImages(self.settings, self.shards_dir, manifest, share)
        # between epochs the checkpoint is of the phase that the epoch before was in
        phase = epoch if n_batches else max(0, epoch - 1)
        self.learner = Learner(
            self.settings, classes, self.data.steps, self.workers, phase
        )
        self.run.load_state(self.progress, self.learner.step.variables)

    def train_epochs(self) -> None:
        """Train, validate and save one epoch after the other.

        A process that is killed leaves the run as it was after the last epoch in
        ``history.csv``, or at a checkpoint within the next one.
        """
        while not is_finished(self.history, self.settings):
            epoch, n_batches = self.progress.epoch, self.progress.n_batches
            start = time.monotonic() - self.progress.seconds
            if not n_batches:
                self.learner.start_epoch(epoch)
            batches, validation = self.data.epoch(epoch, n_batches)
            if not self.train_batches(batches, start):
                return
            row = self.validate_epoch(validation)
            row["seconds"] = round(time.monotonic() - start, 1)
            logger.info(", ".join(f"{k} {v:.4g}" for k, v in row.items()))
            self.run.save_epoch(self.history, self.learner.step.variables)
            self.progress = EpochProgress(epoch + 1)

    def train_batches(self, batches: tf.data.Dataset, start: float) -> bool:
        """Train on the remaining batches of the epoch; False if the time is up first.

        Args:
            start: when the epoch began, by ``time.monotonic``, without interruptions.
        """
        epoch, n_steps = self.progress.epoch, self.data.steps
        saved = time.monotonic()
        steps = self.learner.train(batches, epoch, self.progress.n_batches)
        label = f"epoch {epoch + 1}/{self.settings.train.epochs}"
        with progress(total=n_steps, label=label) as bar:
            bar.update(self.progress.n_batches)
            while self.progress.n_batches < n_steps:
                if self.is_time_up():
                    if self.progress.n_batches:
                        self.save_progress()
                    return False
                self.progress.sums += next(steps)
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
        self.run.save_progress(self.progress, self.learner.step.variables)

    def validate_epoch(self, batches: tf.data.Dataset | None) -> dict[str, float]:
        """Add a row to the history, and save the weights if they are the best so far."""
        row = {"epoch": self.progress.epoch + 1} | metrics(self.progress.sums)
        share = self.settings.train.trained_share
        network = self.learner.network
        with average_backbone(network, self.learner.initial_backbone, share):
            row |= self.validate(batches)
            row["learning_rate"] = float(network.optimizer.learning_rate)
            self.history.append(row)
            if best_epoch(self.history, self.settings) == self.progress.epoch:
                self.run.save_weights(network)
        return row

    def validate(self, batches: tf.data.Dataset | None) -> dict[str, float]:
        """The metrics on the validation images, if there are any."""
        if batches is None:
            return {}
        values = metrics(self.learner.validate(batches))
        return {f"val_{name}": value for name, value in values.items()}

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


def metrics(sums: NDArray[np.float64]) -> dict[str, float]:
    """Accuracy and mean loss, from sums that a ``TrainStep`` returned."""
    loss, correct, n_images = sums
    return {
        "accuracy": round(float(correct / n_images), 6),
        "loss": round(float(loss / n_images), 6),
    }
