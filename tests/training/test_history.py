"""What a history says of the training: its best epoch and its end."""

import pytest

from kaggle_kit import config
from kaggle_kit.training.run_directory import best_epoch, is_finished


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ([0.9, 0.9, 0.5, 0.6], 3),  # an earlier image size does not count
        ([0.9, 0.9, 0.7, 0.7], 3),  # the last of equals
        ([0.9, 0.9, 0.7, 0.6], 2),
        ([0.8, 0.9], 1),
        ([0.1, 0.9, float("nan"), 0.2], 3),
        ([0.1, 0.9, 0.2, float("nan")], 2),
    ],
)
def test_the_best_epoch_is_one_at_the_last_image_size(scores, best, settings):
    staged = config.override(
        settings,
        {"train.epochs": 4, "train.stages": [{"epochs": 2, "image_size": 64}]},
    )
    assert staged.train.monitor == "val_accuracy"
    history = [{"val_accuracy": score} for score in scores]
    assert best_epoch(history, staged) == best


@pytest.mark.parametrize(
    ("losses", "patience", "stops"),
    [
        ([3, 2, 1], 2, False),
        ([1, 2], 2, False),
        ([1, 2, 3], 2, True),
        ([1, 2, 0.5, 2], 2, False),
        ([1, 2, 3, 4], None, False),
    ],
)
def test_training_stops_when_the_monitor_stays_worse(losses, patience, stops):
    train = config.Train(epochs=10, monitor="val_loss", patience=patience)
    settings = config.Config(name="x", train=train)
    history = [{"val_loss": loss} for loss in losses]
    assert is_finished(history, settings) is stops
