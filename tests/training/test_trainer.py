"""Training: the run directory, resuming after an interruption, and refusing a mix-up."""

import json

import keras
import numpy as np
import pandas as pd
import pytest

from kaggle_kit import config
from kaggle_kit.errors import ArtefactError, ConfigError
from kaggle_kit.training import network
from kaggle_kit.training.network import Learner, load_best
from kaggle_kit.training.run_directory import read_run
from kaggle_kit.training.trainer import Trainer, train
from tests.helpers.same_runs import assert_same_run


def test_run_folder_holds_what_later_stages_need(run_dir, settings):
    names = {path.name for path in run_dir.iterdir()}
    assert names == {
        "checkpoint-0002.npz",
        "classes.csv",
        "config.json",
        "environment.json",
        "history.csv",
        "model.weights.h5",
        "non_landmarks.json",
        "subset.csv",
    }
    assert config.read_json(run_dir / "config.json") == settings
    environment = json.loads((run_dir / "environment.json").read_text())
    assert environment["packages"]["keras"] == keras.__version__
    history = pd.read_csv(run_dir / "history.csv")
    assert list(history["epoch"]) == [1, 2]
    assert history["loss"].notna().all() and history["val_loss"].notna().all()


@pytest.mark.parametrize("best", [1, 2])
def test_the_weights_are_those_of_the_best_epoch(
    best, settings, shards_dir, tmp_path, monkeypatch
):
    """The second epoch's, which the checkpoint has too, only if it is the better one."""
    scores = iter([0.5, 0.4 if best == 1 else 0.6])
    monkeypatch.setattr(Trainer, "validate", lambda *_: {"val_accuracy": next(scores)})
    report = train(settings, shards_dir, tmp_path / "run")
    assert report.best_epoch == best
    model = load_best(tmp_path / "run", read_run(tmp_path / "run"))
    with np.load(tmp_path / "run" / "checkpoint-0002.npz") as last:
        same = [
            np.array_equal(ours.numpy(), last[f"{i:05d}"])
            for i, ours in enumerate(model.variables)
            if not ours.path.endswith("seed_generator_state")
        ]
    assert len(same) > 20 and all(same) == (best == 2)


def test_a_training_that_diverges_stops_with_one_line(settings, shards_dir, tmp_path):
    """At a rate beyond those that a config may have, so that it is sure to."""
    rate = {"learning_rate": 1e30, "clip_norm": None}
    wild = settings.model_copy(update={"train": settings.train.model_copy(update=rate)})
    with pytest.raises(
        ConfigError, match=r"model.weights.h5: expected numbers of at most 1e\+18, got"
    ):
        train(wild, shards_dir, tmp_path / "run")
    assert not (tmp_path / "run" / "model.weights.h5").exists()


def test_a_loss_that_is_no_number_stops_it_with_one_line(
    settings, shards_dir, tmp_path, monkeypatch
):
    def diverged(learner, batches, epoch, first):
        while True:
            yield np.array([np.nan, 0, 1])

    monkeypatch.setattr(Learner, "train", diverged)
    with pytest.raises(
        ConfigError, match=r"epoch 1/2: expected a finite loss, got nan"
    ):
        train(settings, shards_dir, tmp_path / "run")
    assert not (tmp_path / "run" / "model.weights.h5").exists()


def test_interrupted_run_ends_as_one_that_was_not(
    settings, shards_dir, run_dir, tmp_path, monkeypatch
):
    """Killed in its second epoch and resumed, it is the whole run bit by bit."""
    train_batches = Trainer.train_batches

    def killed(trainer, *args):
        if trainer.progress.epoch == 1:
            raise KeyboardInterrupt
        return train_batches(trainer, *args)

    monkeypatch.setattr(Trainer, "train_batches", killed)
    with pytest.raises(KeyboardInterrupt):
        train(settings, shards_dir, tmp_path / "run")
    monkeypatch.undo()
    assert len(pd.read_csv(tmp_path / "run" / "history.csv")) == 1
    train(settings, shards_dir, tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", run_dir)


def test_finished_run_is_not_trained_again(settings, shards_dir, run_dir, monkeypatch):
    monkeypatch.setattr(Trainer, "train_batches", None)
    assert train(settings, shards_dir, run_dir, resume=True).epochs == 2


def test_a_run_is_not_overwritten(settings, shards_dir, run_dir):
    with pytest.raises(ArtefactError, match="add --resume"):
        train(settings, shards_dir, run_dir)


def test_a_run_is_not_resumed_with_other_settings(settings, shards_dir, run_dir):
    other = config.override(settings, {"train.learning_rate": 0.1})
    with pytest.raises(ConfigError, match="train.learning_rate"):
        train(other, shards_dir, run_dir, resume=True)


def test_shards_of_another_size_are_refused(settings, shards_dir, tmp_path):
    other = config.override(settings, {"data.stored_size": 40})
    with pytest.raises(ConfigError, match="stored_size 40"):
        train(other, shards_dir, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_learning_rate_warms_up_and_falls_as_a_cosine():
    settings = config.Train(
        optimizer="adamw",
        learning_rate=2.0,
        schedule="cosine",
        warmup_epochs=1,
        epochs=5,
    )
    rate = network._optimizer(settings, 2.0, 5, steps_per_epoch=10)._learning_rate
    for step in range(51):
        warm = 2.0 * step / 10
        cosine = 1 + np.cos(np.pi * (step - 10) / 40)
        assert float(rate(step)) == pytest.approx(
            warm if step < 10 else cosine, abs=1e-5
        )


def test_kept_weights_are_the_mean_of_the_trained_and_the_first(tmp_path):
    """Of the backbone alone; and the training goes on with its own."""

    def filled(value):
        x = keras.Input((2,))
        backbone = keras.Sequential([keras.layers.Dense(2)], name="backbone")
        model = keras.Model(x, keras.layers.Dense(1, name="head")(backbone(x)))
        model.set_weights([np.full(w.shape, value) for w in model.get_weights()])
        return model

    trained, first, kept = filled(4.0), filled(1.0), filled(0.0)
    initial = first.get_layer("backbone").get_weights()
    with network.average_backbone(trained, initial, 0.25):
        trained.save_weights(tmp_path / "kept.weights.h5")
    kept.load_weights(tmp_path / "kept.weights.h5")
    assert {float(w.max()) for w in kept.get_layer("backbone").get_weights()} == {1.75}
    assert {float(w.min()) for w in kept.get_layer("head").get_weights()} == {4.0}
    assert {float(w.min()) for w in trained.get_weights()} == {4.0}


def test_a_mean_with_random_weights_is_refused(settings):
    with pytest.raises(
        ConfigError, match="expected weights with train.trained_share below 1"
    ):
        config.override(settings, {"train.trained_share": 0.5})
