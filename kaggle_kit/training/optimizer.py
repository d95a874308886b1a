"""What makes a training: loss, optimiser, phases, image sizes, and which photos occur."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kaggle_kit import config
from kaggle_kit.config import Config
from kaggle_kit.model.classifier import logit_scale
from kaggle_kit.model.layers import ArcFaceLoss, SmoothedCrossentropy, class_margins
from kaggle_kit.storage.tables import Class


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
        tuple(class_margins(counts, *model.margin)),
        smoothing,
    )
