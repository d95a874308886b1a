"""A network that trains in no time, and a clock that does not wait."""

from types import SimpleNamespace

import pytest

from kaggle_kit.training import trainer
from kaggle_kit.training.train_step import TrainStep
from kaggle_kit.training.trainer import train
from tests.helpers.small_network import small_network


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
        train(settings, shards_dir, out)
    return out


class Clock:
    """In place of the time of a training: each of its batches takes ``batch_s``."""

    def __init__(self, patch, batch_s):
        self.now = 5000.0
        train_batch = TrainStep.train

        def later(step, *args):
            self.now += batch_s
            return train_batch(step, *args)

        patch.setattr(TrainStep, "train", later)
        stopped = SimpleNamespace(monotonic=lambda: self.now)
        patch.setattr(trainer, "time", stopped)


@pytest.fixture
def clock(monkeypatch):
    """A clock by which every batch takes five minutes, and an epoch has two."""
    return Clock(monkeypatch, batch_s=300)
