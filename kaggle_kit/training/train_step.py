"""One batch: its gradients on all devices, their sum, and the optimizer's step."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_kit import config
from kaggle_kit.config import Config
from kaggle_kit.frameworks import keras, tf
from kaggle_kit.storage.tables import Class
from kaggle_kit.training.distribute import Workers
from kaggle_kit.training.partial_fc import SampledHead

SUM = tf.distribute.ReduceOp.SUM


class TrainStep:
    """Trains a compiled network, and validates it, one batch at a time.

    The loss is the mean over all images of the batch, on all devices. The gradients are
    summed over the devices before the optimizer clips and scales them, as on one device.
    The optimizer steps once every ``train.accumulate`` batches, by the mean of their
    gradients, and its schedule counts these steps.

    Create it, like the network, in the scope of the workers' strategy.

    Attributes:
        variables: all that a training changes, in an order that never changes.
    """

    def __init__(
        self,
        network: keras.Model,
        settings: Config,
        classes: Sequence[Class],
        workers: Workers,
    ):
        self.network = network
        self.workers = workers
        self.accumulate = settings.train.accumulate
        weights = class_weights(settings.train, classes)
        self.weights = weights and tf.constant(
            [weights.get(i, 0.0) for i in range(len(classes))], tf.float32
        )
        self.trainable = network.trainable_variables
        self.sampled: SampledHead | None = None
        if settings.model.sampled_classes:
            head = network.get_layer("head")
            n_sampled = settings.model.sampled_classes
            self.sampled = SampledHead(head, n_sampled, settings.seed)
            self.trainable = self.sampled.replace_directions(self.trainable)
            self.below_head = keras.Model(network.input, head.input)
        network.optimizer.build(self.trainable)
        if self.sampled:
            self.sampled.add_moment_tables(network.optimizer)
        self.accumulated = [
            tf.Variable(
                tf.zeros(variable.shape),
                trainable=False,
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            )
            for variable in (self.trainable if self.accumulate > 1 else ())
        ]
        tables = self.sampled.tables[1:] if self.sampled else []
        self.variables = [
            *network.variables,
            *network.optimizer.variables,
            *self.accumulated,
            *tables,
        ]
        self._accumulate_batch = tf.function(self._batch_function(updates=False))
        self._update_batch = tf.function(self._batch_function(updates=True))
        self._validate = tf.function(
            lambda batch: self._sum_over_devices(self._validate_on_device, batch)
        )

    def train(self, batch: Any, number: int) -> NDArray[np.float64]:
        """Train on one batch.

        Args:
            batch: (pixels, classes), as ``Workers.batches`` yields it.
            number: of the batch in its phase, from 0.

        Returns:
            (3,) summed over all images: loss, correct answers, ones.
        """
        updates = (number + 1) % self.accumulate == 0
        train = self._update_batch if updates else self._accumulate_batch
        return train(batch, tf.constant(number, tf.int32)).numpy().astype(np.float64)

    def validate(self, batch: Any) -> NDArray[np.float64]:
        """The same sums for a batch that is not trained on, without class weights."""
        return self._validate(batch).numpy().astype(np.float64)

    def _sum_over_devices(self, function: Any, batch: Any, *others: Any) -> tf.Tensor:
        """Call a function on every device with its share of the batch; sum the results."""
        strategy = self.workers.strategy
        results = strategy.run(function, args=(*batch, *others))
        return strategy.reduce(SUM, results, axis=None)

    def _batch_function(self, updates: bool) -> Any:
        """A function that trains on a batch, and updates the weights or accumulates."""
        strategy, sampled = self.workers.strategy, self.sampled

        def on_device(pixels: tf.Tensor, labels: tf.Tensor, *classes: tf.Tensor) -> Any:
            return self._train_on_device(pixels, labels, classes, updates)

        def train(batch: Any, number: tf.Tensor) -> tf.Tensor:
            if not sampled:
                return self._sum_over_devices(on_device, batch)
            counts = self._sum_over_devices(self._count_classes, batch)
            classes = sampled.sample(counts, number)
            sampled.read_rows(strategy, classes)
            sums = self._sum_over_devices(on_device, batch, classes)
            sampled.write_rows(strategy, classes)
            return sums

        return train

    def _train_on_device(
        self,
        pixels: tf.Tensor,
        labels: tf.Tensor,
        classes: Sequence[tf.Tensor],
        updates: bool,
    ) -> tf.Tensor:
        """Train on a device's images, together with the others; the sums over its own."""
        network, n_devices = self.network, self.workers.n_devices
        with tf.GradientTape() as tape:
            if self.sampled:
                features = self.below_head(pixels, training=True)
                logits = self.sampled.head.logits(features, self.sampled.rows)
                losses = network.loss.among(labels, logits, *classes)
            else:
                logits = network(pixels, training=True)
                losses = network.loss.call(labels, logits)
            if self.weights is not None:
                losses *= tf.gather(self.weights, labels)
            total = tf.reduce_sum(losses)
            n_images = tf.cast(tf.size(labels) * n_devices, tf.float32)
            loss = network.optimizer.scale_loss(total / n_images)
        gradients = tape.gradient(loss, self.trainable)
        if n_devices > 1:
            context = tf.distribute.get_replica_context()
            gradients = context.all_reduce(SUM, gradients)
        if updates:
            self._update_weights(gradients)
        else:
            self._accumulate_gradients(gradients)
        return _sums(total, logits, labels, *classes)

    def _count_classes(self, _: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """The images of each class, (C,)."""
        n_classes = self.network.get_layer("head").n_classes
        return tf.math.bincount(
            tf.cast(labels, tf.int32), minlength=n_classes, maxlength=n_classes
        )

    def _accumulate_gradients(self, gradients: Sequence[tf.Tensor]) -> None:
        for total, gradient in zip(self.accumulated, gradients, strict=True):
            total.assign_add(gradient)

    def _update_weights(self, gradients: Sequence[tf.Tensor]) -> None:
        if self.accumulate > 1:
            pairs = list(zip(self.accumulated, gradients, strict=True))
            gradients = [(new + total) / self.accumulate for total, new in pairs]
            for total, _ in pairs:
                total.assign(tf.zeros_like(total))
        self.network.optimizer.apply(gradients, self.trainable)

    def _validate_on_device(self, pixels: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        logits = self.network(pixels, training=False)
        is_image = labels >= 0  # the last batches are filled with class -1
        losses = self.network.loss.call(tf.maximum(labels, 0), logits)
        total = tf.reduce_sum(tf.where(is_image, losses, 0.0))
        return _sums(total, logits, labels)


def class_weights(
    settings: config.Train, classes: Sequence[Class]
) -> dict[int, float] | None:
    """The loss weight of each class, n / (C n_c); None unless ``balance`` is ``loss``."""
    if settings.balance != "loss":
        return None
    n = sum(row.n_images for row in classes)
    return {
        i: n / (len(classes) * row.n_images)
        for i, row in enumerate(classes)
        if row.n_images
    }


def _sums(
    total: tf.Tensor, logits: tf.Tensor, labels: tf.Tensor, *classes: tf.Tensor
) -> tf.Tensor:
    """Loss, correct answers and images; with ``classes``, the logits are of these alone."""
    best = tf.argmax(logits, -1, labels.dtype)
    for sampled in classes:
        best = tf.cast(tf.gather(sampled, best), labels.dtype)
    counts = [
        tf.math.count_nonzero(x, dtype=tf.float32)
        for x in (best == labels, labels >= 0)
    ]
    return tf.stack([total, *counts])
