"""Several devices: the same training as on one, by real processes that meet on loopback."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from kaggle_kit import config
from kaggle_kit.data.datasets import Part, TrainingImages
from kaggle_kit.data.shards_manifest import read_manifest
from kaggle_kit.errors import ConfigError
from kaggle_kit.training import distribute
from kaggle_kit.training.distribute import scale_settings
from kaggle_kit.training.trainer import train
from tests.helpers.hosts import HOST, ROOT, finish, start
from tests.helpers.same_runs import load_weights, weights_of
from tests.helpers.small_network import small_network

CHANGES = {
    "train.batch_size": 8,
    "train.accumulate": 2,
    "train.clip_norm": 0.5,
    "train.balance": "loss",
    "train.checkpoint_minutes": 1e-9,
}
MIRRORED = """
import sys, tensorflow as tf
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], two)
from kaggle_kit.training import trainer
from kaggle_kit.training.distribute import Workers
mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
trainer.find_workers = lambda: Workers(mirrored)
"""


@pytest.fixture(scope="module")
def changed(settings):
    """Five batches an epoch, with all that is done to gradients but dropout."""
    return config.override(settings, CHANGES)


@pytest.fixture(scope="module")
def alone(changed, shards_dir, tmp_path_factory):
    """The run of one device."""
    run = tmp_path_factory.mktemp("alone") / "run"
    with small_network(dropout=0.0):
        train(changed, shards_dir, run)
    return run


def assert_alike(run, other):
    """The same curve and weights up to rounding, and the same settings."""
    one, two = (
        pd.read_csv(r / "history.csv").drop(columns="seconds") for r in (run, other)
    )
    assert len(one) == 2
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)
    first, second = weights_of(run), weights_of(other)
    names = [name for name in first if not name.startswith("optimizer")]
    assert len(names) >= 8
    for name in names:
        np.testing.assert_allclose(first[name], second[name], rtol=1e-3, atol=1e-4)
    settings = [config.read_json(r / "config.json") for r in (run, other)]
    assert settings[0] == settings[1]


def test_two_hosts_train_as_one_with_the_same_batch(
    changed, alone, shards_dir, tmp_path
):
    """With half its batch and rate each; weights are equal on both to the last bit."""
    half = config.override(
        changed,
        {
            "train.per_device": True,
            "train.batch_size": 4,
            "train.learning_rate": changed.train.learning_rate / 2,
        },
    )
    config.write_json(half, tmp_path / "config.json")
    run = tmp_path / "run"
    hosts = start(2, HOST, tmp_path / "config.json", shards_dir, run, 0)
    said = finish(hosts)
    assert [host.returncode for host in hosts] == [0, 0], said
    weights = [load_weights(tmp_path / f"host-{i}.npz") for i in range(2)]
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert_alike(run, alone)


@pytest.mark.extended
def test_a_host_that_is_lost_stops_the_others_and_one_alone_goes_on(
    changed, alone, shards_dir, tmp_path
):
    config.write_json(changed, tmp_path / "config.json")
    run = tmp_path / "run"
    hosts = start(2, HOST, tmp_path / "config.json", shards_dir, run, 4)
    said = finish(hosts)
    assert hosts[1].returncode == -signal.SIGKILL
    assert hosts[0].returncode == 1
    assert "KitError: host 0 of 2" in said[0] and "--resume" in said[0]
    assert (run / "checkpoint-0000-within.npz").exists()
    with small_network(dropout=0.0):
        train(changed, shards_dir, run, resume=True)
    assert_alike(run, alone)


@pytest.mark.extended
def test_two_devices_of_a_host_train_as_one(changed, alone, shards_dir, tmp_path):
    """Two logical CPUs in place of two GPUs."""
    config.write_json(changed, tmp_path / "config.json")
    run = tmp_path / "run"
    names = [tmp_path / "config.json", shards_dir, run, 0, 0]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", MIRRORED + HOST, *map(str, names)],
        env=environment,
        cwd=ROOT,
        timeout=900,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert_alike(run, alone)


@pytest.mark.parametrize("changes", [{}, {"data.augment.cutout": 0.3}])
def test_the_parts_of_a_batch_make_up_the_batch(settings, shards_dir, changes):
    """Two hosts with two devices each, after two batches."""
    small = config.override(settings, {"train.batch_size": 8} | changes)
    manifest = read_manifest(shards_dir)
    whole, validation = TrainingImages(small, shards_dir, manifest).epoch(1)
    expected = [pixels for pixels, _ in whole.as_numpy_iterator()][2:]
    held_out = np.concatenate([y for _, y in validation.as_numpy_iterator()])
    found, labels = [], []
    for host in range(2):
        part = Part(host, 2, 2)
        batches, validation = TrainingImages(small, shards_dir, manifest, part).epoch(
            1, 2
        )
        found.append([pixels for pixels, _ in batches.as_numpy_iterator()])
        labels.append([y for _, y in validation.as_numpy_iterator()])
    assert len(found[0]) == len(found[1]) == 2 * len(expected) > 0
    for i, pixels in enumerate(expected):
        parts = [batches[2 * i + device] for batches in found for device in range(2)]
        np.testing.assert_array_equal(np.concatenate(parts), pixels)
    assert len(labels[0]) == len(labels[1]) and len(labels[0]) % 2 == 0
    seen = np.concatenate([y for batches in labels for y in batches])
    assert sorted(seen[seen >= 0]) == sorted(held_out)


def test_settings_of_one_device_grow_with_their_number(settings):
    rates = {"train.learning_rate": 0.1, "train.frozen_learning_rate": 0.2}
    one = config.override(settings, rates | {"train.per_device": True})
    four = scale_settings(one, 4).train
    assert four.batch_size == 4 * one.train.batch_size
    assert (four.learning_rate, four.frozen_learning_rate) == (0.4, 0.8)
    assert scale_settings(scale_settings(one, 4), 4) == scale_settings(one, 4)
    assert scale_settings(settings, 4) == settings


def test_a_batch_that_cannot_be_shared_out_is_refused(settings):
    with pytest.raises(ConfigError, match="a multiple of the 3 devices, got 16"):
        scale_settings(settings, 3)


@pytest.mark.parametrize(
    "text",
    [
        "worker 1",
        "[]",
        json.dumps({"cluster": {"worker": ["a:1"]}}),
        json.dumps(
            {"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": -1}}
        ),
        json.dumps(
            {"cluster": {"worker": ["a:1"]}, "task": {"type": "ps", "index": 0}}
        ),
    ],
)
def test_a_wrong_tf_config_is_named(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ConfigError, match=r"^TF_CONFIG: expected cluster\.worker"):
        distribute.find_workers()
