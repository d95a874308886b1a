"""Every network of the kit passes the check of SavedModels; what others make is named."""

import time
from typing import get_args

import keras
import numpy as np
import pytest
import tensorflow as tf

from kaggle_kit import config
from kaggle_kit.backends.base import VIEWS
from kaggle_kit.backends.tensorflow import SavedModelRunner, enable_mixed_precision
from kaggle_kit.config.network import Model
from kaggle_kit.errors import ArtefactError
from kaggle_kit.model.classifier import classifier
from kaggle_kit.model.export import export
from kaggle_kit.model.saved_model_check import check_saved_model
from tests.helpers.complaints import check_complaint
from tests.helpers.longer import but_for
from tests.helpers.saved_models import SIDE, SPEC, module_of

N_CLASSES = 40
HEADED = {"recognition.ranking": "head"}


def choices(name):
    """All values of a setting of the model."""
    return get_args(Model.model_fields[name].annotation)


def exported(settings, changes, out):
    """An untrained network of these settings, exported."""
    own = config.override(settings, changes)
    n_views = len(own.recognition.scales)
    size = own.data.image_size if n_views == 1 else None
    export(classifier(own.model, size, N_CLASSES), own, out)
    return out


def check_runs(folder, side=32):
    """The check lets it through, and it computes unit vectors."""
    runner = SavedModelRunner(folder)
    assert runner.side == side
    for view in runner.views:
        vectors = runner.start(np.full((2, side, side, 3), 9, np.uint8), view)()
        lengths = np.linalg.norm(vectors["embedding"], axis=1)
        np.testing.assert_allclose(lengths, 1, atol=1e-3)


BACKBONES = [name for name in choices("backbone") if name != "none"]


@pytest.mark.parametrize("backbone", but_for(["tiny", "resnet50"], BACKBONES))
def test_each_backbone_passes(backbone, settings, tmp_path):
    changes = HEADED | {"model.backbone": backbone, "recognition.flip": False}
    folder = exported(settings, changes, tmp_path / "model")
    check_saved_model(folder, VIEWS)
    if backbone == "tiny":
        check_runs(folder)


HEADS = [
    *({"model.head": head} for head in choices("head")),
    {"model.head": "arcface", "model.sub_centres": 3, "model.scale": 20.0},
    {"model.head": "arcface", "model.sampled_classes": 30},
]
PIXELS = [{"model.pixels": pixels} for pixels in choices("pixels")]
PARTS = [
    *({"model.pooling": pooling} for pooling in choices("pooling")),
    {"model.pooling": "gem", "model.gem_trainable": True, "model.embedding": None},
    *PIXELS,
    {"train.mixed_precision": True},
    {"recognition.scales": [1.0, 0.5, 2.0], "recognition.flip": True},
    {"recognition.scales": [1.0, 2.0], "recognition.flip": False},
    {"recognition.flip": False, "recognition.ranking": "gallery"},
]


@pytest.mark.parametrize("changes", but_for([HEADS[0], *HEADS[-2:]], HEADS), ids=str)
def test_each_head_passes(changes, settings, tmp_path):
    folder = exported(settings, HEADED | changes, tmp_path / "model")
    check_saved_model(folder, VIEWS)


@pytest.mark.parametrize(
    "changes",
    but_for([PARTS[3], PIXELS[-1], PARTS[-3]], PARTS),
    ids=lambda changes: str(changes),
)
def test_each_part_and_view_passes(changes, settings, tmp_path):
    folder = exported(settings, HEADED | changes, tmp_path / "model")
    check_runs(folder, 64 if 2.0 in changes.get("recognition.scales", []) else 32)


@pytest.mark.extended
def test_a_network_in_half_precision_passes(settings, tmp_path):
    """Also where the options of the process were others as it was exported."""
    before = tf.config.optimizer.get_experimental_options()
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        enable_mixed_precision()
        folder = exported(settings, HEADED, tmp_path / "model")
    finally:
        keras.mixed_precision.set_global_policy("float32")
        restored = before | {"auto_mixed_precision": False}
        tf.config.optimizer.set_experimental_options(restored)
    check_runs(folder)


def test_a_network_of_version_0_1_0_passes(settings, tmp_path):
    """Without signatures, resized by TensorFlow, and numbered by the process."""
    model = classifier(settings.model, None, N_CLASSES)
    outputs = {"features": model.get_layer("embedding").output, "logits": model.output}
    network = keras.Model(model.input, outputs)

    def serve(images):
        pixels = tf.cast(images, tf.float32)
        views = [pixels, tf.image.resize(pixels, (64, 64), "bilinear", antialias=True)]
        views += [tf.reverse(view, axis=[2]) for view in views]
        seen = [network(view, training=False) for view in views]
        units = [tf.math.l2_normalize(view["features"], -1) for view in seen]
        logs = [tf.nn.log_softmax(view["logits"]) for view in seen]
        return {
            "embedding": tf.math.l2_normalize(tf.add_n(units), -1),
            "log_probability": tf.add_n(logs) / len(logs),
        }

    module = tf.Module()
    module.weights = [variable.value for variable in network.variables]
    spec = [tf.TensorSpec((None, 32, 32, 3), tf.uint8, "images")]
    module.serve = tf.function(serve, input_signature=spec)
    tf.saved_model.save(module, str(tmp_path / "model"))
    assert (tmp_path / "model" / "fingerprint.pb").exists()
    check_runs(tmp_path / "model")


# Networks of others.


def wrapped(network, folder):
    """A Keras network in the form of the kit."""
    module = tf.Module()
    module.weights = [variable.value for variable in network.weights]

    def serve(images):
        features = network(tf.cast(images, tf.float32) / 255, training=False)
        return {"embedding": tf.math.l2_normalize(features, -1)}

    module.serve = tf.function(serve, input_signature=SPEC)
    tf.saved_model.save(module, str(folder), signatures=module.serve)
    return folder


def sequential(*layers):
    return keras.Sequential([keras.Input((SIDE, SIDE, 3)), *layers])


def test_layers_of_another_network_pass(tmp_path):
    layers = keras.layers
    network = sequential(
        layers.ZeroPadding2D(1),
        layers.SeparableConv2D(8, 3, dilation_rate=2, padding="same"),
        layers.LayerNormalization(),
        layers.Activation("gelu"),
        layers.Conv2D(8, 3, groups=1, activation="leaky_relu"),
        layers.UpSampling2D(2, interpolation="bilinear"),
        layers.AveragePooling2D(2),
        layers.Activation("hard_sigmoid"),
        layers.GlobalMaxPooling2D(),
        layers.Dense(4, activation="tanh"),
    )
    folder = wrapped(network, tmp_path / "model")
    check_runs(folder, SIDE)


@pytest.mark.extended
@pytest.mark.parametrize("name", ["MobileNetV2", "DenseNet121", "ResNet50V2"])
def test_a_network_of_keras_applications_passes(name, tmp_path):
    network = getattr(keras.applications, name)(
        weights=None, input_shape=(32, 32, 3), include_top=False, pooling="avg"
    )
    resized = sequential(keras.layers.Resizing(32, 32), network)
    check_saved_model(wrapped(resized, tmp_path / "model"), VIEWS)


def a_network_with_gradients(folder):
    wrapped(sequential(keras.layers.Activation("silu"), keras.layers.Flatten()), folder)


def an_export_of_keras(folder):
    network = sequential(keras.layers.Flatten(), keras.layers.Dense(4))
    network.export(folder, verbose=False)


def a_table(folder):
    module = module_of()
    keys = tf.lookup.KeyValueTensorInitializer(["a"], [1])
    module.table = tf.lookup.StaticHashTable(keys, -1)
    tf.saved_model.save(module, str(folder))


def a_preprocessing_with_assets(folder):
    module = module_of()
    names = folder.with_name("names.txt")
    names.write_text("a\nb\n")
    module.names = tf.saved_model.Asset(str(names))
    tf.saved_model.save(module, str(folder))


def a_random_number(folder):
    module = module_of()
    module.more = tf.function(lambda x: x + tf.random.uniform(()), SPEC_OF_FLOATS)
    tf.saved_model.save(module, str(folder))


SPEC_OF_FLOATS = [tf.TensorSpec((None,), tf.float32, "x")]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (a_network_with_gradients, "'registered_gradients' in the library"),
        (an_export_of_keras, "the operation '.*' of the node '.*' of the graph"),
        (a_table, "the operation 'HashTableV2' of the node 'hash_table' of the graph"),
        (a_preprocessing_with_assets, "files in 'assets'"),
        (
            a_random_number,
            "'RandomUniform' of the node '.*' in the function '__inference_<lambda>",
        ),
    ],
)
def test_what_else_there_is_is_named(make, words, tmp_path):
    make(tmp_path / "model")
    with pytest.raises(ArtefactError, match=words) as caught:
        check_saved_model(tmp_path / "model", VIEWS)
    check_complaint(caught.value, tmp_path)
    assert "expected only what a network of this kit contains" in str(caught.value)


@pytest.mark.timed
def test_the_check_takes_no_time(settings, tmp_path):
    """Of ResNet-50 in four views: less than a fifth of a second."""
    changes = {"model.backbone": "resnet50", "recognition.scales": [1.0, 2.0]}
    folder = exported(settings, changes, tmp_path / "model")
    check_saved_model(folder, VIEWS)
    start = time.perf_counter()
    check_saved_model(folder, VIEWS)
    assert time.perf_counter() - start < 0.2
