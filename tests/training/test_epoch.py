"""An epoch that is stopped or killed at any batch, and gone on with, is the same epoch."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kaggle_kit import config
from kaggle_kit.data.datasets import TrainingImages
from kaggle_kit.data.shards_manifest import read_manifest
from kaggle_kit.errors import ArtefactError
from kaggle_kit.training.trainer import train
from tests.helpers.longer import but_for
from tests.helpers.same_runs import assert_same_run

KILLED = """
import os, signal, sys
from pathlib import Path
from kaggle_kit import config
from kaggle_kit.training.trainer import train
from kaggle_kit.training.train_step import TrainStep
from tests.helpers.small_network import small_network

run, batches = Path(sys.argv[3]), int(sys.argv[4])
train_batch, seen = TrainStep.train, []

def watched(step, *args):
    if len(seen) == batches:
        os.kill(os.getpid(), signal.SIGKILL)
    seen.append(args)
    return train_batch(step, *args)

TrainStep.train = watched
with small_network():
    train(config.read_json(Path(sys.argv[1])), Path(sys.argv[2]), run, resume=True)
"""
ROOT = Path(__file__).parents[2]
CHANGES = {
    "plain": {},
    "accumulated, clipped": {"train.accumulate": 3, "train.clip_norm": 0.1},
    "float16": {"train.mixed_precision": True},
    "frozen": {"train.frozen_epochs": 1, "train.frozen_learning_rate": 0.01},
    "all changes": {"data.augment.rand_augment": 0.3, "data.augment.cutout": 0.3},
}


@pytest.fixture(params=but_for([CHANGES["plain"]], CHANGES.values()), ids=list(CHANGES))
def often(request, settings):
    """Settings of two epochs of eleven batches, kept after each; with dropout."""
    small = {"train.batch_size": 4, "train.checkpoint_minutes": 1e-9}
    return config.override(settings, small | request.param)


@pytest.mark.extended
def test_a_training_that_is_killed_within_epochs_ends_with_the_same_bits(
    small, often, shards_dir, tmp_path
):
    """A real process, ended by SIGKILL before its 5th batch, then before its 9th."""
    train(often, shards_dir, tmp_path / "whole")
    config.write_json(often, tmp_path / "config.json")
    run = tmp_path / "run"
    for n_batches in (4, 8):
        names = [tmp_path / "config.json", shards_dir, run, n_batches]
        command = [sys.executable, "-c", KILLED, *map(str, names)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            command, env=environment, cwd=ROOT, timeout=900, check=False
        )
        assert done.returncode == -signal.SIGKILL
    assert (run / "checkpoint-0001-within.npz").exists()
    train(often, shards_dir, run, resume=True)
    assert_same_run(run, tmp_path / "whole")


@pytest.mark.parametrize("changes", [{}, CHANGES["all changes"]])
def test_batches_after_some_are_those_of_the_whole_epoch(settings, shards_dir, changes):
    changed = config.override(settings, {"train.batch_size": 8} | changes)
    images = TrainingImages(changed, shards_dir, read_manifest(shards_dir))
    whole = list(images.epoch(1)[0].as_numpy_iterator())
    rest = list(images.epoch(1, start=3)[0].as_numpy_iterator())
    assert len(rest) == len(whole) - 3 > 0
    for one, other in zip(whole[3:], rest, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


def test_a_damaged_checkpoint_is_named(small, clock, settings, shards_dir, tmp_path):
    train(settings, shards_dir, tmp_path / "run", stop_at=clock.now + 1)
    path = tmp_path / "run" / "checkpoint-0000-within.npz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ArtefactError, match=r"-within\.npz: expected a checkpoint"):
        train(settings, shards_dir, tmp_path / "run", resume=True)
