"""The network of a training: built, compiled for each phase, averaged, and loaded."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_kit import config
from kaggle_kit.config import Config, input_size
from kaggle_kit.errors import ArtefactError
from kaggle_kit.frameworks import keras, require_keras, tf
from kaggle_kit.model.classifier import classifier, logit_scale
from kaggle_kit.model.layers import ArcFaceLoss, SmoothedCrossentropy, class_margins
from kaggle_kit.model.pretrained import load_weights
from kaggle_kit.model.weight_files import check_weights_file
from kaggle_kit.storage.arrays import LARGEST_WEIGHT, require_range
from kaggle_kit.storage.tables import Class
from kaggle_kit.training.distribute import Workers
from kaggle_kit.training.run_directory import RunDirectory, read_run
from kaggle_kit.training.train_step import TrainStep


class Learner:
    """The network of a training, with an optimizer and a training step for each phase.

    Args:
        steps: batches per epoch.
        phase: an epoch of the phase to begin with.

    Attributes:
        network: (b, s, s, 3) pixels -> (b, C) logits.
        initial_backbone: the backbone's weights before training, if they are averaged.
        step: trains and validates the network in the current phase.
    """

    step: TrainStep

    def __init__(
        self,
        settings: Config,
        classes: Sequence[Class],
        steps: int,
        workers: Workers,
        phase: int,
    ):
        self.settings = settings
        self.classes = classes
        self.steps = steps
        self.workers = workers
        self.initial_backbone: list[NDArray[Any]] | None = None
        if settings.train.trained_share < 1:
            network = build_network(settings, len(classes), workers)
            self.initial_backbone = network.get_layer("backbone").get_weights()
        self.network = build_network(settings, len(classes), workers)
        self.start_phase(phase)

    def start_phase(self, epoch: int) -> None:
        """Create the optimizer and the training step for the phase of an epoch."""
        # nothing is saved in this scope: that would block until all hosts save
        with self.workers.strategy.scope():
            compile_for(self.network, self.settings, self.classes, self.steps, epoch)
            self.step = TrainStep(
                self.network, self.settings, self.classes, self.workers
            )

    def start_epoch(self, epoch: int) -> None:
        """Begin a new phase where the frozen epochs end; reseed dropout."""
        if epoch and epoch == self.settings.train.frozen_epochs:
            self.start_phase(epoch)
        reseed_dropout(self.network, self.settings.seed, epoch)

    def train(
        self, dataset: tf.data.Dataset, epoch: int, first: int
    ) -> Iterator[NDArray[np.float64]]:
        """Train on the batches of an epoch from number ``first`` on.

        Yields:
            (3,) for each batch, once it is trained: the sums of ``TrainStep.train``.
        """
        frozen = self.settings.train.frozen_epochs
        epochs_before = epoch - frozen if epoch >= frozen else epoch  # in this phase
        number = epochs_before * self.steps + first
        for batch in self.workers.batches(dataset):
            yield self.step.train(batch, number)
            number += 1

    def validate(self, dataset: tf.data.Dataset) -> NDArray[np.float64]:
        """(3,) the sums of ``TrainStep.validate`` over all batches."""
        sums = np.zeros(3)
        for batch in self.workers.batches(dataset):
            sums += self.step.validate(batch)
        return sums


def build_network(settings: Config, n_classes: int, workers: Workers) -> keras.Model:
    """The network before its first step: random weights, the backbone's pretrained.

    Raises:
        KitError: Keras has settings that change what the network is.
    """
    require_keras()
    earlier = keras.config.dtype_policy()
    if settings.train.mixed_precision:
        keras.config.set_dtype_policy("mixed_float16")
    try:
        with workers.strategy.scope():
            network = classifier(settings.model, input_size(settings), n_classes)
    finally:
        keras.config.set_dtype_policy(earlier)
    if workers.n_devices > 1:
        _synchronize_batch_norm(network)
    if settings.model.weights:
        load_weights(network.get_layer("backbone"), settings.model.weights)
    return network


def compile_for(
    network: keras.Model,
    settings: Config,
    classes: Sequence[Class],
    steps: int,
    epoch: int,
) -> None:
    """Compile a network for the phase of ``epoch``: a new loss, optimizer and schedule.

    For the first ``frozen_epochs`` only the layers above the backbone are trained, and a
    frozen batch norm keeps its statistics. After them everything is trained.

    Args:
        steps: batches per epoch.
    """
    train = settings.train
    frozen = epoch < train.frozen_epochs
    network.get_layer("backbone").trainable = not frozen
    rate, n_epochs = train.learning_rate, train.epochs - train.frozen_epochs
    if frozen:
        rate, n_epochs = train.frozen_learning_rate or rate, train.frozen_epochs
    network.compile(
        optimizer=_optimizer(train, rate, n_epochs, steps),
        loss=_loss(settings, classes),
        metrics=["accuracy"],
        jit_compile=False,  # on CPU, XLA's convolutions take four times as long
    )


def reseed_dropout(network: keras.Model, seed: int, epoch: int) -> None:
    """Set the dropout seeds to values that follow from ``seed`` and ``epoch`` alone.

    So an epoch that is repeated after an interruption draws the same random numbers.
    """
    rng = np.random.default_rng((seed, epoch, 2))
    for variable in network.variables:
        if variable.path.endswith("seed_generator_state"):
            variable.assign(rng.integers(2**31, size=2))


@contextmanager
def average_backbone(
    network: keras.Model, initial: Sequence[NDArray[Any]] | None, share: float
) -> Iterator[None]:
    """Replace the backbone's weights by a mean with the initial ones, for a while.

    Source: Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022, who average
    all weights of a zero-shot classifier for images unlike those of the training. Here the
    head has no initial weights to average, and stays as trained.

    Args:
        initial: the weights before training; None: nothing is replaced.
        share: the share of the trained weights in the mean.
    """
    if initial is None:
        yield
        return
    backbone = network.get_layer("backbone")
    trained = backbone.get_weights()
    pairs = zip(trained, initial, strict=True)
    backbone.set_weights([share * new + (1 - share) * old for new, old in pairs])
    try:
        yield
    finally:
        backbone.set_weights(trained)


def load_best(run_dir: Path, settings: Config) -> keras.Model:
    """The network of a run with the weights of its best epoch.

    Args:
        settings: they give the image sizes that the network is built for.

    Raises:
        ArtefactError: the run has no finished epoch, or its weights do not fit or are not
            finite.
    """
    run = RunDirectory(run_dir)
    read_run(run.path)
    network = classifier(settings.model, input_size(settings), len(run.read_classes()))
    try:
        check_weights_file(run.weights_path)
        network.load_weights(run.weights_path)
        for weight in network.weights:
            values = keras.ops.convert_to_numpy(weight)
            require_range(weight.path, values, -LARGEST_WEIGHT, LARGEST_WEIGHT)
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ArtefactError(
            f"{run.weights_path}: expected the weights of this config, got {reason}; "
            f"train again"
        ) from None
    return network


def _synchronize_batch_norm(network: keras.Model) -> None:
    """Let every batch norm take the batches of all devices as one."""
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            _synchronize_batch_norm(layer)
        elif isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True


def _optimizer(
    settings: config.Train, rate: float, n_epochs: int, steps_per_epoch: int
) -> keras.Optimizer:
    """The optimizer of a phase of ``n_epochs``; its schedule counts its own steps."""
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


class _SummedGradients:
    """An optimizer whose gradients are already summed over all devices.

    Keras itself would clip the gradients of each device first and sum the result.
    """

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> list[Any]:
        return list(grads_and_vars)


class _Adam(_SummedGradients, keras.optimizers.Adam):
    pass


class _AdamW(_SummedGradients, keras.optimizers.AdamW):
    pass


def _loss(settings: Config, classes: Sequence[Class]) -> keras.losses.Loss:
    model, smoothing = settings.model, settings.train.label_smoothing
    if model.head in ("dense", "cosine"):
        return SmoothedCrossentropy(smoothing)
    if model.head != "arcface":
        raise ValueError(f"no loss for the head {model.head!r}")
    counts = [row.n_images for row in classes]
    return ArcFaceLoss(
        logit_scale(model, len(classes)),
        tuple(class_margins(counts, *model.margin)),
        smoothing,
    )
