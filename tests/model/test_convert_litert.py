"""The LiteRT file says of images what the SavedModel says, for any number of them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kaggle_kit import config
from kaggle_kit.backends.tensorflow import TensorFlowEngine
from kaggle_kit.data.layout import image_path
from kaggle_kit.inference.embedder_parts import Network
from kaggle_kit.model.classifier import classifier
from kaggle_kit.model.convert_litert import convert_to_litert
from kaggle_kit.model.deterministic import stabilise
from kaggle_kit.model.export import export
from kaggle_kit.storage.tables import read_sample
from kaggle_kit.training.network import load_best
from tests.helpers.decoding import decode_batches


def runner(path):
    """The function of a LiteRT file, from a batch of images to its outputs."""
    return tf.lite.Interpreter(str(path)).get_signature_runner("serving_default")


LARGE = ["efficientnet_lite0", "resnet50"]


@pytest.fixture(
    scope="module",
    params=["trained", *(pytest.param(n, marks=pytest.mark.extended) for n in LARGE)],
)
def both(request, settings, run_dir, competition, tmp_path_factory):
    """A SavedModel with several views and a head, its LiteRT file, and drawn images."""
    out = tmp_path_factory.mktemp("lite")
    changes = {"recognition.ranking": "head", "recognition.scales": [1.0, 2.0]}
    if request.param != "trained":
        keras.utils.set_random_seed(0)
        other = {"model.backbone": request.param, "model.pooling": "gem"}
        own = config.override(settings, changes | other)
        network = classifier(own.model, None, 7)
    else:
        own = config.override(settings, changes)
        network = load_best(run_dir, own)
    export(network, own, out / "model")
    convert_to_litert(out / "model", out / "model.tflite")
    saved = Network(out / "model", TensorFlowEngine())
    ids = read_sample(competition / "sample_submission.csv")
    paths = [image_path(competition / "test", image_id) for image_id in ids]
    ((_, pixels),) = decode_batches(paths, saved.side, len(paths))
    return saved.runner.models[0], out / "model.tflite", np.asarray(pixels)


def test_embeddings_agree_and_so_do_the_guesses(both):
    saved, path, pixels = both
    expected = {name: value.numpy() for name, value in saved.serve(pixels).items()}
    found = runner(path)(images=pixels)
    assert found.keys() == expected.keys() == {"embedding", "log_probability"}
    cosine = (found["embedding"] * expected["embedding"]).sum(axis=1)
    assert len(cosine) == 28 and cosine.min() > 0.999999
    np.testing.assert_allclose(np.linalg.norm(found["embedding"], axis=1), 1, atol=1e-5)
    found, expected = found["log_probability"], expected["log_probability"]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    top = expected.argmax(axis=1)
    sure = np.sort(expected, axis=1)[:, -1] - np.sort(expected, axis=1)[:, -2] > 1e-4
    assert sure.sum() > 14
    assert (found.argmax(axis=1) == top)[sure].all()


def test_a_batch_may_have_any_size(both):
    _, path, pixels = both
    serve = runner(path)
    whole = serve(images=pixels)["embedding"]
    for n in (1, 3, len(pixels), 1):
        some = serve(images=pixels[:n])["embedding"]
        np.testing.assert_allclose(some, whole[:n], atol=1e-4)


@pytest.mark.parametrize(
    "both",
    [pytest.param(n, marks=pytest.mark.extended) for n in LARGE],
    indirect=True,
    scope="module",
)
def test_it_takes_no_more_room_than_the_weights(both):
    _, path, _ = both
    saved = path.with_name("model") / "variables"
    size = sum(file.stat().st_size for file in saved.iterdir())
    assert path.stat().st_size < 1.1 * size


def test_a_network_that_was_made_stable_again_is_the_same(both, tmp_path):
    """Numbers that are settled stay, and what they belong to still works."""
    _, path, pixels = both
    folder = path.with_name("model")
    before = (folder / "saved_model.pb").read_bytes()
    stabilise(folder)
    assert (folder / "saved_model.pb").read_bytes() == before
    assert sorted(p.name for p in folder.iterdir()) == ["saved_model.pb", "variables"]
    served = tf.saved_model.load(str(folder)).signatures["serving_default"]
    found = served(images=tf.constant(pixels[:2]))
    assert set(found) == {"embedding", "log_probability"}
