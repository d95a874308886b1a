"""Train a network from shards, into a run folder that can be picked up again."""

import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import keras

from kaggle_kit.config import Config, input_size
from kaggle_kit.data.datasets import Photos
from kaggle_kit.data.shards import ShardsManifest, read_manifest
from kaggle_kit.errors import ArtefactError, ConfigError
from kaggle_kit.model.classifier import classifier
from kaggle_kit.model.pretrained import load_weights
from kaggle_kit.storage import tables
from kaggle_kit.storage.files import lock, report_full_disk
from kaggle_kit.training.checkpoint import load_state, save_state
from kaggle_kit.training.distribute import Workers, per_device, synchronise, workers
from kaggle_kit.training.epoch import Place, load_within, train_epoch, validated
from kaggle_kit.training.history import History, best_epoch, finished
from kaggle_kit.training.optimizer import compile_for, reseed
from kaggle_kit.training.run_folder import (
    WEIGHTS,
    checkpoint_path,
    open_run,
    read_history,
    read_run,
    save,
    within_path,
    write_history,
)
from kaggle_kit.training.train_step import Step

logger = logging.getLogger(__name__)


def fit(
    settings: Config,
    shards_dir: Path,
    run_dir: Path,
    resume: bool = False,
    stop_at: float = math.inf,
) -> dict[str, Any]:
    """Train until the epochs are over or the monitor stops improving.

    On one device, all GPUs of this host, or all hosts of ``TF_CONFIG``: how these are
    started and what is shared out is said in ``training.distribute``.

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
            checkpoint, which within an epoch is written every
            ``train.checkpoint_minutes``, bit by bit as if it had not stopped.
        stop_at: a time of ``time.monotonic``. No batch is begun after it; the run can be
            resumed there.

    Returns:
        finished (False if it was stopped by the clock), epochs (whole ones, of all times)
        and of how many, steps (batches of an epoch that is not over), best_epoch, the
        monitor's best value, minutes (of all epochs).

    Raises:
        ConfigError: settings that differ from those of the shards or the earlier run, or
            with which the loss is not finite.
        ArtefactError: there is a run already and ``resume`` is False, or it is damaged, or
            another process trains it.
        DataError: the disk is full.
        KitError: another host is gone.
    """
    shards_dir, run_dir = Path(shards_dir), Path(run_dir)
    team = workers()
    settings = per_device(settings, team.n_devices)
    keras.utils.set_random_seed(settings.seed)
    mine = lock(run_dir) if team.chief else nullcontext()
    with team.together(), mine, report_full_disk(run_dir):
        return _fit(settings, shards_dir, run_dir, resume, stop_at, team)


def _fit(
    settings: Config,
    shards_dir: Path,
    run_dir: Path,
    resume: bool,
    stop_at: float,
    team: Workers,
) -> dict[str, Any]:
    trained = finished(read_history(run_dir), settings)
    manifest = None if trained else _manifest(settings, shards_dir)
    if team.chief:
        open_run(settings, shards_dir, run_dir, resume)
    team.wait()  # others begin when the folder is there
    history = read_history(run_dir)
    network = settings.model.backbone != "none"
    if not settings.train.epochs and network and not (run_dir / WEIGHTS).exists():
        first = _network(settings, run_dir, team)
        if team.chief:
            save(first.save_weights, run_dir / WEIGHTS)
    steps = 0
    if manifest:
        photos = Photos(settings, shards_dir, manifest, team.part)
        steps = _train(settings, photos, run_dir, history, stop_at, team)
        team.wait()  # nobody leaves before the chief has written all
    report = {
        "finished": finished(history, settings),
        "epochs": len(history),
        "of": settings.train.epochs,
        "steps": steps,
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
    team: Workers,
) -> int:
    """Train what is left, or what there is time for; add whole epochs to the history.

    Killed at any moment, the run is the one after its last epoch in ``history.csv``, or
    further, within the next one: the checkpoints of an epoch go only when the next counts.

    Returns:
        How many steps of an unfinished epoch are done.
    """
    averaged = settings.train.trained_share < 1
    began = _network(settings, run_dir, team) if averaged else None
    model = _network(settings, run_dir, team)
    step, place = _begun(model, settings, photos, run_dir, len(history), team)
    while not finished(history, settings):
        epoch, start = len(history), time.monotonic() - place.seconds
        if not place.done:
            if epoch and epoch == settings.train.frozen_epochs:
                step = _step(model, settings, photos, run_dir, epoch, team)
            reseed(model, settings.seed, epoch)
        batches, validation = photos.epoch(epoch, place.done)
        if not train_epoch(
            step, batches, place, photos.steps, settings.train, run_dir, team, stop_at
        ):
            return place.done
        row = {"epoch": epoch + 1} | place.values()
        with _averaged(model, began, settings.train.trained_share):
            row |= validated(step, validation and team.batches(validation))
            row["learning_rate"] = float(model.optimizer.learning_rate)
            history.append(row)
            if best_epoch(history, settings) == epoch and team.chief:
                save(model.save_weights, run_dir / WEIGHTS)
        row["seconds"] = round(time.monotonic() - start, 1)
        logger.info(", ".join(f"{k} {v:.4g}" for k, v in row.items()))
        if team.chief:
            _keep(history, run_dir, step)
        place = Place(epoch + 1)
    return 0


def _begun(
    model: keras.Model,
    settings: Config,
    photos: Photos,
    run_dir: Path,
    epoch: int,
    team: Workers,
) -> tuple[Step, Place]:
    """A training as its newest checkpoint has it, or at its beginning."""
    if within_path(run_dir, epoch).exists():
        step = _step(model, settings, photos, run_dir, epoch, team)
        place = load_within(run_dir, step, epoch)
    else:
        # what learns, and the optimiser, may change with the epoch that follows
        step = _step(model, settings, photos, run_dir, max(0, epoch - 1), team)
        place = Place(epoch)
        if epoch:
            load_state(checkpoint_path(run_dir, epoch), step.variables)
    team.require_same(epoch, place.done)
    return step, place


def _step(
    model: keras.Model,
    settings: Config,
    photos: Photos,
    run_dir: Path,
    epoch: int,
    team: Workers,
) -> Step:
    """What trains in the phase of an epoch, with an optimiser that begins anew."""
    classes = tables.read_classes(run_dir / "classes.csv")
    with team.strategy.scope():  # nothing is saved in it: that would wait for all hosts
        compile_for(model, settings, classes, photos.steps, epoch)
        return Step(model, settings, classes, team)


def _keep(history: History, run_dir: Path, step: Step) -> None:
    """Make the last epoch count, and let the checkpoints before it go."""
    n_epochs = len(history)
    save_state(checkpoint_path(run_dir, n_epochs), step.variables)
    write_history(history, run_dir)
    for path in (checkpoint_path, within_path):
        path(run_dir, n_epochs - 1).unlink(missing_ok=True)


def _manifest(settings: Config, shards_dir: Path) -> ShardsManifest:
    manifest = read_manifest(shards_dir)
    if manifest.stored_size != settings.data.stored_size:
        raise ConfigError(
            f"{shards_dir}: expected photos of data.stored_size "
            f"{settings.data.stored_size}, got {manifest.stored_size}; make the shards "
            f"again"
        )
    return manifest


def _network(settings: Config, run_dir: Path, team: Workers) -> keras.Model:
    """The network as a training begins with it."""
    n_classes = len(tables.read_classes(run_dir / "classes.csv"))
    earlier = keras.config.dtype_policy()
    if settings.train.mixed_precision:
        keras.config.set_dtype_policy("mixed_float16")
    try:
        with team.strategy.scope():
            model = classifier(settings.model, input_size(settings), n_classes)
    finally:
        keras.config.set_dtype_policy(earlier)
    if team.n_devices > 1:
        synchronise(model)
    if settings.model.weights:
        load_weights(model.get_layer("backbone"), settings.model.weights)
    return model


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
