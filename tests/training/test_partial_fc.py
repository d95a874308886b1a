"""A head of which each step trains some classes: at all of them it is the whole softmax."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from kaggle_kit import config
from kaggle_kit.config import Config
from kaggle_kit.errors import ConfigError
from kaggle_kit.model.layers import ArcFaceLoss, CosineHead
from kaggle_kit.storage.tables import Class
from kaggle_kit.training.distribute import Workers
from kaggle_kit.training.network import compile_for
from kaggle_kit.training.train_step import TrainStep
from tests.helpers.hosts import ROOT
from tests.helpers.same_runs import load_weights

N_CLASSES, WIDTH = 12, 6
CLASSES = [Class(100 + i, 1 + i) for i in range(N_CLASSES)]
RNG = np.random.default_rng(0)
X = tf.constant(RNG.normal(size=(40, WIDTH)), tf.float32)
Y = tf.constant(np.arange(40) % 5, tf.int64)  # of 12 classes 5 occur


def trained(sampled, **train):
    """A small network after five batches of the data; its step."""
    model_settings = config.Model(
        head="arcface", scale=8.0, sub_centres=2, sampled_classes=sampled
    )
    settings = Config(
        name="x", model=model_settings, train=config.Train(batch_size=8, **train)
    )
    keras.utils.set_random_seed(0)
    inputs = keras.Input((WIDTH,))
    backbone = keras.Sequential([keras.layers.Dense(WIDTH)], name="backbone")
    head = CosineHead(N_CLASSES, 8.0, 2, by_rows=sampled is not None, name="head")
    model = keras.Model(inputs, head(backbone(inputs)))
    first = np.random.default_rng(1).normal(size=(2 * N_CLASSES, WIDTH))
    head.directions.assign(first if sampled else first.T)
    compile_for(model, settings, CLASSES, 5, 0)
    step = TrainStep(model, settings, CLASSES, Workers(tf.distribute.get_strategy()))
    sums = [step.train((X[i : i + 8], Y[i : i + 8]), i // 8) for i in range(0, 40, 8)]
    rows, first = head.directions.numpy(), np.float32(first)
    return step, first, rows if sampled else rows.T, np.array(sums)


@pytest.mark.parametrize(
    "train",
    [
        {"learning_rate": 0.05},
        {"optimizer": "adamw", "weight_decay": 0.1, "clip_norm": 0.1},
        {"label_smoothing": 0.2, "balance": "loss"},
    ],
)
@pytest.mark.parametrize("sampled", [N_CLASSES, 99])
def test_with_all_classes_drawn_it_is_the_whole_softmax(sampled, train):
    """Weights and losses after five batches, against the head that is trained whole."""
    one, _, rows, sums = trained(sampled, **train)
    other, _, expected, expected_sums = trained(None, **train)
    np.testing.assert_allclose(sums, expected_sums, rtol=1e-5)
    np.testing.assert_allclose(rows, expected, atol=1e-5)
    backbones = (
        step.network.get_layer("backbone").get_weights() for step in (one, other)
    )
    for first, second in zip(*backbones, strict=True):
        np.testing.assert_allclose(first, second, atol=1e-5)


def test_rows_that_are_never_drawn_stay_as_they_are_and_so_do_their_moments():
    step, first, rows, _ = trained(8)
    numbers = [tf.constant(i, tf.int32) for i in range(5)]
    drawn = set()
    for i, number in enumerate(numbers):
        own = tf.math.bincount(tf.cast(Y[8 * i : 8 * i + 8], tf.int32), minlength=12)
        classes = step.sampled.sample(own, number).numpy()
        assert len(set(classes)) == 8 and sorted(classes) == list(classes)
        assert set(range(5)) <= set(classes)
        drawn |= set(classes)
    untouched = sorted(set(range(N_CLASSES)) - drawn)
    assert untouched
    changed = (rows != first).reshape(N_CLASSES, 2, WIDTH).any(axis=(1, 2))
    assert set(np.flatnonzero(changed)) <= drawn
    assert set(range(5)) <= set(np.flatnonzero(changed))
    for table in step.sampled.tables[1:]:
        moments = table.numpy().reshape(N_CLASSES, 2, WIDTH)
        assert not moments[untouched].any()
        assert moments[:5].any(axis=(1, 2)).all()


def test_other_classes_are_drawn_alike_often_and_differ_by_step():
    step, *_ = trained(8)
    own = tf.constant([1, 2] + [0] * 10)
    draws = [step.sampled.sample(own, tf.constant(i)).numpy() for i in range(600)]
    counts = np.bincount(np.concatenate(draws), minlength=12) / 600
    assert counts[:2].tolist() == [1, 1]
    assert counts[2:] == pytest.approx([0.6] * 10, abs=0.1)


def test_losses_among_some_classes_are_those_of_these_classes():
    """Of logits of which all others are cut out, by the definition of the margins."""
    logits = RNG.uniform(-7, 7, (6, N_CLASSES)).astype(np.float32)
    labels, classes = np.array([1, 4, 9, 9, 1, 11]), np.array([1, 3, 4, 9, 11])
    margins = RNG.uniform(0.1, 0.5, N_CLASSES)
    loss = ArcFaceLoss(8.0, margins, 0.1, reduction=None)
    found = loss.among(labels, logits[:, classes], classes)
    few = ArcFaceLoss(8.0, margins[classes], 0.1, reduction=None)
    places = [list(classes).index(y) for y in labels]
    np.testing.assert_allclose(found, few(places, logits[:, classes]), rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"model.head": "dense"},
            "expected cosine or arcface with model.sampled_classes, got",
        ),
        ({"train.accumulate": 2}, r"train\.accumulate: expected 1 .* got 2"),
        ({"model.sampled_classes": 7}, r"at least train\.batch_size 8, .* got 7"),
    ],
)
def test_settings_that_do_not_go_with_it_are_refused(changes, reason):
    settings = Config(
        name="x",
        model=config.Model(head="arcface", sampled_classes=8),
        train=config.Train(batch_size=8),
    )
    with pytest.raises(ConfigError, match=reason):
        config.override(settings, changes)


DEVICES = """
import sys
import keras, numpy as np, tensorflow as tf
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], two)
from kaggle_kit.config import Config, Model, Train
from kaggle_kit.model.layers import CosineHead
from kaggle_kit.training.distribute import Workers
from kaggle_kit.training.network import compile_for
from kaggle_kit.training.train_step import TrainStep
from tests.training.test_partial_fc import CLASSES, N_CLASSES, WIDTH, X, Y

n, out = int(sys.argv[1]), sys.argv[2]
strategy = tf.distribute.get_strategy()
if n > 1:
    strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(n)])
model = Model(head="arcface", scale=8.0, sub_centres=2, sampled_classes=8)
train = Train(batch_size=8, clip_norm=0.1, learning_rate=0.05)
settings = Config(name="x", model=model, train=train)
keras.utils.set_random_seed(0)
with strategy.scope():
    inputs = keras.Input((WIDTH,))
    backbone = keras.Sequential([keras.layers.Dense(WIDTH)], name="backbone")
    head = CosineHead(N_CLASSES, 8.0, 2, by_rows=True, name="head")
    network = keras.Model(inputs, head(backbone(inputs)))
    compile_for(network, settings, CLASSES, 5, 0)
    step = TrainStep(network, settings, CLASSES, Workers(strategy))
batches = tf.data.Dataset.from_tensor_slices((X, Y)).batch(8 // n)
losses = [step.train(b, i)[0] for i, b in enumerate(Workers(strategy).batches(batches))]
tables = [tf.convert_to_tensor(t).numpy() for t in step.sampled.tables]
np.savez(out, losses, *tables, *network.get_weights())
"""


@pytest.mark.extended
def test_two_devices_draw_the_same_classes_and_train_as_one(tmp_path):
    """Two logical CPUs in place of two GPUs; directions, moments, backbone, losses."""
    found = []
    for n in (1, 2):
        out = tmp_path / f"{n}.npz"
        subprocess.run(
            [sys.executable, "-c", DEVICES, str(n), str(out)],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            timeout=900,
            check=True,
        )
        found.append(load_weights(out))
    assert len(found[0]) == 1 + 3 + 3
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


LARGE = """
import os, sys, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras, numpy as np, tensorflow as tf
from kaggle_kit.config import Config, Model, Train, Data
from kaggle_kit.model.classifier import classifier
from kaggle_kit.storage.tables import Class
from kaggle_kit.training.distribute import Workers
from kaggle_kit.training.network import compile_for
from kaggle_kit.training.train_step import TrainStep
from tests.helpers.memory import peak_mb

n, sampled = 81313, int(sys.argv[1]) or None
model = Model(backbone="efficientnet_lite0", embedding=512, head="arcface", scale=16,
              sub_centres=3, sampled_classes=sampled)
settings = Config(name="x", model=model, train=Train(batch_size=64, clip_norm=1.0))
classes = [Class(i, 1 + i % 50) for i in range(n)]
network = classifier(model, 64, n)
compile_for(network, settings, classes, 10, 0)
step = TrainStep(network, settings, classes, Workers(tf.distribute.get_strategy()))
rng = np.random.default_rng(0)
x = tf.constant(rng.uniform(0, 255, (64, 64, 64, 3)), tf.float32)
y = tf.constant(rng.integers(0, n, 64))
def sums():
    directions = network.get_layer("head").directions
    return keras.ops.convert_to_numpy(tf.reduce_sum(directions, 1)) if sampled else None

before = sums()
losses, start = [], time.monotonic()
for i in range(3):
    losses.append(step.train((x, y), i)[0] / 64)
    seconds, start = time.monotonic() - start, time.monotonic()
peak = peak_mb() / 1024
changed = -1
if sampled:
    changed = int((before != sums()).sum())
print(peak, seconds, changed, *losses)
"""


@pytest.mark.slow
def test_a_head_of_all_landmarks_trains_in_the_memory_of_its_tables():
    """81,313 classes of three 512-d directions: 1.4 GiB of tables, 8,192 drawn a step.

    The peak is of the whole process, with TensorFlow and a backbone. A T4 has 15 GiB.
    """
    done = subprocess.run(
        [sys.executable, "-c", LARGE, "8192"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        timeout=1800,
        check=True,
        capture_output=True,
        text=True,
    )
    peak, _, changed, *losses = map(float, done.stdout.split())
    assert peak < 4.5
    assert 0 < changed <= 3 * 3 * 8192
    assert np.isfinite(losses).all() and losses[2] < losses[0]
