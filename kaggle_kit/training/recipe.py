"""What makes a training: loss, optimiser, phases, image sizes, and which photos occur."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kaggle_kit import config
from kaggle_kit.config import Config
from kaggle_kit.data.batches import (
    WHOLE,
    Part,
    batch_of,
    resized,
    training_batches,
    validation_batches,
)
from kaggle_kit.data.shards import photo_classes, shard_paths
from kaggle_kit.errors import ConfigError
from kaggle_kit.model.build import logit_scale
from kaggle_kit.model.layers import ArcFaceLoss, SmoothedCrossentropy, margins
from kaggle_kit.tables import Class


class Photos:
    """The photos of a shards folder, epoch by epoch, or the ``part`` of each batch here."""

    def __init__(
        self,
        settings: Config,
        folder: Path,
        manifest: dict[str, Any],
        part: Part = WHOLE,
    ):
        self.settings = settings
        self.part = part
        self.shards = shard_paths(folder, manifest, "train")
        self.held_out = shard_paths(folder, manifest, "validation")
        self.classes = photo_classes(folder, manifest, "train")
        self.n_validation = manifest["counts"]["validation"]
        n_train = manifest["counts"]["train"]
        batch_size = batch_of(settings.train.batch_size, n_train, part)
        if not batch_size:
            raise ConfigError(
                f"{folder}: expected a training photo for each of "
                f"{part.of * part.devices} devices, got {n_train}; train on fewer"
            )
        self.steps = n_train // batch_size

    def epoch(
        self, epoch: int, start: int = 0
    ) -> tuple[tf.data.Dataset, tf.data.Dataset | None]:
        """The training and validation batches of an epoch, at the size of its stage.

        Args:
            start: how many training batches to leave out.
        """
        data, train = self.settings.data, self.settings.train
        size = image_size(epoch, self.settings)
        rng = np.random.default_rng((self.settings.seed, epoch, 1))
        copies = [np.ones(len(part), np.int64) for part in self.classes]
        if train.balance == "sampling":
            flat = balanced(np.concatenate(self.classes), rng)
            copies = np.split(flat, np.cumsum([len(p) for p in copies])[:-1])
        batches = training_batches(
            self.shards,
            copies,
            data,
            train.batch_size,
            self.settings.seed,
            epoch,
            start,
            self.part,
        )
        validation = None
        if self.n_validation:
            validation = validation_batches(
                self.held_out,
                self.n_validation,
                data.stored_size,
                size,
                max(1, train.batch_size // (self.part.of * self.part.devices)),
                self.part,
            )
        if size != data.image_size:
            batches = resized(batches, size)
        return batches, validation


def balanced(classes: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """How often each photo occurs in an epoch in which all classes are equally frequent.

    Args:
        classes: (n,) class of each photo.

    Returns:
        (n,) whole numbers that add up to n. A photo's expected number is
        n / (number of classes * photos of its class).
    """
    _, inverse, counts = np.unique(classes, return_inverse=True, return_counts=True)
    order = np.lexsort((rng.random(len(classes)), inverse))
    expected = (len(classes) / len(counts) / counts)[inverse][order]
    edges = np.floor(np.cumsum(expected) + rng.random()).astype(np.int64)
    edges[-1] = len(classes)
    copies = np.empty(len(classes), np.int64)
    copies[order] = np.diff(edges, prepend=0)
    return copies


def image_size(epoch: int, settings: Config) -> int:
    """The side of the photos in an epoch, counted from 0."""
    for stage in settings.train.stages:
        if epoch < stage.epochs:
            return stage.image_size
        epoch -= stage.epochs
    return settings.data.image_size


def input_size(settings: Config) -> int | None:
    """The one side of all photos that the network sees; None where there are several."""
    several = settings.train.stages or settings.recognition.scales != (1.0,)
    return None if several else settings.data.image_size


def compile_for(
    model: keras.Model,
    settings: Config,
    classes: Sequence[Class],
    steps: int,
    epoch: int,
) -> None:
    """Make a model ready for the phase that begins with ``epoch``.

    At first, for ``frozen_epochs``, only what stands on the backbone learns; then all of
    it does, with an optimiser and a schedule that begin anew. A frozen batch norm keeps
    its statistics.

    Args:
        steps: batches per epoch.
    """
    train = settings.train
    frozen = epoch < train.frozen_epochs
    model.get_layer("backbone").trainable = not frozen
    rate, n_epochs = train.learning_rate, train.epochs - train.frozen_epochs
    if frozen:
        rate, n_epochs = train.frozen_learning_rate or rate, train.frozen_epochs
    model.compile(
        optimizer=_optimizer(train, rate, n_epochs, steps),
        loss=_loss(settings, classes),
        metrics=["accuracy"],
        jit_compile=False,  # on CPU, XLA's convolutions take four times as long
    )


def reseed(model: keras.Model, seed: int, epoch: int) -> None:
    """Let dropout's random numbers follow from ``seed`` and ``epoch`` alone.

    A checkpoint does not hold how far they have come, and an epoch after an interruption
    is to be the same epoch.
    """
    rng = np.random.default_rng((seed, epoch, 2))
    for variable in model.variables:
        if variable.path.endswith("seed_generator_state"):
            variable.assign(rng.integers(2**31, size=2))


def class_weights(
    settings: config.Train, classes: Sequence[Class]
) -> dict[int, float] | None:
    """The weight of each class in the loss, n / (C n_c), where that evens them out."""
    if settings.balance != "loss":
        return None
    n = sum(row.n_images for row in classes)
    return {
        i: n / (len(classes) * row.n_images)
        for i, row in enumerate(classes)
        if row.n_images
    }


def _optimizer(
    settings: config.Train, rate: float, n_epochs: int, steps_per_epoch: int
) -> keras.Optimizer:
    steps = max(1, steps_per_epoch // settings.accumulate)
    schedule: Any = rate
    if settings.schedule == "cosine":
        warmup = round(settings.warmup_epochs * steps)
        schedule = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0 if warmup else rate,
            warmup_target=rate if warmup else None,
            warmup_steps=warmup,
            decay_steps=max(1, n_epochs * steps - warmup),
        )
    if settings.optimizer == "adam":
        return _Adam(schedule, global_clipnorm=settings.clip_norm)
    return _AdamW(
        schedule,
        weight_decay=settings.weight_decay,
        global_clipnorm=settings.clip_norm,
    )


class _SummedBefore:
    """For an optimiser that gets gradients which are summed over all devices already.

    Keras clips the gradients of each device first and sums what is left.
    """

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> list[Any]:
        return list(grads_and_vars)


class _Adam(_SummedBefore, keras.optimizers.Adam):
    pass


class _AdamW(_SummedBefore, keras.optimizers.AdamW):
    pass


def _loss(settings: Config, classes: Sequence[Class]) -> keras.losses.Loss:
    model, smoothing = settings.model, settings.train.label_smoothing
    if model.head != "arcface":
        return SmoothedCrossentropy(smoothing)
    counts = [row.n_images for row in classes]
    return ArcFaceLoss(
        logit_scale(model, len(classes)),
        tuple(margins(counts, *model.margin)),
        smoothing,
    )
