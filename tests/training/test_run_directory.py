"""A run survives being killed at any moment, stopped by the clock, and copied."""

import os
from pathlib import Path

import pandas as pd
import pytest

from kaggle_kit import config
from kaggle_kit.errors import ArtefactError
from kaggle_kit.training.network import load_best
from kaggle_kit.training.run_directory import RunDirectory, read_run
from kaggle_kit.training.trainer import train
from tests.helpers.longer import but_for
from tests.helpers.same_runs import assert_same_run

# The files that appear in two epochs of two batches, in order.
EPOCHS = [
    "checkpoint-0000-within.npz",
    *("model.weights.h5", "checkpoint-0001.npz", "history.csv"),
    "checkpoint-0001-within.npz",
    *("model.weights.h5", "checkpoint-0002.npz", "history.csv"),
]
MOMENTS = ["config.json", "run", *EPOCHS]


@pytest.mark.parametrize(
    "done", but_for([True], [False, True]), ids=["before", "after"]
)
@pytest.mark.parametrize("moment", but_for([4], range(len(MOMENTS))))
def test_a_run_killed_at_any_moment_ends_as_one_that_was_not(
    moment, done, small, whole, settings, shards_dir, tmp_path
):
    """Just before a file appears and just after, with what was half written left there."""
    often = config.override(settings, {"train.checkpoint_minutes": 1e-9})
    replace, seen = os.replace, []

    def killed(part, path):
        seen.append(Path(path).name)
        if done or len(seen) <= moment:
            replace(part, path)
        if len(seen) > moment:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", killed)
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        with pytest.raises(KeyboardInterrupt):
            train(often, shards_dir, tmp_path / "run")
    assert seen == MOMENTS[: moment + 1]
    train(often, shards_dir, tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", whole)


def test_training_ends_between_two_batches_and_goes_on_there(
    small, clock, settings, shards_dir, tmp_path
):
    """Of 300 s each, three begin within 700 s; an epoch has two. Resumed, all is one."""
    longer = config.override(settings, {"train.epochs": 3})
    train(longer, shards_dir, tmp_path / "whole")
    places = []
    for seconds in (700, 1, 301, 9999):
        stop_at = clock.now + seconds
        report = train(longer, shards_dir, tmp_path / "run", True, stop_at)
        places.append((report.epochs, report.steps, report.finished))
    assert places == [(1, 1, False), (2, 0, False), (3, 0, True), (3, 0, True)]
    assert read_run(tmp_path / "run") == longer
    assert_same_run(tmp_path / "run", tmp_path / "whole")
    assert list(pd.read_csv(tmp_path / "run" / "history.csv")["seconds"]) == [600] * 3


def test_a_training_without_any_time_leaves_what_it_found(
    small, clock, settings, shards_dir, tmp_path
):
    report = train(settings, shards_dir, tmp_path / "run", stop_at=clock.now)
    expected = {"finished": False, "epochs": 0, "of": 2, "steps": 0}
    assert report.as_json() == expected
    names = {path.name for path in (tmp_path / "run").iterdir()}
    tables = {"classes.csv", "subset.csv", "non_landmarks.json"}
    assert names == tables | {"config.json", "environment.json"}


def test_a_copied_run_is_gone_on_with_and_the_earlier_one_left_alone(
    small, clock, whole, settings, shards_dir, tmp_path
):
    earlier = tmp_path / "earlier"
    train(settings, shards_dir, earlier, stop_at=clock.now + 700)
    (earlier / "checkpoint-0000.npz").write_text("of an older epoch")
    (earlier / "part-checkpoint-0002.npz").write_text("half")
    before = {path.name: path.read_bytes() for path in earlier.iterdir()}
    for path in earlier.iterdir():
        path.chmod(0o444)
    earlier.chmod(0o555)
    RunDirectory(tmp_path / "run").copy_from(earlier)
    copied = {path.name for path in (tmp_path / "run").iterdir()}
    assert "checkpoint-0001-within.npz" in copied
    assert before.keys() - copied == {
        "checkpoint-0000.npz",
        "part-checkpoint-0002.npz",
    }
    assert all(p.stat().st_mode & 0o200 for p in (tmp_path / "run").iterdir())
    train(settings, shards_dir, tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", whole)
    assert {path.name: path.read_bytes() for path in earlier.iterdir()} == before


@pytest.mark.parametrize("name", ["checkpoint-0002.npz", "config.json", "subset.csv"])
def test_a_run_that_lacks_a_file_is_not_copied(name, tmp_path, whole):
    earlier = tmp_path / "earlier"
    earlier.mkdir()
    for path in whole.iterdir():
        if path.name != name:
            (earlier / path.name).symlink_to(path)
    with pytest.raises(ArtefactError, match=f"found no {name}"):
        RunDirectory(tmp_path / "run").copy_from(earlier)
    assert not (tmp_path / "run").exists()


def test_a_folder_with_other_files_is_left_alone(settings, shards_dir, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ArtefactError, match="found other files"):
        train(settings, shards_dir, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_run_without_weights_is_named(tmp_path):
    with pytest.raises(ArtefactError, match="run kaggle-kit train first"):
        load_best(tmp_path, config.Config(name="x"))
