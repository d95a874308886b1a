"""A run survives being killed at any moment, stopped by the clock, and copied."""

import os
from pathlib import Path

import pytest

from kaggle_kit import config
from kaggle_kit.errors import ArtefactError
from kaggle_kit.training.fit import fit, load_best
from kaggle_kit.training.runs import copy_run, read_run
from tests.training.alike import assert_same_run

# The files that appear in two epochs, in order.
EPOCHS = [
    *("model.weights.h5", "checkpoint-0001.keras", "history.csv"),
    *("model.weights.h5", "checkpoint-0002.keras", "history.csv"),
]
MOMENTS = ["config.json", "run", *EPOCHS]


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("moment", range(len(MOMENTS)))
def test_a_run_killed_at_any_moment_ends_as_one_that_was_not(
    moment, done, small, whole, settings, shards_dir, tmp_path
):
    """Just before a file appears and just after, with what was half written left there."""
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
            fit(settings, shards_dir, tmp_path / "run")
    assert seen == MOMENTS[: moment + 1]
    fit(settings, shards_dir, tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", whole)


def test_training_ends_before_an_epoch_it_has_no_time_for(
    small, clock, settings, shards_dir, tmp_path
):
    """An epoch of at most 600 s fits into 700 s, not twice; resumed, it is the same."""
    longer = config.override(settings, {"train.epochs": 3})
    fit(longer, shards_dir, tmp_path / "whole")
    report = fit(longer, shards_dir, tmp_path / "run", stop_at=clock.now + 700)
    assert (report["finished"], report["epochs"], report["of"]) == (False, 1, 3)
    assert read_run(tmp_path / "run") == longer
    # 600 s times 1.1 are 660 s: begun if there are more, and not if there are fewer
    for seconds, epochs in ((650, 1), (670, 2)):
        stop_at = clock.now + seconds
        report = fit(longer, shards_dir, tmp_path / "run", resume=True, stop_at=stop_at)
        assert (report["finished"], report["epochs"]) == (False, epochs)
    report = fit(longer, shards_dir, tmp_path / "run", resume=True, stop_at=stop_at * 9)
    assert (report["finished"], report["epochs"]) == (True, 3)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_an_epoch_that_takes_too_long_is_given_up(
    small, clock, settings, shards_dir, tmp_path
):
    """The clock strikes between two batches: the run is the one before the epoch."""
    report = fit(settings, shards_dir, tmp_path / "run", stop_at=clock.now + 500)
    assert report == {"finished": False, "epochs": 0, "of": 2}
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"classes.csv", "config.json", "environment.json", "subset.csv"}


def test_a_copied_run_is_gone_on_with_and_the_earlier_one_left_alone(
    small, clock, whole, settings, shards_dir, tmp_path
):
    earlier = tmp_path / "earlier"
    fit(settings, shards_dir, earlier, stop_at=clock.now + 700)
    (earlier / "checkpoint-0000.keras").write_text("of an older epoch")
    (earlier / "part-checkpoint-0002.keras").write_text("half")
    before = {path.name: path.read_bytes() for path in earlier.iterdir()}
    for path in earlier.iterdir():
        path.chmod(0o444)
    earlier.chmod(0o555)
    copy_run(earlier, tmp_path / "run")
    copied = {path.name for path in (tmp_path / "run").iterdir()}
    assert before.keys() - copied == {
        "checkpoint-0000.keras",
        "part-checkpoint-0002.keras",
    }
    assert all(p.stat().st_mode & 0o200 for p in (tmp_path / "run").iterdir())
    fit(settings, shards_dir, tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", whole)
    assert {path.name: path.read_bytes() for path in earlier.iterdir()} == before


@pytest.mark.parametrize("name", ["checkpoint-0002.keras", "config.json", "subset.csv"])
def test_a_run_that_lacks_a_file_is_not_copied(name, tmp_path, whole):
    earlier = tmp_path / "earlier"
    earlier.mkdir()
    for path in whole.iterdir():
        if path.name != name:
            (earlier / path.name).symlink_to(path)
    with pytest.raises(ArtefactError, match=f"found no {name}"):
        copy_run(earlier, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_with_other_files_is_left_alone(settings, shards_dir, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ArtefactError, match="found other files"):
        fit(settings, shards_dir, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_run_without_weights_is_named(tmp_path):
    with pytest.raises(ArtefactError, match="run kaggle-kit train first"):
        load_best(tmp_path, config.Config(name="x"))
