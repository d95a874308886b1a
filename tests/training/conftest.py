"""A network that trains in no time, and a clock that does not wait."""

from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace

import keras
import pytest

from kaggle_kit.training import epoch
from kaggle_kit.training import fit as fitting
from kaggle_kit.training.fit import fit
from kaggle_kit.training.step import Step


def network(model, size, n_classes, dropout=0.3):
    """In place of the kit's networks: one that is built and compiled in no time."""
    x = keras.Input((size, size, 3))
    layers = [keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization()]
    backbone = keras.Sequential(layers, name="backbone")
    pooled = backbone(keras.layers.AveragePooling2D(8)(x))
    flat = keras.layers.Dropout(dropout)(keras.layers.Flatten()(pooled))
    return keras.Model(x, keras.layers.Dense(n_classes, name="head")(flat))


@contextmanager
def small_network(dropout=0.3):
    """A small network, of which every epoch is the best so far."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "classifier", partial(network, dropout=dropout))
        patch.setattr(fitting, "best_epoch", lambda history, _: len(history) - 1)
        yield


@pytest.fixture
def small():
    """Such a network in place of the kit's."""
    with small_network():
        yield


@pytest.fixture(scope="session")
def whole(settings, shards_dir, tmp_path_factory):
    """A run of two epochs that nothing has disturbed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    with small_network():
        fit(settings, shards_dir, out)
    return out


class Clock:
    """In place of the time of a training: each of its batches takes ``batch_s``."""

    def __init__(self, patch, batch_s):
        self.now = 5000.0
        train = Step.train

        def later(step, *args):
            self.now += batch_s
            return train(step, *args)

        patch.setattr(Step, "train", later)
        stopped = SimpleNamespace(monotonic=lambda: self.now)
        patch.setattr(fitting, "time", stopped)
        patch.setattr(epoch, "time", stopped)


@pytest.fixture
def clock(monkeypatch):
    """A clock by which every batch takes five minutes, and an epoch has two."""
    return Clock(monkeypatch, batch_s=300)
