"""Train a network from shards, into a run folder that can be picked up again."""

import json
import logging
import math
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import keras
import pandas as pd

import kaggle_kit
from kaggle_kit import config, tables
from kaggle_kit.config import Config
from kaggle_kit.data.shards import read_manifest
from kaggle_kit.errors import ArtefactError, ConfigError
from kaggle_kit.model.build import classifier
from kaggle_kit.model.pretrained import load_weights
from kaggle_kit.paths import written
from kaggle_kit.progress import progress
from kaggle_kit.tables import Class
from kaggle_kit.training.recipe import (
    Photos,
    class_weights,
    compile_for,
    image_size,
    input_size,
)

logger = logging.getLogger(__name__)
CONFIG, WEIGHTS, HISTORY = "config.json", "model.weights.h5", "history.csv"
PACKAGES = ("tensorflow", "keras", "keras-cv", "numpy", "pandas")


def fit(
    settings: Config, shards_dir: Path, run_dir: Path, resume: bool = False
) -> dict[str, Any]:
    """Train until the epochs are over or the monitor stops improving.

    The run folder holds ``config.json``, ``classes.csv``, ``subset.csv``,
    ``environment.json`` (versions, commit, machine), ``history.csv`` (a row an epoch),
    ``model.weights.h5`` and a checkpoint of the last epoch. The weights are of the epoch
    with the best monitor at the last image size reached, the last of equals; validated
    and kept are those of ``train.trained_share``. With no epochs there is nothing to
    train: the weights are those that the network begins with.

    Args:
        shards_dir: the folder of the shards; with no epochs the subset's will do.
        resume: go on with the run that ``run_dir`` holds, if it does: after its last
            whole epoch, with the optimiser's state and the photos in the order they would
            have had.

    Returns:
        epochs, best_epoch, the monitor's best value, minutes (of all epochs).

    Raises:
        ConfigError: settings that differ from those of the shards or the earlier run, or
            with which the loss is not finite.
        ArtefactError: there is a run already and ``resume`` is False, or it is damaged.
    """
    shards_dir, run_dir = Path(shards_dir), Path(run_dir)
    keras.utils.set_random_seed(settings.seed)
    if not settings.train.epochs:
        _open_run(settings, shards_dir, run_dir, resume)
        network = settings.model.backbone != "none"
        if network and not (run_dir / WEIGHTS).exists():
            _save(_model_after(0, settings, run_dir).save_weights, run_dir / WEIGHTS)
        return {"epochs": 0}
    manifest = _manifest(settings, shards_dir)
    history = _open_run(settings, shards_dir, run_dir, resume)
    photos = Photos(settings, shards_dir, manifest)
    classes = tables.read_classes(run_dir / "classes.csv")
    averaged = settings.train.trained_share < 1
    began = _model_after(0, settings, run_dir) if averaged else None
    model = _model_after(len(history), settings, run_dir)
    while not _finished(history, settings):
        epoch = len(history)
        if epoch in (0, settings.train.frozen_epochs):
            compile_for(model, settings, classes, photos.steps, epoch)
        start = time.monotonic()
        batches, validation = photos.epoch(epoch)
        row = _train_epoch(model, batches, settings.train, classes, epoch)
        with _averaged(model, began, settings.train.trained_share):
            row |= _validated(model, validation)
            row["learning_rate"] = float(model.optimizer.learning_rate)
            row["seconds"] = round(time.monotonic() - start, 1)
            history.append(row)
            if _best_epoch(history, settings) == epoch:
                _save(model.save_weights, run_dir / WEIGHTS)
        logger.info(", ".join(f"{k} {v:.4g}" for k, v in row.items()))
        _save(model.save, _checkpoint(run_dir, epoch + 1))
        with written(run_dir / HISTORY) as part:
            pd.DataFrame(history).to_csv(part, index=False)
        _checkpoint(run_dir, epoch).unlink(missing_ok=True)
    best = _best_epoch(history, settings)
    return {
        "epochs": len(history),
        "best_epoch": best + 1,
        "best": {k: v for k, v in history[best].items() if k.startswith("val_")},
        "minutes": round(sum(row["seconds"] for row in history) / 60, 2),
    }


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


def _open_run(
    settings: Config, shards_dir: Path, run_dir: Path, resume: bool
) -> list[dict[str, Any]]:
    """Make the run folder, or find the history of the one that is there."""
    if (run_dir / CONFIG).exists():
        if not resume:
            raise ArtefactError(
                f"{run_dir}: expected a new folder, found a run; add --resume to go on "
                f"with it or choose another --run"
            )
        _require_same(settings, config.read_json(run_dir / CONFIG), run_dir)
        _require_same_file(shards_dir / "classes.csv", run_dir / "classes.csv")
        if not (run_dir / HISTORY).exists():
            return []
        rows = pd.read_csv(run_dir / HISTORY).to_dict("records")
        return [{str(name): value for name, value in row.items()} for row in rows]
    if run_dir.exists() and any(run_dir.iterdir()):
        raise ArtefactError(
            f"{run_dir}: expected a new or empty folder, found other files; choose "
            f"another --run"
        )
    run_dir.mkdir(parents=True, exist_ok=True)
    for name in ("classes.csv", "subset.csv"):
        with written(run_dir / name) as part:
            shutil.copyfile(shards_dir / name, part)
    with written(run_dir / "environment.json") as part:
        part.write_text(json.dumps(environment(), indent=2) + "\n", encoding="utf-8")
    config.write_json(settings, run_dir / CONFIG)  # last: it marks a run
    return []


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
        path = _checkpoint(run_dir, n_epochs)
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
) -> dict[str, Any]:
    """Train one epoch; return the row of the history that it begins."""
    label = f"epoch {epoch + 1}/{settings.epochs}"
    with progress(total=len(batches), label=label) as bar:
        result = model.fit(
            batches,
            class_weight=class_weights(settings, classes),
            verbose=0,
            callbacks=[_Progress(bar)],
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


class _Progress(keras.callbacks.Callback):
    """Moves a progress bar with each batch."""

    def __init__(self, bar):
        super().__init__()
        self.bar = bar

    def on_train_batch_end(self, batch, logs=None):
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


def _best_epoch(history: list[dict[str, Any]], settings: Config) -> int:
    """The place in the history of the best monitor at the last image size.

    Of equals it is the last, and without a monitor the last of all. A smaller size says
    nothing of how good the network is at the size it is used at.
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


def _finished(history: list[dict[str, Any]], settings: Config) -> bool:
    if not history:
        return False
    since_best = len(history) - 1 - _best_epoch(history, settings)
    patience = settings.train.patience
    stale = patience is not None and since_best >= patience
    return stale or len(history) >= settings.train.epochs


def _checkpoint(run_dir: Path, n_epochs: int) -> Path:
    return run_dir / f"checkpoint-{n_epochs:04d}.keras"


def _save(save: Any, path: Path) -> None:
    """Call a Keras saver on a path beside, which must keep the file's ending."""
    part = path.with_name(f"part-{path.name}")
    save(part)
    os.replace(part, path)


def _require_same(settings: Config, earlier: Config, run_dir: Path) -> None:
    new, old = (pd.json_normalize(c.model_dump()).iloc[0] for c in (settings, earlier))
    for name in new.index.union(old.index):
        if str(new.get(name)) != str(old.get(name)):
            raise ConfigError(
                f"{run_dir}: expected the settings of the run that is there, got "
                f"{name}={new.get(name)} for {old.get(name)}; choose another --run"
            )


def _require_same_file(new: Path, old: Path) -> None:
    if new.read_bytes() != old.read_bytes():
        raise ArtefactError(
            f"{new}: expected the classes of the run in {old.parent}, got others; use "
            f"the shards it began with or choose another --run"
        )
