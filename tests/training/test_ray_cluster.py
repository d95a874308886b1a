"""Ray starts the work, and what comes out is what one host makes."""

import sys

import numpy as np
import pandas as pd
import pytest

from kaggle_kit import config
from kaggle_kit.errors import ArtefactError, KitError
from kaggle_kit.training import ray_cluster


@pytest.fixture
def with_ray():
    """Skip where Ray is not; pip install 'kaggle-kit[ray]'."""
    pytest.importorskip("ray", reason="Ray is not installed: the extra 'ray'")


def test_without_ray_it_says_what_to_install(settings, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(KitError, match=r"pip install 'kaggle-kit\[ray\]'"):
        ray_cluster.train(settings, tmp_path, tmp_path / "run", False, "local")


def test_shards_by_ray_are_those_of_one_host(
    with_ray, settings, competition, subset_dir, shards_dir, tmp_path
):
    """Byte by byte, in shards of few images."""
    from kaggle_kit.data.shards import shards

    few = config.override(settings, {"data.shard_images": 10})
    shards(few.data, competition, subset_dir, tmp_path / "one")
    made = ray_cluster.shards(few, competition, subset_dir, tmp_path / "ray", "local")
    assert len(made.shards) > 4
    names = {path.name for path in (tmp_path / "one").iterdir()}
    assert names == {path.name for path in (tmp_path / "ray").iterdir()}
    for name in names:
        one, other = ((tmp_path / side / name).read_bytes() for side in ("one", "ray"))
        assert one == other, name


@pytest.mark.extended
def test_what_a_user_can_put_right_comes_from_a_host_as_it_is(
    with_ray, settings, shards_dir, tmp_path
):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("mine")
    with pytest.raises(ArtefactError, match="found other files"):
        ray_cluster.train(settings, shards_dir, tmp_path / "run", False, "local")


def test_a_cluster_that_does_not_answer_is_named(with_ray, settings, tmp_path):
    with pytest.raises(
        KitError, match=r"^--ray 127\.0\.0\.1:1: expected a Ray cluster"
    ):
        ray_cluster.train(settings, tmp_path, tmp_path / "run", False, "127.0.0.1:1")


@pytest.mark.slow
def test_two_hosts_by_ray_train_as_one(with_ray, settings, shards_dir, tmp_path):
    """ResNet-50 at 32 px, an epoch; two processes on this host in place of two hosts."""
    from kaggle_kit.training.trainer import train

    short = config.override(settings, {"train.epochs": 1, "model.dropout": 0.0})
    train(short, shards_dir, tmp_path / "one")
    report = ray_cluster.train(
        short, shards_dir, tmp_path / "ray", False, "local", n_hosts=2
    )
    assert (report.finished, report.epochs) == (True, 1)
    one, two = (
        pd.read_csv(tmp_path / name / "history.csv").drop(columns="seconds")
        for name in ("one", "ray")
    )
    np.testing.assert_allclose(one, two, rtol=1e-3)
