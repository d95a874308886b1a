"""Bugs that public solutions of this competition, and their like, have had; none of ours.

What each is, and where it is known from as a kind (solutions of the competition from 2019
to 2021, DELF, implementations of ArcFace, student projects):

- batch norm left in training mode when images are embedded, so that an answer depends on
  the images beside it; or left in inference mode when training;
- a last batch of one image, which batch norm has no variance of and ``squeeze`` flattens;
- a landmark of the rerun that the label encoder does not know: a KeyError in the kernel;
- a negative similarity to an even power (a sum of s^8) counts as a high one;
- ``x in series`` of pandas, which asks the index and not the values;
- ids compared as parts of text, so that a short one is found in a longer one;
- labels clipped to C - 1, or counted from 1: the last class is lost, or all are shifted;
- a fold that validates is among the images that train;
- gradients of accumulated batches summed and not averaged: the rate grows with them;
- margins by class size, 0 / 0 where all classes are of one size;
- scores below 1e-45 that become 0, and so tie, when cast to float32;
- ids of digits alone read as numbers, which lose their leading zeros;
- ids such as 1234e56789012345 read as floats (pandas);
- ground truth of several landmarks cut to the first, where DELF takes any of them;
- softmax saturated at 1.0, or scores written with 8 digits, which tie the best guesses;
- ties broken by the order of the file, or by an unstable sort, and not by image id.
"""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from kaggle_kit import config
from kaggle_kit.backends.tensorflow import SavedModelRunner
from kaggle_kit.config import Config
from kaggle_kit.data.datasets import training_batches
from kaggle_kit.data.layout import image_path
from kaggle_kit.data.shards_manifest import image_classes, read_manifest, shard_paths
from kaggle_kit.data.subset import subset
from kaggle_kit.errors import TableError
from kaggle_kit.inference.predict import _new_labels
from kaggle_kit.metrics.gap import gap
from kaggle_kit.metrics.score import score
from kaggle_kit.model.classifier import classifier
from kaggle_kit.model.export import export
from kaggle_kit.model.layers import class_margins
from kaggle_kit.retrieval.gallery import Gallery
from kaggle_kit.retrieval.ranking import (
    aggregate_scores,
    guess_by_gallery,
    guess_by_head,
    search_gallery,
)
from kaggle_kit.storage import tables
from kaggle_kit.storage.tables import Class, Guess, Label
from kaggle_kit.training.distribute import Workers
from kaggle_kit.training.network import compile_for
from kaggle_kit.training.train_step import TrainStep
from tests.helpers.decoding import decode_batches
from tests.helpers.small_recipes import CLASSES, DATA, small


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """An exported network with batch norm whose statistics are not those of a batch."""
    folder = tmp_path_factory.mktemp("network") / "model"
    settings = Config(
        name="x",
        data=config.Data(image_size=32, stored_size=32),
        model=config.Model(backbone="efficientnet_lite0", embedding=8),
        recognition=config.Recognition(flip=False),
    )
    export(classifier(settings.model, 32, 3), settings, folder)
    return SavedModelRunner(folder)


def pixels(n, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 32, 32, 3), np.uint8)


def test_batch_norm_does_not_look_at_other_images_when_embedding(network):
    image = pixels(1)
    among_dark = network.start(np.concatenate([image, 0 * pixels(7)]))()["embedding"]
    among_noise = network.start(np.concatenate([image, pixels(7, 1)]))()["embedding"]
    np.testing.assert_allclose(among_dark[0], among_noise[0], atol=1e-5)


def test_batch_norm_learns_in_training_and_not_in_validation():
    keras.utils.set_random_seed(0)
    model, settings = small({})
    compile_for(model, settings, CLASSES, 4, 0)
    step = TrainStep(model, settings, CLASSES, Workers(tf.distribute.get_strategy()))
    batch = tuple(tf.constant(part[:16]) for part in DATA)
    moving = [v for v in model.non_trainable_variables if "moving" in v.path]
    assert len(moving) == 2
    before = [v.numpy().copy() for v in moving]
    step.validate(batch)
    assert all((v.numpy() == b).all() for v, b in zip(moving, before, strict=True))
    step.train(batch, 0)
    assert all((v.numpy() != b).any() for v, b in zip(moving, before, strict=True))


def test_a_last_batch_of_one_image_is_embedded_like_any_other(network):
    nine = pixels(9)
    one = network.start(nine[8:])()["embedding"]
    assert one.shape == (1, 8)
    np.testing.assert_allclose(one[0], network.start(nine)()["embedding"][8], atol=1e-5)


def test_a_last_batch_of_one_image_is_read_as_a_batch(competition):
    ids = tables.read_sample(competition / "sample_submission.csv")[:9]
    paths = [image_path(competition / "test", image_id) for image_id in ids]
    batches = list(decode_batches(paths, 32, 8))
    assert [len(which) for which, _ in batches] == [8, 1]
    ((_, alone),) = decode_batches(paths[8:], 32, 8)
    np.testing.assert_array_equal(batches[1][1], alone)


def test_training_never_sees_a_batch_of_one_image(settings, shards_dir):
    manifest = read_manifest(shards_dir)
    copies = [
        np.ones(len(c), np.int64) for c in image_classes(shards_dir, manifest, "train")
    ]
    n = manifest.counts.train
    paths = shard_paths(shards_dir, manifest, "train")
    batches = training_batches(paths, copies, settings.data, n - 1, 0, 0)
    assert [len(labels) for _, labels in batches] == [n - 1]


def gallery_of(landmarks, vectors):
    vectors = np.array(vectors, np.float16)
    ids = [f"{i:016x}" for i in range(len(landmarks))]
    none = np.zeros((0, vectors.shape[1]), np.float16)
    penalties = np.zeros(len(ids), np.float32)
    return Gallery(ids, np.array(landmarks, np.int64), vectors, penalties, none)


def test_a_landmark_unknown_to_the_head_is_guessed_by_its_images():
    gallery = gallery_of([7, 999_999], [[1, 0], [0, 1]])
    settings = config.Recognition(head_exponent=0.1)
    query = np.array([[0.1, 0.995]], np.float32)
    logs = np.log(np.array([[0.9, 0.1]], np.float32))
    known = search_gallery(query, logs, gallery, [Class(7, 1), Class(8, 1)], settings)
    (guess,) = guess_by_gallery(known, gallery, settings)
    assert guess.landmark_id == 999_999


@pytest.mark.parametrize("exponent", [2, 4, 8])
def test_a_negative_similarity_to_an_even_power_is_not_a_high_one(exponent):
    scores = np.array([[0.3, 0.2, -0.9, -0.9]])
    found = aggregate_scores(np.array([[1, 2, 3, 3]]), scores, exponent)
    assert found.argmax() == 0
    assert found[0, 2] < 1e-6


def test_landmarks_are_sought_among_values_and_not_among_row_numbers():
    gallery = gallery_of([100, 101, 102], np.eye(3))
    assert len(gallery.select_landmarks({0, 1, 2}).image_ids) == 0
    assert gallery.select_landmarks({101}).image_ids == ["0000000000000001"]
    logs = np.log(np.array([[0.1, 0.2, 0.7]], np.float32))
    classes = [Class(100, 1), Class(101, 1), Class(102, 1)]
    assert guess_by_head(logs, classes, {0, 1, 2}) == [None]
    assert guess_by_head(logs, classes, {0, 101})[0].landmark_id == 101


def test_an_id_is_not_found_within_a_longer_one(tmp_path):
    sample, submission = tmp_path / "sample.csv", tmp_path / "submission.csv"
    tables.write_rows(sample, ("id", "landmarks"), [("abcdef", ""), ("bcdefg", "")])
    tables.write_rows(submission, ("id", "landmarks"), [("abcdef", ""), ("bcd", "")])
    got = tables.read_submission(submission)
    with pytest.raises(TableError, match="image bcd:"):
        tables.require_ids(submission, got, tables.read_sample(sample), sample)
    gallery = gallery_of([7], [[1, 0]])  # of the image 0000000000000000
    labels = [Label("000", 7), Label("0000000000000000", 7), Label("0" * 17, 7)]
    recogniser = SimpleNamespace(gallery=gallery, ranking=config.Recognition())
    new = _new_labels(labels, recogniser)
    assert [label.image_id for label in new] == ["000", "0" * 17]


def test_the_first_and_the_last_class_are_themselves(settings, shards_dir):
    """From the table to the shards and back to landmarks: none is clipped or shifted."""
    classes = tables.read_classes(shards_dir / "classes.csv")
    last = len(classes) - 1
    manifest = read_manifest(shards_dir)
    by_table = np.concatenate(image_classes(shards_dir, manifest, "train"))
    assert set(by_table.tolist()) == set(range(len(classes)))
    paths = shard_paths(shards_dir, manifest, "train")
    copies = [
        np.ones(len(c), np.int64) for c in image_classes(shards_dir, manifest, "train")
    ]
    batches = training_batches(paths, copies, settings.data, len(by_table), 0, 0)
    stored = np.concatenate([labels.numpy() for _, labels in batches])
    np.testing.assert_array_equal(np.bincount(stored), np.bincount(by_table))
    logs = np.log(np.eye(len(classes), dtype=np.float32) * 0.9 + 0.01)
    every = {row.landmark_id for row in classes}
    found = [guess.landmark_id for guess in guess_by_head(logs, classes, every)]
    assert found[0] == min(every) and found[last] == max(every)
    assert found == [row.landmark_id for row in classes]


def test_no_image_that_validates_trains(competition, tmp_path):
    settings = config.Subset(
        validation_share=0.3,
        test_share=0.2,
        unknown_landmarks=1,
        non_landmarks=config.Pools(source="unlisted"),
    )
    subset(settings, 0, competition, tmp_path / "subset")
    members = tables.read_subset(tmp_path / "subset" / "subset.csv")
    ids = [member.image_id for member in members]
    assert len(set(ids)) == len(ids)
    assert {member.split for member in members} == set(tables.SPLITS)


def test_a_subset_with_an_image_in_two_splits_is_refused(tmp_path):
    path = tmp_path / "subset.csv"
    path.write_text("id,landmark_id,split\nabc,7,train\nabc,7,validation\n")
    with pytest.raises(TableError, match="image abc: expected one row"):
        tables.read_subset(path)


def test_accumulated_gradients_do_not_make_a_larger_step():
    """The step of two batches that are the same is the step of one of them."""
    moved = []
    for accumulate in (1, 2):
        keras.utils.set_random_seed(0)
        model, settings = small({"accumulate": accumulate, "learning_rate": 1e6})
        compile_for(model, settings, CLASSES, accumulate, 0)
        model.optimizer.epsilon = (
            1e4  # Adam's step is then in proportion to the gradient
        )
        step = TrainStep(
            model, settings, CLASSES, Workers(tf.distribute.get_strategy())
        )
        batch = tuple(tf.constant(part) for part in DATA)
        before = [v.numpy().copy() for v in model.trainable_variables]
        for number in range(accumulate):
            step.train(batch, number)
        after = [v.numpy() for v in model.trainable_variables]
        moved.append([a - b for a, b in zip(after, before, strict=True)])
    for one, other in zip(*moved, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("counts", [[5, 5, 5], [1], [1, 1], [10**6] * 4])
def test_margins_of_classes_of_one_size_are_numbers(counts):
    found = class_margins(counts, 0.05, 0.5)
    assert np.isfinite(found).all() and len(set(found.tolist())) == 1
    assert 0.05 <= found[0] <= 0.5


def scored(tmp_path, guesses, truths):
    """The scores of files, by the whole way through them."""
    tables.write_submission(tmp_path / "submission.csv", guesses, guesses)
    tables.write_rows(tmp_path / "solution.csv", ("id", "landmarks"), truths.items())
    return score(tmp_path / "submission.csv", tmp_path / "solution.csv")


def test_scores_below_those_of_float32_are_not_tied(tmp_path):
    guesses = {"aaa": Guess(9, 1e-60), "bbb": Guess(7, 2e-60)}
    assert np.float32(1e-60) == np.float32(2e-60) == 0
    found = scored(tmp_path, guesses, {"aaa": "7", "bbb": "7"})
    assert found.gap == found.gap_worst_ties == 0.5


def test_scores_near_one_are_not_tied(tmp_path):
    """Neither as a softmax nor with eight digits."""
    guesses = {"aaa": Guess(9, 1 - 2e-12), "bbb": Guess(7, 1 - 1e-12)}
    found = scored(tmp_path, guesses, {"aaa": "7", "bbb": "7"})
    assert found.gap == found.gap_worst_ties == 0.5
    logs = np.array([[-1e-9, -20.0], [-2e-9, -20.0]], np.float32)
    assert np.exp(logs)[0, 0] == np.exp(logs)[1, 0]
    first, second = guess_by_head(logs, [Class(7, 1), Class(8, 1)], {7, 8})
    assert first.confidence > second.confidence


DIGITS = ["0123456789012345", "0000000000000001", "1234567890123456"]
EXPONENTS = ["1234e56789012345", "00000000000000e1", "1e10000000000000"]


@pytest.mark.parametrize("ids", [DIGITS, EXPONENTS], ids=["digits", "exponents"])
def test_ids_that_look_like_numbers_stay_text_all_the_way(ids, tmp_path):
    """From ``train.csv`` to the subset, and from guesses to their score."""
    rows = [(image_id, 7) for image_id in ids]
    tables.write_rows(tmp_path / "train.csv", ("id", "landmark_id"), rows)
    plain = config.Subset(near_duplicates="ignored")
    subset(plain, 0, tmp_path, tmp_path / "subset")
    members = tables.read_subset(tmp_path / "subset" / "subset.csv")
    assert sorted(member.image_id for member in members) == sorted(ids)
    path = image_path(tmp_path, ids[0])
    assert path.name == f"{ids[0]}.jpg" and path.parent.name == ids[0][2]
    guesses = {image_id: Guess(7, 0.5) for image_id in ids}
    assert scored(tmp_path, guesses, dict.fromkeys(ids, "7")).gap == 1


@pytest.mark.parametrize("landmark", [7, 8, 9])
def test_any_of_several_true_landmarks_is_right(landmark, tmp_path):
    found = scored(tmp_path, {"aaa": Guess(landmark, 0.5)}, {"aaa": "7 8 9"})
    assert (found.gap, found.top1, found.n_positives) == (1, 1, 1)


@pytest.mark.parametrize("order", [1, -1])
def test_ties_are_ranked_by_image_id_whatever_the_order_of_the_files(order, tmp_path):
    guesses = {f"{i:03}": Guess(7, 0.5) for i in range(100)[::order]}
    truths = {f"{i:03}": "7" if i >= 50 else "" for i in range(100)[::order]}
    expected = sum((i + 1) / (51 + i) for i in range(50)) / 50
    assert scored(tmp_path, guesses, truths).gap == pytest.approx(expected, abs=1e-12)
    correct = np.arange(100) >= 50
    assert gap(np.full(100, 0.5), correct, 50) == pytest.approx(expected, abs=1e-12)
