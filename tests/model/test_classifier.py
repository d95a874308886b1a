"""The network: its size, its shapes, its head, and what is exported of it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kaggle_kit import config
from kaggle_kit.backends.tensorflow import TensorFlowEngine
from kaggle_kit.config import Config
from kaggle_kit.inference.embedder_parts import Network
from kaggle_kit.model.backbones import backbone
from kaggle_kit.model.classifier import EMBEDDING, classifier
from kaggle_kit.model.export import export, has_head
from kaggle_kit.model.layers import CosineHead

REPORT = config.Model(pooling="flatten", dropout=0.5)
COSINE = config.Model(batch_norm_momentum=0.9, embedding=16, head="cosine", scale=12)
SMALL = COSINE.model_copy(update={"backbone": "tiny"})


def test_resnet50_has_its_known_size_and_shape():
    network = backbone(config.Model(), 64)
    assert network.count_params() == 23_561_152
    assert network.output_shape == (None, 2, 2, 2048)


@pytest.mark.parametrize(("settings", "width"), [(REPORT, 2048), (COSINE, 16)])
def test_classifier_goes_from_pixels_to_embedding_to_logits(settings, width):
    model = classifier(settings, 32, n_classes=5)
    assert model.output_shape == (None, 5)
    assert model.get_layer(EMBEDDING).output.shape == (None, width)


def test_batch_norm_momentum_is_that_of_the_config():
    model = classifier(COSINE, 32, n_classes=5)
    everything = [*model.layers, *model.get_layer("backbone").layers]
    layers = [x for x in everything if isinstance(x, keras.layers.BatchNormalization)]
    assert len(layers) == 54
    assert {layer.momentum for layer in layers} == {0.9}


def test_cosine_head_is_its_formula():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 4)).astype(np.float32)
    layer = CosineHead(n_classes=5, scale=12)
    logits = layer(x).numpy()
    w = layer.directions.numpy()
    for i in range(3):
        for c in range(5):
            norms = np.linalg.norm(x[i]) * np.linalg.norm(w[:, c])
            assert logits[i, c] == pytest.approx(
                12 * (x[i] @ w[:, c]) / norms, abs=1e-5
            )


def test_cosine_head_of_nothing_is_finite():
    assert np.isfinite(CosineHead(3, 12)(np.zeros((1, 4), np.float32)).numpy()).all()


def test_cosine_head_survives_save_and_load(tmp_path):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, CosineHead(5, 12)(inputs))
    model.save(tmp_path / "m.keras")
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(model(x).numpy(), loaded(x).numpy())


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A model with a head and its SavedModel, flip averaged."""
    folder = tmp_path_factory.mktemp("export") / "model"
    settings = Config(
        name="x",
        data=config.Data(image_size=32, stored_size=32),
        model=COSINE,
        recognition=config.Recognition(ranking="head", flip=True),
    )
    model = classifier(COSINE, 32, n_classes=5)
    export(model, settings, folder)
    return model, tf.saved_model.load(str(folder))


def test_export_averages_unit_embeddings_of_image_and_mirror(exported):
    model, saved = exported
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 32, 32, 3), np.uint8)
    features = keras.Model(model.input, model.get_layer(EMBEDDING).output)
    seen = [
        features(view.astype(np.float32), training=False).numpy()
        for view in (images, images[:, :, ::-1])
    ]
    units = sum(f / np.linalg.norm(f, axis=1, keepdims=True) for f in seen)
    expected = units / np.linalg.norm(units, axis=1, keepdims=True)
    np.testing.assert_allclose(saved.serve(images)["embedding"], expected, atol=1e-5)


def test_export_of_a_mirrored_image_is_the_same(exported):
    _, saved = exported
    images = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3), np.uint8)
    one, other = saved.serve(images), saved.serve(images[:, :, ::-1])
    for name in ("embedding", "log_probability"):
        np.testing.assert_allclose(one[name], other[name], atol=1e-5)


def test_export_gives_an_image_the_same_answer_alone_as_in_a_batch(exported):
    _, saved = exported
    images = np.random.default_rng(2).integers(0, 256, (5, 32, 32, 3), np.uint8)
    together = saved.serve(images)["embedding"]
    for i in range(5):
        alone = saved.serve(images[i : i + 1])["embedding"]
        np.testing.assert_allclose(alone[0], together[i], atol=1e-5)


def test_every_pooling_and_head_goes_from_pixels_to_logits():
    for pooling in ("average", "gem"):
        for head in ("dense", "cosine", "arcface"):
            settings = config.Model(pooling=pooling, head=head, embedding=8, scale=None)
            model = classifier(settings, 32, n_classes=5)
            assert model.output_shape == (None, 5)
            assert model.output.dtype == "float32"


def test_a_network_takes_images_of_any_size_that_32_divides():
    model = classifier(COSINE, None, n_classes=5)
    for size in (32, 96):
        images = np.zeros((1, size, size, 3), np.float32)
        assert model(images, training=False).shape == (1, 5)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("unit", [0, 1]),
        ("centred", [-127 / 128, 1]),
        ("caffe", [-123.68, 255 - 123.68]),
    ],
)
def test_pixels_are_scaled_as_the_weights_expect(kind, expected):
    model = classifier(config.Model(pixels=kind), 32, n_classes=2)
    scaled = keras.Model(model.input, model.get_layer("rescaled").output)
    images = np.array([0, 255], np.float32)[:, None, None, None] * np.ones(
        (1, 32, 32, 3)
    )
    red = scaled(images.astype(np.float32)).numpy()[:, 0, 0, 0]
    np.testing.assert_allclose(red, expected, rtol=1e-5)


def test_export_averages_over_scales_and_mirrors(tmp_path):
    settings = Config(
        name="x",
        data=config.Data(image_size=64, stored_size=64),
        model=SMALL,
        recognition=config.Recognition(scales=(1.0, 0.5), flip=True),
    )
    model = classifier(SMALL, None, n_classes=5)
    export(model, settings, tmp_path / "model")
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    features = keras.Model(model.input, model.get_layer(EMBEDDING).output)
    whole = tf.cast(images, tf.float32)
    half = tf.image.resize(whole, (32, 32), "bilinear", antialias=True)
    units = []
    for view in (whole, half, whole[:, :, ::-1], half[:, :, ::-1]):
        seen = features(view, training=False).numpy()
        units.append(seen / np.linalg.norm(seen, axis=1, keepdims=True))
    expected = sum(units) / np.linalg.norm(sum(units), axis=1, keepdims=True)
    saved = tf.saved_model.load(str(tmp_path / "model"))
    found = saved.serve(images)
    np.testing.assert_allclose(found["embedding"], expected, atol=1e-5)
    assert "log_probability" not in found


def test_a_scale_above_1_sees_a_larger_image_and_not_an_enlarged_one(tmp_path):
    settings = Config(
        name="x",
        data=config.Data(image_size=32, stored_size=32),
        model=SMALL,
        recognition=config.Recognition(scales=(1.0, 2.0), flip=False),
    )
    model = classifier(SMALL, None, n_classes=5)
    export(model, settings, tmp_path / "model")
    assert Network(tmp_path / "model", TensorFlowEngine()).side == 64


@pytest.mark.parametrize(
    ("recognition", "epochs", "expected"),
    [
        ({"ranking": "head"}, 3, True),
        ({"head_exponent": 0.5}, 3, True),
        ({"tune": True}, 3, True),
        ({}, 3, False),
        ({"tune": True}, 0, False),
    ],
)
def test_the_head_is_exported_only_where_it_has_a_say(recognition, epochs, expected):
    settings = Config(
        name="x",
        train=config.Train(epochs=epochs),
        recognition=config.Recognition(**recognition),
    )
    assert has_head(settings) is expected
