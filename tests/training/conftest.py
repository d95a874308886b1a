"""A network that trains in no time, and a clock that does not wait."""

from contextlib import contextmanager
from types import SimpleNamespace

import keras
import pytest

from kaggle_kit.training import fit as fitting
from kaggle_kit.training.fit import fit


def network(model, size, n_classes):
    """In place of the kit's networks: one that is built and compiled in no time."""
    x = keras.Input((size, size, 3))
    layers = [keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization()]
    backbone = keras.Sequential(layers, name="backbone")
    pooled = backbone(keras.layers.AveragePooling2D(8)(x))
    flat = keras.layers.Dropout(0.3)(keras.layers.Flatten()(pooled))
    return keras.Model(x, keras.layers.Dense(n_classes, name="head")(flat))


@contextmanager
def small_network():
    """A small network, of which every epoch is the best so far."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "classifier", network)
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
    """In place of the time in ``fit``: an epoch's first batch takes ``epoch_s``."""

    def __init__(self, patch, epoch_s):
        self.now = 5000.0
        on_batch_end = fitting._Progress.on_train_batch_end

        def later(callback, batch, logs=None):
            self.now += epoch_s if batch == 0 else 0
            on_batch_end(callback, batch, logs)

        patch.setattr(fitting._Progress, "on_train_batch_end", later)
        patch.setattr(fitting, "time", SimpleNamespace(monotonic=lambda: self.now))


@pytest.fixture
def clock(monkeypatch):
    """A clock by which every epoch takes ten minutes."""
    return Clock(monkeypatch, epoch_s=600)
