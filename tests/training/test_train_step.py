"""A step: the one Keras would make, with gradients accumulated and clipped."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kaggle_kit import config
from kaggle_kit.config import Config
from kaggle_kit.storage.tables import Class
from kaggle_kit.training.distribute import Workers
from kaggle_kit.training.network import compile_for
from kaggle_kit.training.train_step import TrainStep, class_weights
from tests.helpers.small_recipes import CLASSES, DATA, small

EPSILON = 1e4  # makes Adam's step proportional to the gradient, else it is not


def trained(model, settings, batch_size):
    """Train on the data once, in order; the step that did, and what it returned."""
    step = TrainStep(model, settings, CLASSES, Workers(tf.distribute.get_strategy()))
    x, y = (tf.constant(part) for part in DATA)
    starts = range(0, len(x), batch_size)
    batches = [(x[i : i + batch_size], y[i : i + batch_size]) for i in starts]
    return step, sum(step.train(batch, i) for i, batch in enumerate(batches))


@pytest.mark.parametrize(
    "train",
    [
        {"learning_rate": 0.1},
        {"optimizer": "adamw", "weight_decay": 0.1, "clip_norm": 0.05},
        {"balance": "loss", "label_smoothing": 0.2},
        {"schedule": "cosine", "epochs": 2, "warmup_epochs": 1},
        {"frozen_epochs": 1},
    ],
)
def test_an_epoch_is_that_of_keras(train):
    """Weights, moving statistics, loss and accuracy, and those of a validation."""
    results = []
    for ours in (True, False):
        keras.utils.set_random_seed(0)
        model, settings = small(train)
        compile_for(model, settings, CLASSES, 4, 0)
        if ours:
            step, (loss, right, n) = trained(model, settings, 16)
            values = [loss / n, right / n]
            batch = tuple(tf.constant(part) for part in DATA)
            loss, right, n = step.validate(batch)
            values += [loss / n, right / n]
        else:
            weights = class_weights(settings.train, CLASSES)
            history = model.fit(
                *DATA, batch_size=16, shuffle=False, verbose=0, class_weight=weights
            ).history
            values = [history["loss"][0], history["accuracy"][0]]
            values += model.evaluate(*DATA, verbose=0)
        results.append((model.get_weights(), values))
    for one, other in zip(results[0][0], results[1][0], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert results[0][1] == pytest.approx(results[1][1], rel=1e-5)


def test_images_that_fill_up_a_batch_do_not_count():
    model, settings = small({})
    compile_for(model, settings, CLASSES, 4, 0)
    step = TrainStep(model, settings, CLASSES, Workers(tf.distribute.get_strategy()))
    x, y = tf.constant(DATA[0]), tf.constant(DATA[1])
    filled = tf.concat([y[:60], -tf.ones(4, y.dtype)], axis=0)
    np.testing.assert_allclose(
        step.validate((x, filled)), step.validate((x[:60], y[:60])), rtol=1e-6
    )


def test_a_class_without_images_has_no_weight():
    model, settings = small({"balance": "loss"})
    classes = [Class(10, 60), Class(20, 0), Class(30, 10)]
    compile_for(model, settings, classes, 4, 0)
    step = TrainStep(model, settings, classes, Workers(tf.distribute.get_strategy()))
    np.testing.assert_allclose(step.weights, [70 / 180, 0, 70 / 30])


def test_the_schedule_counts_optimizer_steps_and_not_batches():
    train = {"accumulate": 4, "schedule": "cosine", "epochs": 4, "learning_rate": 0.1}
    model, settings = small(train)
    compile_for(model, settings, CLASSES, 16, 0)
    rates = []
    for _ in range(4):
        rates.append(float(model.optimizer.learning_rate))
        trained(model, settings, 4)
    half = 1 + np.cos(np.pi * np.arange(4) / 4)
    assert rates == pytest.approx(list(0.05 * half), rel=1e-5)


def test_accumulated_gradients_are_averaged_not_summed():
    """Two half batches with accumulation make the step of the whole batch."""
    results = []
    for batch_size, accumulate in ((64, 1), (32, 2)):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((4,))
        outputs = keras.layers.Dense(3)(keras.layers.Identity(name="backbone")(inputs))
        model = keras.Model(inputs, outputs)
        train = config.Train(accumulate=accumulate, learning_rate=1e6)
        settings = Config(name="x", train=train)
        compile_for(model, settings, CLASSES, 64 // batch_size, 0)
        model.optimizer.epsilon = EPSILON
        trained(model, settings, batch_size)
        results.append(model.get_weights())
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_gradients_are_clipped_together_after_they_are_averaged():
    """The first step's length over all weights is in proportion to the norm allowed."""
    lengths = []
    for clip_norm, accumulate in ((1e-3, 1), (2e-3, 1), (2e-3, 2)):
        keras.utils.set_random_seed(0)
        model, settings = small(
            {"clip_norm": clip_norm, "accumulate": accumulate, "learning_rate": 1e6}
        )
        compile_for(model, settings, CLASSES, accumulate, 0)
        model.optimizer.epsilon = EPSILON
        before = [w.numpy().copy() for w in model.trainable_variables]
        trained(model, settings, 64 // accumulate)
        moved = [
            w.numpy() - b
            for w, b in zip(model.trainable_variables, before, strict=True)
        ]
        lengths.append(np.sqrt(sum((m**2).sum() for m in moved)))
    assert lengths[1] / lengths[0] == pytest.approx(2, rel=1e-3)
    assert lengths[2] / lengths[1] == pytest.approx(1, rel=1e-3)
