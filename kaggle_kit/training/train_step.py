"""One batch of a training, on all its devices: gradients, their sum, the update."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kaggle_kit.config import Config
from kaggle_kit.storage.tables import Class
from kaggle_kit.training.distribute import Workers
from kaggle_kit.training.optimizer import class_weights
from kaggle_kit.training.partial_fc import SampledHead

SUM = tf.distribute.ReduceOp.SUM


class Step:
    """Trains a compiled network, and validates it, batch by batch.

    Losses of all photos of a batch are averaged, wherever they are, and the gradients are
    summed over the devices before the optimiser sees them: it clips and scales them as if
    there were one device. With ``train.accumulate`` only every so-manieth batch makes it
    move, by the mean of the gradients since it last did; its schedule counts moves.

    To be made in the scope of the workers' strategy, as the network.
    """

    def __init__(
        self,
        model: keras.Model,
        settings: Config,
        classes: Sequence[Class],
        workers: Workers,
    ):
        self.model = model
        self.workers = workers
        self.accumulate = settings.train.accumulate
        weights = class_weights(settings.train, classes)
        self.weights = weights and tf.constant(
            [weights.get(i, 0.0) for i in range(len(classes))], tf.float32
        )
        self.learnt = model.trainable_variables
        self.sampled: SampledHead | None = None
        if settings.model.sampled_classes:
            head = model.get_layer("head")
            n_sampled = settings.model.sampled_classes
            self.sampled = SampledHead(head, n_sampled, settings.seed)
            self.learnt = self.sampled.instead_of_directions(self.learnt)
            self.below_head = keras.Model(model.input, head.input)
        model.optimizer.build(self.learnt)
        if self.sampled:
            self.sampled.keep_moments_of(model.optimizer)
        self.gathered = [
            tf.Variable(
                tf.zeros(variable.shape),
                trainable=False,
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            )
            for variable in (self.learnt if self.accumulate > 1 else ())
        ]
        self._train = {
            moves: tf.function(self._trained(moves)) for moves in (False, True)
        }
        self._validate = tf.function(lambda batch: self._sum(self._validated, batch))

    @property
    def variables(self) -> list[Any]:
        """All that changes in a training, in an order that is always the same."""
        tables = self.sampled.tables[1:] if self.sampled else []
        own = [*self.gathered, *tables]
        return [*self.model.variables, *self.model.optimizer.variables, *own]

    def train(self, batch: Any, number: int) -> NDArray[np.float64]:
        """Train on one batch, (pixels, classes), as ``Workers.batches`` gives it.

        Args:
            number: of the batch, counted from 0 since the optimiser began.

        Returns:
            The sums over all photos of loss, right answers, and ones.
        """
        moves = (number + 1) % self.accumulate == 0
        sums = self._train[moves](batch, tf.constant(number, tf.int32))
        return sums.numpy().astype(np.float64)

    def validate(self, batch: Any) -> NDArray[np.float64]:
        """The same sums for a batch that nothing is learnt from, without class weights."""
        return self._validate(batch).numpy().astype(np.float64)

    def _sum(self, function: Any, batch: Any, *others: Any) -> tf.Tensor:
        """The sum over all devices of what a function makes of their batches."""
        strategy = self.workers.strategy
        each = strategy.run(function, args=(*batch, *others))
        return strategy.reduce(SUM, each, axis=None)

    def _trained(self, moves: bool) -> Any:
        strategy, sampled = self.workers.strategy, self.sampled

        def on_one(pixels: tf.Tensor, labels: tf.Tensor, *classes: tf.Tensor) -> Any:
            return self._on_one_device(pixels, labels, classes, moves)

        def train(batch: Any, number: tf.Tensor) -> tf.Tensor:
            if not sampled:
                return self._sum(on_one, batch)
            is_own = self._sum(self._classes_of, batch)
            classes = sampled.drawn(is_own, number)
            sampled.take(strategy, classes)
            sums = self._sum(on_one, batch, classes)
            sampled.put_back(strategy, classes)
            return sums

        return train

    def _on_one_device(
        self,
        pixels: tf.Tensor,
        labels: tf.Tensor,
        classes: Sequence[tf.Tensor],
        moves: bool,
    ) -> tf.Tensor:
        """Train on a device's photos, with all others; the sums over its own."""
        model, n_devices = self.model, self.workers.n_devices
        with tf.GradientTape() as tape:
            if self.sampled:
                features = self.below_head(pixels, training=True)
                logits = self.sampled.head.logits(features, self.sampled.rows)
                losses = model.loss.among(labels, logits, *classes)
            else:
                logits = model(pixels, training=True)
                losses = model.loss.call(labels, logits)
            if self.weights is not None:
                losses *= tf.gather(self.weights, labels)
            total = tf.reduce_sum(losses)
            n_photos = tf.cast(tf.size(labels) * n_devices, tf.float32)
            loss = model.optimizer.scale_loss(total / n_photos)
        gradients = tape.gradient(loss, self.learnt)
        if n_devices > 1:
            context = tf.distribute.get_replica_context()
            gradients = context.all_reduce(SUM, gradients)
        self._move(gradients) if moves else self._gather(gradients)
        return _sums(total, logits, labels, *classes)

    def _classes_of(self, _: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """How often each class occurs, (C,)."""
        n_classes = self.model.get_layer("head").n_classes
        return tf.math.bincount(
            tf.cast(labels, tf.int32), minlength=n_classes, maxlength=n_classes
        )

    def _gather(self, gradients: Sequence[tf.Tensor]) -> None:
        for kept, new in zip(self.gathered, gradients, strict=True):
            kept.assign_add(new)

    def _move(self, gradients: Sequence[tf.Tensor]) -> None:
        if self.accumulate > 1:
            pairs = list(zip(self.gathered, gradients, strict=True))
            gradients = [(new + kept) / self.accumulate for kept, new in pairs]
            for kept, _ in pairs:
                kept.assign(tf.zeros_like(kept))
        self.model.optimizer.apply(gradients, self.learnt)

    def _validated(self, pixels: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        logits = self.model(pixels, training=False)
        known = labels >= 0  # not so what fills up the last batches
        losses = self.model.loss.call(tf.maximum(labels, 0), logits)
        total = tf.reduce_sum(tf.where(known, losses, 0.0))
        return _sums(total, logits, labels)


def _sums(
    total: tf.Tensor, logits: tf.Tensor, labels: tf.Tensor, *classes: tf.Tensor
) -> tf.Tensor:
    """Loss, right answers and photos; with ``classes``, logits are of these alone."""
    best = tf.argmax(logits, -1, labels.dtype)
    for drawn in classes:
        best = tf.cast(tf.gather(drawn, best), labels.dtype)
    counts = [
        tf.math.count_nonzero(x, dtype=tf.float32)
        for x in (best == labels, labels >= 0)
    ]
    return tf.stack([total, *counts])
