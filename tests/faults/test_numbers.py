"""Numbers that are not finite or out of range: refused where they are read and written.

One NaN in a bundle is enough to give every image the same guess. Each file of a bundle is
damaged, and its manifest made anew, as if the damage had happened before.
"""

import json
import shutil
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from kaggle_kit.app.answers import AnswerService
from kaggle_kit.backends.base import LITE, MODEL
from kaggle_kit.backends.tensorflow import TensorFlowEngine, load_runner
from kaggle_kit.bundling.build import build_bundle
from kaggle_kit.data.layout import image_path
from kaggle_kit.errors import ArtefactError, ConfigError, KitError, TableError
from kaggle_kit.inference.calibration import Calibration
from kaggle_kit.inference.embedder_parts import Network
from kaggle_kit.inference.predict import predict
from kaggle_kit.inference.recogniser import Recogniser
from kaggle_kit.local_features.vlad import Vocabulary
from kaggle_kit.retrieval.gallery import Gallery
from kaggle_kit.retrieval.whitening import Whitening
from kaggle_kit.storage import arrays, tables
from kaggle_kit.storage.manifest import MANIFEST, verify
from kaggle_kit.storage.tables import Guess
from kaggle_kit.training.checkpoint import (
    EpochProgress,
    load_checkpoint,
    read_progress,
    write_checkpoint,
)
from kaggle_kit.training.run_directory import RunDirectory
from tests.helpers.app_answers import answer_images
from tests.helpers.complaints import check_complaint
from tests.helpers.signed_bundles import sign

SAMPLE = "sample_submission.csv"
HUGE = {"float16": 6e4, "float32": 3e37}


def one(value):
    """A fault: the last number becomes another."""

    def change(array):
        array.flat[-1] = HUGE[array.dtype.name] if value == "huge" else value
        return array

    return change


def doubled(array):
    return np.minimum(array.astype(np.float64) * 2, 255).astype(array.dtype)


ONE = {str(v): one(v) for v in (np.nan, np.inf, -np.inf, "huge")}
FAULTS = ONE | {"zero": np.zeros_like, "doubled": lambda array: array * 2}
# By file: the faults that can be told from numbers that the kit writes. Penalties of 0 are
# those without non-landmarks; a whitening does not change if its matrix is doubled.
ARRAYS = {
    "gallery/vectors.npy": FAULTS,
    "gallery/non_landmarks.npy": FAULTS,
    "gallery/penalties.npy": ONE | {"10": one(10), "-1.1": one(-1.1)},
    "local/points.npy": ONE | {"negative": one(-1)},
    "local/sizes.npy": ONE | {"zero": np.zeros_like, "negative": one(-1)},
    "local/descriptors.npy": {"zero": np.zeros_like, "doubled": doubled},
    "embedders/0/words.npy": FAULTS,
    "embedders/0/words.whitening.npz:mean": ONE | {"2": one(2)},
    "embedders/0/words.whitening.npz:matrix": ONE | {"zero": np.zeros_like},
    "embedders/1/model.whitening.npz:mean": ONE | {"doubled": lambda array: array * 2},
    "embedders/1/model.whitening.npz:matrix": ONE | {"zero": np.zeros_like},
}
CASES = [(name, fault) for name, faults in ARRAYS.items() for fault in faults]


@pytest.fixture(scope="module")
def copied(both, tmp_path_factory):
    """A copy of a bundle with all kinds of arrays."""
    bundle = tmp_path_factory.mktemp("copied") / "bundle"
    return Path(shutil.copytree(both[0] / "bundle", bundle))


@pytest.fixture
def damaged(copied):
    """That copy, and a way to damage one of its arrays until the test is over."""
    before = {}

    def damage(name, fault):
        file, _, key = name.partition(":")
        path = copied / file
        before[path] = path.read_bytes()
        if key:
            with np.load(path) as npz:
                values = dict(npz)
            np.savez(path, **values | {key: fault(values[key])})
        else:
            np.save(path, fault(np.load(path)))
        sign(copied)
        return path

    yield copied, damage
    for path, content in before.items():
        path.write_bytes(content)


def check_refused(bundle, competition, out, *paths):
    """By what makes a submission, by the API and by the app; there is no guess."""
    for read in (
        lambda: predict(bundle, competition, out / "submission.csv"),
        lambda: Recogniser.load(bundle),
        lambda: AnswerService(bundle),
    ):
        with pytest.raises(KitError) as caught:
            read()
        check_complaint(caught.value, *paths)
    guesses = tables.read_submission(out / "submission.csv")
    assert set(guesses.values()) == {None}


@pytest.mark.parametrize(("name", "fault"), CASES)
def test_a_bundle_with_such_numbers_is_refused(
    name, fault, damaged, competition, tmp_path, tried
):
    bundle, damage = damaged
    path = damage(name, ARRAYS[name][fault])
    check_refused(bundle, competition, tmp_path, path, path.parent)
    tried["arrays of a bundle with impossible numbers, each refused"] += 1


def test_the_bundle_itself_is_read(copied):
    sign(copied)
    Recogniser.load(copied).close()


@pytest.mark.parametrize(
    "values",
    [
        *({"slope": -1.0}, {"slope": 0}, {"slope": 3e37}, {"slope": True}),
        *({"intercept": 3e37}, {"intercept": None}, {"n": 0}, {"n": 2.5}),
        *({"n_landmarks": 11}, {"n_landmarks": -1}),
    ],
)
def test_a_calibration_that_is_none_is_neither_read_nor_written(values, tmp_path):
    good = {"slope": 2.5, "intercept": -0.5, "n": 10, "n_landmarks": 4}
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(good))
    assert Calibration.load(path) == Calibration(**good)
    path.write_text(json.dumps(good | values))
    with pytest.raises(ArtefactError) as caught:
        Calibration.load(path)
    check_complaint(caught.value, path)
    if None not in values.values():
        with pytest.raises(ArtefactError):
            Calibration(**good | values).save(tmp_path / "new.json")
        assert not (tmp_path / "new.json").exists()


# Networks.


def network_of(bundle, value, scores=None):
    """Replace the network of a bundle: its embeddings are a vector times ``value``.

    With ``scores`` it has a head, and each class that score.
    """
    folder = bundle / "embedders" / "0" / MODEL
    original = load_runner(folder)
    side, width = original.side, original.width
    original.close()
    unit = np.eye(1, width, dtype=np.float32) * np.float32(value)
    n_classes = len(tables.read_classes(bundle / "classes.csv"))

    def serve(images):
        ones = tf.reduce_mean(tf.cast(images, tf.float32), [1, 2, 3])[:, None] * 0 + 1
        outputs = {"embedding": ones * unit}
        if scores is not None:
            logs = np.full((1, n_classes), scores, np.float32)
            outputs["log_probability"] = ones * logs
        return outputs

    signature = [tf.TensorSpec((None, side, side, 3), tf.uint8, "images")]
    module = tf.Module()
    module.serve = tf.function(serve, input_signature=signature)
    shutil.rmtree(folder)
    tf.saved_model.save(module, str(folder), signatures=module.serve)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
    folder.with_name(LITE).write_bytes(converter.convert())
    sign(bundle)
    return folder


@pytest.fixture
def network_only(bundle_dir, tmp_path):
    return Path(shutil.copytree(bundle_dir, tmp_path / "bundle"))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e37, 2])
def test_a_network_with_such_embeddings_makes_no_submission(
    value, network_only, competition, tmp_path
):
    folder = network_of(network_only, value)
    with pytest.raises(ArtefactError) as caught:
        predict(network_only, competition, tmp_path / "submission.csv")
    check_complaint(caught.value, folder)
    assert not any(tables.read_submission(tmp_path / "submission.csv").values())
    image = image_path(
        competition / "test", tables.read_sample(competition / SAMPLE)[0]
    )
    with Recogniser.load(network_only) as recogniser:
        for use in (
            lambda: recogniser.recognise([image]),
            lambda: recogniser.similar(image),
        ):
            with pytest.raises(ArtefactError) as caught:
                use()
            check_complaint(caught.value, folder)


def test_one_image_without_finite_outputs_stops_nothing(
    bundle_dir, monkeypatch, caplog
):
    """As where float16 overflows: the others have what they have without it."""
    network = Network(bundle_dir / "embedders" / "0" / MODEL, TensorFlowEngine())
    images = np.zeros((3, network.side, network.side, 3), np.uint8)
    plain, scores = network.embed(images, network.views[-1])
    start = network.runner.start

    def overflow(inputs, view):
        outputs = {name: np.array(x) for name, x in start(inputs, view)().items()}
        outputs["embedding"][1] = np.inf
        return lambda: outputs

    monkeypatch.setattr(network.runner, "start", overflow)
    vectors, other_scores = network.embed(images, network.views[-1])
    network.close()
    assert not vectors[1].any() and "no embedding of 1 images" in caplog.text
    np.testing.assert_array_equal(vectors[[0, 2]], plain[[0, 2]])
    np.testing.assert_array_equal(other_scores[[0, 2]], scores[[0, 2]])
    if network.n_classes:
        assert np.exp(other_scores[1]).sum() == pytest.approx(1)


def test_the_app_names_the_network_too(network_only, competition):
    """In a process of its own, since its engine is not TensorFlow."""
    network_of(network_only, np.nan)
    image = image_path(
        competition / "test", tables.read_sample(competition / SAMPLE)[0]
    )
    with pytest.raises(AssertionError, match=f"ArtefactError: .*0/{LITE}: expected"):
        answer_images(network_only, [image])


def test_a_network_that_sees_nothing_in_any_image_makes_no_submission(
    network_only, competition, tmp_path
):
    """One image may be without any feature; zeros for all would be one landmark for all."""
    network_of(network_only, 0)
    with pytest.raises(ArtefactError, match="embedders: expected .* zeros for all 28"):
        predict(network_only, competition, tmp_path / "submission.csv")


@pytest.mark.parametrize("value", [np.nan, -np.inf, 3e37])
def test_class_scores_are_finite_too(value, network_only, competition, tmp_path):
    folder = network_of(network_only, 1, value)
    with pytest.raises(ArtefactError, match="log_probability") as caught:
        predict(network_only, competition, tmp_path / "submission.csv")
    check_complaint(caught.value, folder)


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e37])
def test_a_run_with_such_weights_makes_no_bundle(value, run_dir, competition, tmp_path):
    run = Path(shutil.copytree(run_dir, tmp_path / "run"))
    with h5py.File(run / "model.weights.h5", "r+") as file:
        names = []
        file.visit(lambda name: names.append(name))
        names = [n for n in names if "optimizer" not in n and n.endswith("vars/0")]
        weight = file[names[-1]]
        changed = np.array(weight)
        changed.flat[0] = value
        weight[...] = changed
    with pytest.raises(ArtefactError) as caught:
        build_bundle([run], competition, tmp_path / "bundle")
    check_complaint(caught.value, run / "model.weights.h5")
    assert not (tmp_path / "bundle").exists()


def test_a_confidence_that_is_none_is_not_written(tmp_path):
    path = tmp_path / "submission.csv"
    tables.write_submission(path, ["abc"], {"abc": Guess(7, 0.5)})
    before = path.read_bytes()
    for value in (np.nan, np.inf, -np.inf):
        with pytest.raises(TableError) as caught:
            tables.write_submission(path, ["abc"], {"abc": Guess(7, value)})
        check_complaint(caught.value, path)
        assert path.read_bytes() == before


# What the kit writes.


def units(n, d=8):
    vectors = np.random.default_rng(0).normal(size=(n, d))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def gallery_of(vectors, non_landmarks):
    n = len(vectors)
    return Gallery(
        [f"{i:016x}" for i in range(n)],
        np.arange(n),
        vectors.astype(np.float16),
        np.zeros(n, np.float32),
        non_landmarks.astype(np.float16),
    )


@pytest.mark.parametrize("d", [8, 512, 8192])
def test_unit_vectors_of_any_width_pass_and_so_do_images_without_features(d, tmp_path):
    vectors, non_landmarks = units(5, d), units(3, d)
    vectors[2] = non_landmarks[:] = 0
    gallery_of(vectors, non_landmarks).save(tmp_path / "gallery")
    assert len(Gallery.load(tmp_path / "gallery").vectors) == 5
    gallery_of(vectors[2:3], vectors[:0]).save(tmp_path / "one")
    assert len(Gallery.load(tmp_path / "one").vectors) == 1


@pytest.mark.parametrize("factor", [0, 1.002, 0.998, 2, np.nan, np.inf, 6e4])
def test_a_gallery_of_other_vectors_is_not_written(factor, tmp_path):
    with pytest.raises(ArtefactError) as caught:
        gallery_of(units(5) * factor, units(2)).save(tmp_path / "gallery")
    check_complaint(caught.value, tmp_path / "gallery")
    assert not (tmp_path / "gallery").exists()


def test_penalties_come_from_non_landmarks(tmp_path):
    gallery = gallery_of(units(5), units(0))
    gallery.penalties[3] = 0.1
    with pytest.raises(ArtefactError, match="0.1 in penalties"):
        gallery.save(tmp_path / "gallery")


def test_other_arrays_are_not_written_either(tmp_path):
    from kaggle_kit.local_features.sift import LocalFeatures
    from tests.helpers.textures import random_features

    mean, matrix = np.zeros(3, np.float32), np.eye(3, dtype=np.float32)
    Whitening(mean, matrix).save(tmp_path / "good.npz")
    features = random_features(4)
    sizes = np.array([1, 1, 1, np.nan], np.float32)
    for name, thing in {
        "x.npz": Whitening(mean, matrix * np.float32(np.nan)),
        "words.npy": Vocabulary(np.full((2, 128), 3e37, np.float32)),
        "local": LocalFeatures.concatenate([features._replace(sizes=sizes)]),
    }.items():
        with pytest.raises(ArtefactError) as caught:
            thing.save(tmp_path / name)
        check_complaint(caught.value, tmp_path / name)
        assert not (tmp_path / name).exists()


@pytest.mark.parametrize("block", [1, 7, 24, 10_000])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_every_value_is_looked_at_in_blocks_of_any_size(block, dtype, monkeypatch):
    monkeypatch.setattr(arrays, "BLOCK", block)
    vectors = units(11, 6).astype(dtype)
    assert arrays.require_lengths("x", vectors, 0.99, 1.01)
    assert not arrays.require_lengths("x", vectors * 0, 0.99, 1.01)
    arrays.require_range("x", vectors, -1, 1)
    for row in range(11):
        for value in (np.nan, np.inf, -np.inf, 5):
            changed = vectors.copy()
            changed[row, row % 6] = value
            with pytest.raises(ValueError, match=f"of row {row} in x"):
                arrays.require_lengths("x", changed, 0.99, 1.01)
            with pytest.raises(ValueError, match=f"the value {value}.* in x"):
                arrays.require_range("x", changed, -1, 1)


# Trainings.


def variables(value):
    return [keras.Variable(np.array([1, value, 2], np.float32)), keras.Variable(3)]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_training_that_has_diverged_leaves_the_checkpoint_before(value, tmp_path):
    path = tmp_path / "checkpoint-0001.npz"
    write_checkpoint(path, variables(0.5), EpochProgress(0, 2, 1.5, np.ones(3)))
    before = path.read_bytes()
    with pytest.raises(ConfigError) as caught:
        write_checkpoint(path, variables(value))
    check_complaint(caught.value, path)
    assert path.read_bytes() == before
    loaded = variables(0)
    load_checkpoint(path, loaded)
    assert loaded[0].numpy().tolist() == [1, 0.5, 2]
    assert read_progress(path, 0).n_batches == 2


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_checkpoint_with_such_a_value_is_refused(value, tmp_path):
    path = tmp_path / "checkpoint-0001.npz"
    good = {"00000": np.ones(3, np.float32), "00001": np.array(3)}
    for name, changed in {
        "00000": np.array([1, value, 2], np.float32),
        "place": np.array([value, 1, 1, 1, 1]),
    }.items():
        np.savez(path, **{"place": np.ones(5)} | good | {name: changed})
        with pytest.raises(ArtefactError) as caught:
            if name == "place":
                read_progress(path, 0)
            load_checkpoint(path, variables(0))
        check_complaint(caught.value, path)


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e37])
def test_weights_that_are_none_do_not_replace_the_best(value, tmp_path):
    network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    run = RunDirectory(tmp_path)
    run.save_weights(network)
    before = run.weights_path.read_bytes()
    network.layers[0].set_weights([np.full((3, 2), value), np.zeros(2)])
    with pytest.raises(ConfigError) as caught:
        run.save_weights(network)
    check_complaint(caught.value, run.weights_path)
    assert run.weights_path.read_bytes() == before


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "", "1e999"])
def test_a_history_is_finite_but_for_validation(value, tmp_path):
    run = RunDirectory(tmp_path)
    run.history_path.write_text(f"epoch,loss,val_loss\n1,0.5,0.4\n2,0.1,{value}\n")
    assert len(run.read_history()) == 2
    run.history_path.write_text(f"epoch,loss,val_loss\n1,0.5,0.4\n2,{value},0.3\n")
    with pytest.raises(ArtefactError) as caught:
        run.read_history()
    check_complaint(caught.value, run.history_path)


# Scores.


@pytest.mark.parametrize("gap", [np.nan, np.inf, -0.1, 1.1, "0.5", True, [0.5]])
def test_a_score_in_a_manifest_is_one(gap, tmp_path):
    sign(tmp_path)
    path = tmp_path / MANIFEST
    manifest = json.loads(path.read_text())
    for good in (None, 0, 0.5, 1):
        path.write_text(json.dumps(manifest | {"validation": {"gap": good}}))
        verify(tmp_path)
    path.write_text(json.dumps(manifest | {"validation": {"gap": gap}}))
    with pytest.raises(ArtefactError) as caught:
        verify(tmp_path)
    check_complaint(caught.value, path)
