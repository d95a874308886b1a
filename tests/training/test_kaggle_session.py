"""Sessions that end in time, and those that go on from what they leave."""

import json
import shutil
import tempfile
from pathlib import Path

import pytest

from kaggle_kit import config
from kaggle_kit.errors import ArtefactError, ConfigError
from kaggle_kit.storage.json_files import to_json
from kaggle_kit.training import kaggle_session
from kaggle_kit.training.kaggle_session import train_in_session
from tests.helpers.same_runs import assert_same_run
from tests.helpers.signed_bundles import sign


@pytest.fixture
def bundle(settings, tmp_path):
    """As much of a bundle as a session reads, in a folder that is read-only."""
    out = tmp_path / "bundle"
    out.mkdir()
    config.write_json(settings, out / "config.json")
    sign(out)
    out.chmod(0o555)
    return out


def no_shards(*_):
    raise AssertionError("shards were made")


def test_sessions_in_a_row_end_as_one_training(
    small, clock, whole, bundle, competition, tmp_path
):
    first = train_in_session(
        bundle, competition, tmp_path / "1", stop_at=clock.now + 700
    )
    assert (first.finished, first.epochs, first.of) == (False, 1, 2)
    assert first.steps == 1
    assert "push this kernel again" in first.next
    assert "epoch 2 of 2, after its step 1" in first.next
    shutil.copytree(tmp_path / "1", tmp_path / "mounted")
    for path in (tmp_path / "mounted").rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    second = train_in_session(
        bundle, competition, tmp_path / "2", tmp_path / "mounted", clock.now + 700
    )
    assert (second.finished, second.epochs, second.of) == (True, 2, 2)
    assert (second.epochs_before, second.steps_before) == (1, 1)
    assert "bundle --run" in second.next
    assert_same_run(tmp_path / "2" / "run", whole)


def test_a_session_leaves_its_run_and_its_report_alone(
    small, bundle, competition, shards_dir, tmp_path, monkeypatch
):
    """The shards lie where temporary files do, and are gone."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    seen = []

    def watched(settings, place, subset, out):
        seen.append(out)
        return shards(settings, place, subset, out)

    shards = kaggle_session.shards
    monkeypatch.setattr(kaggle_session, "shards", watched)
    result = train_in_session(bundle, competition, tmp_path / "out")
    assert seen[0].is_relative_to(scratch)
    assert not list(scratch.iterdir())
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "run",
        "session.json",
    }
    assert json.loads((tmp_path / "out" / "session.json").read_text()) == to_json(
        result
    )
    manifest = json.loads((shards_dir / "shards.json").read_text())
    assert to_json(result.shards) == manifest["counts"] | {"broken": 0}
    assert result.seconds > 0


def test_a_finished_training_is_left_as_it_is(
    small, whole, bundle, competition, tmp_path, monkeypatch
):
    (tmp_path / "earlier").mkdir()
    (tmp_path / "earlier" / "run").symlink_to(whole)
    monkeypatch.setattr(kaggle_session, "shards", no_shards)
    out = tmp_path / "out"
    result = train_in_session(bundle, competition, out, tmp_path / "earlier")
    assert (result.finished, result.epochs, result.shards) == (True, 2, None)
    assert_same_run(out / "run", whole)


def test_a_session_too_short_for_an_epoch_leaves_its_first_batches(
    small, clock, whole, bundle, competition, tmp_path
):
    out = tmp_path / "out"
    result = train_in_session(bundle, competition, out, stop_at=clock.now + 200)
    assert (result.finished, result.epochs, result.steps) == (False, 0, 1)
    assert "epoch 1 of 2, after its step 1" in result.next
    # with more time it begins where that one did
    train_in_session(bundle, competition, tmp_path / "2", out)
    assert_same_run(tmp_path / "2" / "run", whole)


def test_a_session_too_short_for_a_batch_says_so(
    small, clock, whole, bundle, competition, tmp_path
):
    for earlier in (None, tmp_path / "1"):
        out = tmp_path / ("2" if earlier else "1")
        result = train_in_session(bundle, competition, out, earlier, clock.now)
        assert (result.finished, result.epochs) == (False, 0)
        assert "no batch fits" in result.next


def test_an_earlier_run_of_other_settings_is_refused_before_shards_are_made(
    small, whole, settings, competition, tmp_path, monkeypatch
):
    other = config.override(settings, {"train.learning_rate": 0.1})
    config.write_json(other, tmp_path / "bundle" / "config.json")
    sign(tmp_path / "bundle")
    (tmp_path / "earlier").mkdir()
    (tmp_path / "earlier" / "run").symlink_to(whole)
    monkeypatch.setattr(kaggle_session, "shards", no_shards)
    with pytest.raises(ConfigError, match="train.learning_rate.*without the earlier"):
        train_in_session(
            tmp_path / "bundle", competition, tmp_path / "out", tmp_path / "earlier"
        )


def test_an_earlier_output_without_its_run_is_refused(bundle, competition, tmp_path):
    (tmp_path / "earlier").mkdir()
    with pytest.raises(ArtefactError, match="expected a run to resume"):
        train_in_session(
            bundle, competition, tmp_path / "out", earlier=tmp_path / "earlier"
        )


def test_without_epochs_a_session_leaves_the_network_as_it_begins(
    small, settings, competition, tmp_path, monkeypatch
):
    still = config.override(settings, {"train.epochs": 0})
    config.write_json(still, tmp_path / "bundle" / "config.json")
    sign(tmp_path / "bundle")
    monkeypatch.setattr(kaggle_session, "shards", no_shards)
    result = train_in_session(tmp_path / "bundle", competition, tmp_path / "out")
    assert (result.finished, result.epochs) == (True, 0)
    assert (tmp_path / "out" / "run" / "model.weights.h5").exists()


def test_a_file_of_weights_is_found_where_the_bundle_has_it(
    settings, competition, tmp_path, monkeypatch
):
    """The config names it without a folder: where a bundle is mounted differs."""
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    named = config.override(settings, {"model.weights": "w.h5"})
    config.write_json(named, bundle / "config.json")
    (bundle / "w.h5").write_bytes(b"weights")
    sign(bundle)
    seen = []

    def interrupt(settings, *_, **__):
        seen.append(Path(settings.model.weights).read_bytes())
        raise KeyboardInterrupt

    monkeypatch.setattr(kaggle_session, "train", interrupt)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train_in_session(Path("bundle"), competition, Path("out"))
    assert seen == [b"weights"]
    assert Path.cwd() == tmp_path
