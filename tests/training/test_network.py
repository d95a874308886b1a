"""The recipe: which images occur, at which size, what learns, and by which loss."""

import numpy as np
import pytest

from kaggle_kit import config
from kaggle_kit.config import Config, image_size
from kaggle_kit.data.datasets import TrainingImages, balanced_copies
from kaggle_kit.data.shards_manifest import image_classes, read_manifest
from kaggle_kit.model.layers import ArcFaceLoss, SmoothedCrossentropy
from kaggle_kit.training import network
from kaggle_kit.training.network import compile_for
from kaggle_kit.training.train_step import class_weights
from tests.helpers.small_recipes import CLASSES, DATA, small


def test_balanced_epochs_show_every_class_equally_often():
    classes = np.repeat([0, 1, 2], [60, 30, 10])
    rng = np.random.default_rng(0)
    draws = np.stack([balanced_copies(classes, rng) for _ in range(300)])
    assert (draws.sum(axis=1) == 100).all()
    per_class = np.stack([draws[:, classes == c].sum(axis=1) for c in range(3)], 1)
    assert per_class.mean(axis=0) == pytest.approx([100 / 3] * 3, abs=0.5)
    # and within a class every image as often as another
    assert draws.mean(axis=0)[classes == 0] == pytest.approx([100 / 180] * 60, abs=0.12)
    assert draws.mean(axis=0)[classes == 2] == pytest.approx([100 / 30] * 10, abs=0.12)


def test_balanced_numbers_are_the_expected_ones_rounded_up_or_down():
    classes = np.repeat([0, 1, 2], [60, 30, 10])
    for seed in range(20):
        copies = balanced_copies(classes, np.random.default_rng(seed))
        assert set(copies[classes == 0].tolist()) <= {0, 1}
        assert set(copies[classes == 1].tolist()) <= {1, 2}
        assert set(copies[classes == 2].tolist()) <= {3, 4}


def test_an_epoch_of_balanced_sampling_holds_the_images_it_should(settings, shards_dir):
    one_by_one = {"train.balance": "sampling", "train.batch_size": 1}
    changed = config.override(settings, one_by_one)
    images = TrainingImages(changed, shards_dir, read_manifest(shards_dir))
    batches, _ = images.epoch(0)
    seen = np.concatenate([labels for _, labels in batches.as_numpy_iterator()])
    counts = np.bincount(seen, minlength=4)
    assert counts.max() - counts.min() <= 2
    assert counts.sum() == sum(len(part) for part in images.classes)


def test_image_classes_are_in_the_order_of_the_shards(settings, shards_dir):
    manifest = read_manifest(shards_dir)
    plain = config.override(settings, {"data.augment": {}})
    images = TrainingImages(plain, shards_dir, manifest)
    expected = sorted(np.concatenate(image_classes(shards_dir, manifest, "train")))
    batches, _ = images.epoch(0)
    seen = [int(y) for _, labels in batches.as_numpy_iterator() for y in labels]
    assert len(seen) == len(expected) // 16 * 16
    missing = np.bincount(expected) - np.bincount(seen)
    assert missing.min() >= 0 and missing.sum() == len(expected) % 16


def test_stages_change_the_size_of_training_and_validation(settings, shards_dir):
    stages = [{"epochs": 2, "image_size": 64}, {"epochs": 1, "image_size": 48}]
    staged = config.override(settings, {"train.stages": stages, "train.epochs": 5})
    assert [image_size(epoch, staged) for epoch in range(5)] == [64, 64, 48, 32, 32]
    images = TrainingImages(staged, shards_dir, read_manifest(shards_dir))
    for epoch, size in ((0, 64), (2, 48), (3, 32)):
        for batches in images.epoch(epoch):
            pixels, _ = next(batches.as_numpy_iterator())
            assert pixels.shape[1:] == (size, size, 3)
            assert 0 <= pixels.min() and pixels.max() <= 255


def test_class_weights_give_every_class_the_same_total():
    weights = class_weights(config.Train(balance="loss"), CLASSES)
    totals = [weights[i] * row.n_images for i, row in enumerate(CLASSES)]
    assert totals == pytest.approx([100 / 3] * 3)
    assert class_weights(config.Train(balance="none"), CLASSES) is None


def test_a_frozen_backbone_does_not_change_and_later_it_does():
    model, settings = small(
        {"epochs": 4, "frozen_epochs": 2, "frozen_learning_rate": 0.5}
    )
    backbone, head = model.get_layer("backbone"), model.get_layer("head")
    for epoch, learns in ((0, False), (2, True)):
        compile_for(model, settings, CLASSES, 4, epoch)
        before = backbone.get_weights(), head.get_weights()
        model.fit(*DATA, batch_size=16, verbose=0)
        changed = [
            any((a != b).any() for a, b in zip(x, y.get_weights(), strict=True))
            for x, y in zip(before, (backbone, head), strict=True)
        ]
        assert changed == [learns, True]


def test_each_phase_has_its_own_rate_and_schedule():
    train = {
        "epochs": 5,
        "frozen_epochs": 2,
        "frozen_learning_rate": 0.5,
        "learning_rate": 0.1,
        "schedule": "cosine",
        "warmup_epochs": 0.5,
    }
    model, settings = small(train)
    for epoch, rate, steps in ((0, 0.5, 20), (2, 0.1, 30)):
        compile_for(model, settings, CLASSES, 10, epoch)
        schedule = model.optimizer._learning_rate
        assert float(schedule(0)) == 0
        assert float(schedule(5)) == pytest.approx(rate)
        assert float(schedule(steps)) == pytest.approx(0, abs=1e-6)


def test_the_loss_is_that_of_the_head():
    arcface = Config(
        name="x",
        model=config.Model(head="arcface", scale=None, margin=(0.1, 0.4)),
        train=config.Train(label_smoothing=0.1),
    )
    loss = network._loss(arcface, CLASSES)
    assert isinstance(loss, ArcFaceLoss)
    assert loss.scale == 2.0  # AdaCos of three classes would be below 1
    assert loss.margins[0] == pytest.approx(0.1)
    assert loss.margins[2] == pytest.approx(0.4)
    assert loss.label_smoothing == 0.1
    plain = network._loss(Config(name="x"), CLASSES)
    assert type(plain) is SmoothedCrossentropy and plain.label_smoothing == 0
