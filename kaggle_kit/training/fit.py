"""Train a network from shards, into a run folder that can be picked up again."""

import logging
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras

from kaggle_kit import config, tables
from kaggle_kit.config import Config
from kaggle_kit.data.shards import read_manifest
from kaggle_kit.errors import ArtefactError, ConfigError
from kaggle_kit.model.build import classifier
from kaggle_kit.model.pretrained import load_weights
from kaggle_kit.progress import progress
from kaggle_kit.tables import Class
from kaggle_kit.training.history import History, best_epoch, expected_seconds, finished
from kaggle_kit.training.recipe import (
    Photos,
    class_weights,
    compile_for,
    input_size,
    reseed,
)
from kaggle_kit.training.runs import (
    WEIGHTS,
    checkpoint_path,
    open_run,
    read_history,
    read_run,
    save,
    write_history,
)

logger = logging.getLogger(__name__)
SLACK = 1.1  # an epoch may take so many times as long as those before it


def fit(
    settings: Config,
    shards_dir: Path,
    run_dir: Path,
    resume: bool = False,
    stop_at: float = math.inf,
) -> dict[str, Any]:
    """Train until the epochs are over or the monitor stops improving.

    The run folder holds ``config.json``, ``classes.csv``, ``subset.csv``,
    ``environment.json`` (versions, commit, machine), ``history.csv`` (a row an epoch),
    ``model.weights.h5`` and a checkpoint of the last epoch. The weights are of the epoch
    with the best monitor at the last image size reached, the last of equals; validated
    and kept are those of ``train.trained_share``. With no epochs there is nothing to
    train: the weights are those that the network begins with.

    Args:
        shards_dir: the folder of the shards; where nothing is left to train the subset's
            will do.
        resume: go on with the run that ``run_dir`` holds, if it does: after its last
            whole epoch, with the optimiser's state and the photos in the order they would
            have had.
        stop_at: a time of ``time.monotonic``. No epoch is begun that is not expected to
            end by then, and one that is still at its training batches then is given up;
            the run can be resumed either way.

    Returns:
        finished (False if it was stopped by the clock), epochs (whole ones, of all times)
        and of how many, best_epoch, the monitor's best value, minutes (of all epochs).

    Raises:
        ConfigError: settings that differ from those of the shards or the earlier run, or
            with which the loss is not finite.
        ArtefactError: there is a run already and ``resume`` is False, or it is damaged.
    """
    shards_dir, run_dir = Path(shards_dir), Path(run_dir)
    keras.utils.set_random_seed(settings.seed)
    trained = finished(read_history(run_dir), settings)
    manifest = None if trained else _manifest(settings, shards_dir)
    history = open_run(settings, shards_dir, run_dir, resume)
    network = settings.model.backbone != "none"
    if not settings.train.epochs and network and not (run_dir / WEIGHTS).exists():
        save(_model_after(0, settings, run_dir).save_weights, run_dir / WEIGHTS)
    if manifest:
        photos = Photos(settings, shards_dir, manifest)
        _train(settings, photos, run_dir, history, stop_at)
    report = {
        "finished": finished(history, settings),
        "epochs": len(history),
        "of": settings.train.epochs,
    }
    if not history:
        return report
    best = best_epoch(history, settings)
    return report | {
        "best_epoch": best + 1,
        "best": {k: v for k, v in history[best].items() if k.startswith("val_")},
        "minutes": round(sum(row["seconds"] for row in history) / 60, 2),
    }


def load_best(run_dir: Path, settings: Config) -> keras.Model:
    """The network of a run at its best epoch, for photos of the sizes that settings have.

    Raises:
        ArtefactError: the folder holds no finished epoch, or weights that do not fit.
    """
    read_run(run_dir)
    n_classes = len(tables.read_classes(run_dir / "classes.csv"))
    model = classifier(settings.model, input_size(settings), n_classes)
    try:
        model.load_weights(run_dir / WEIGHTS)
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ArtefactError(
            f"{run_dir / WEIGHTS}: expected the weights of this config, got {reason}; "
            f"train again"
        ) from None
    return model


def _train(
    settings: Config,
    photos: Photos,
    run_dir: Path,
    history: History,
    stop_at: float,
) -> None:
    """Train the epochs that are left, or those there is time for; add to the history.

    Killed at any moment, the run is the one after its last epoch in ``history.csv``,
    whose checkpoint goes only when the next one counts.
    """
    classes = tables.read_classes(run_dir / "classes.csv")
    averaged = settings.train.trained_share < 1
    began = _model_after(0, settings, run_dir) if averaged else None
    model = _model_after(len(history), settings, run_dir)
    while not finished(history, settings):
        epoch = len(history)
        start = time.monotonic()
        if start + SLACK * expected_seconds(history, settings) >= stop_at:
            return
        if epoch in (0, settings.train.frozen_epochs):
            compile_for(model, settings, classes, photos.steps, epoch)
        reseed(model, settings.seed, epoch)
        batches, validation = photos.epoch(epoch)
        try:
            row = _train_epoch(model, batches, settings.train, classes, epoch, stop_at)
        except _OutOfTime:
            return
        with _averaged(model, began, settings.train.trained_share):
            row |= _validated(model, validation)
            row["learning_rate"] = float(model.optimizer.learning_rate)
            history.append(row)
            if best_epoch(history, settings) == epoch:
                save(model.save_weights, run_dir / WEIGHTS)
        save(model.save, checkpoint_path(run_dir, epoch + 1))
        row["seconds"] = round(time.monotonic() - start, 1)
        logger.info(", ".join(f"{k} {v:.4g}" for k, v in row.items()))
        write_history(history, run_dir)
        checkpoint_path(run_dir, epoch).unlink(missing_ok=True)


def _manifest(settings: Config, shards_dir: Path) -> dict[str, Any]:
    manifest = read_manifest(shards_dir)
    if manifest["stored_size"] != settings.data.stored_size:
        raise ConfigError(
            f"{shards_dir}: expected photos of data.stored_size "
            f"{settings.data.stored_size}, got {manifest['stored_size']}; make the shards "
            f"again"
        )
    return manifest


def _model_after(n_epochs: int, settings: Config, run_dir: Path) -> keras.Model:
    """The network: new, or compiled and as it was after so many epochs."""
    if n_epochs:
        path = checkpoint_path(run_dir, n_epochs)
        try:
            return keras.saving.load_model(path)
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ArtefactError(
                f"{path}: expected the checkpoint of epoch {n_epochs}, got {reason}; "
                f"train into another --run"
            ) from None
    n_classes = len(tables.read_classes(run_dir / "classes.csv"))
    earlier = keras.config.dtype_policy()
    if settings.train.mixed_precision:
        keras.config.set_dtype_policy("mixed_float16")
    try:
        model = classifier(settings.model, input_size(settings), n_classes)
    finally:
        keras.config.set_dtype_policy(earlier)
    if settings.model.weights:
        load_weights(model.get_layer("backbone"), settings.model.weights)
    return model


def _train_epoch(
    model: keras.Model,
    batches: Any,
    settings: config.Train,
    classes: Sequence[Class],
    epoch: int,
    stop_at: float,
) -> dict[str, Any]:
    """Train one epoch; return the row of the history that it begins."""
    label = f"epoch {epoch + 1}/{settings.epochs}"
    with progress(total=len(batches), label=label) as bar:
        result = model.fit(
            batches,
            class_weight=class_weights(settings, classes),
            verbose=0,
            callbacks=[_Progress(bar, stop_at)],
        )
    values = {name: round(values[0], 6) for name, values in result.history.items()}
    if not math.isfinite(values["loss"]):
        raise ConfigError(
            f"{label}: expected a finite loss, got {values['loss']}; lower "
            f"train.learning_rate or set train.clip_norm, and train into another --run"
        )
    return {"epoch": epoch + 1} | values


def _validated(model: keras.Model, validation: Any) -> dict[str, float]:
    """What the network makes of the validation photos, if there are any."""
    if validation is None:
        return {}
    values = model.evaluate(validation, verbose=0, return_dict=True)
    return {f"val_{name}": round(values[name], 6) for name in sorted(values)}


class _OutOfTime(Exception):
    """An epoch was still at its batches when the training had to stop."""


class _Progress(keras.callbacks.Callback):
    """Moves a progress bar with each batch, and looks at the clock."""

    def __init__(self, bar, stop_at):
        super().__init__()
        self.bar = bar
        self.stop_at = stop_at

    def on_train_batch_end(self, batch, logs=None):
        if time.monotonic() > self.stop_at:
            raise _OutOfTime
        self.bar.update()
        self.bar.set_postfix(loss=f"{logs['loss']:.3f}", refresh=False)


@contextmanager
def _averaged(
    model: keras.Model, began: keras.Model | None, share: float
) -> Iterator[None]:
    """For a while, the mean of the backbone's trained weights and those it began with.

    The mean of pretrained and fine-tuned weights recognises new photos better than
    either: Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022.
    """
    if began is None:
        yield
        return
    backbone = model.get_layer("backbone")
    trained = backbone.get_weights()
    pairs = zip(trained, began.get_layer("backbone").get_weights(), strict=True)
    backbone.set_weights([share * new + (1 - share) * old for new, old in pairs])
    try:
        yield
    finally:
        backbone.set_weights(trained)
