"""Build a bundle for training on Kaggle: the library and a config, but no model."""

import shutil
from pathlib import Path

import kaggle_kit
from kaggle_kit.bundling.contents import (
    BUNDLE,
    BundleSizes,
    write_config,
    write_listing,
    write_manifest,
)
from kaggle_kit.bundling.library import copy_library, stop_former_kernels
from kaggle_kit.bundling.metadata import HANDLE, dataset_metadata, make_title
from kaggle_kit.config import Config
from kaggle_kit.errors import ArtefactError
from kaggle_kit.escaping import code_markdown
from kaggle_kit.limits import require_limit
from kaggle_kit.model.pretrained import IMAGENET, imagenet_package
from kaggle_kit.storage.folders import atomic_write_dir

SUBTITLE = "Library and config for the landmark training kernel"
HDF5 = b"\x89HDF\r\n\x1a\n"  # the first bytes of a file
DESCRIPTION = """\
What the training kernel of kaggle-kit {version} for Google Landmark Recognition 2021 runs:
the library and the config {name}. There is no model and no image in it.

Licence: Apache-2.0 (`LICENSE`).
"""


def build_training_bundle(
    settings: Config,
    out: Path,
    handle: str = HANDLE,
    title: str | None = None,
    max_mb: float | None = None,
) -> BundleSizes:
    """Build the folder ``out`` for training on Kaggle: the library and a config.

    Its files are ``kaggle_kit/``, ``config.json``, ``LICENSE``,
    ``dataset-metadata.json``, the manifest, and the initial weights, if any.

    Args:
        settings: the config of the training.
        handle, title, max_mb: as for ``build_bundle``.

    Raises:
        ArtefactError: the weights file is missing or none, or the bundle is too large or contains
            credentials or private paths.
        KitError: as for ``build_bundle``.
    """
    require_limit("max_mb", max_mb, "MB")
    out = Path(out)
    title = make_title(handle, title)
    with atomic_write_dir(out, BUNDLE) as folder:
        copy_library(folder)
        stop_former_kernels(folder)
        write_config(settings, folder)
        _copy_weights(settings.model.weights, folder)
        description = DESCRIPTION.format(
            version=kaggle_kit.__version__, name=code_markdown(settings.name)
        )
        listing = dataset_metadata(handle, title, SUBTITLE, description, "apache-2.0")
        write_listing(listing, folder)
        contents = {"kind": "training", "name": settings.name}
        return write_manifest(folder, out, contents, [out, folder], max_mb)


def _copy_weights(weights: str | None, folder: Path) -> None:
    """Copy a weights file, or the package that contains the ImageNet weights."""
    if weights is None:
        return
    if weights != IMAGENET:
        _copy_weights_file(Path(weights), folder)
        return
    package = imagenet_package()
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc", ".gitignore")
    shutil.copytree(package, folder / package.name, ignore=ignored)


def _copy_weights_file(weights: Path, folder: Path) -> None:
    """Copy a weights file; no other file is taken for one, whatever a config names."""
    if not weights.is_file():
        raise ArtefactError(
            f"{weights}: expected a file of weights, found none; check model.weights"
        )
    with weights.open("rb") as file:
        is_hdf5 = file.read(len(HDF5)) == HDF5
    if not is_hdf5 or (folder / weights.name).exists():
        got = "the name of another file of the bundle" if is_hdf5 else "another format"
        raise ArtefactError(
            f"{weights}: expected a file of weights (HDF5), got {got}; check model.weights"
        )
    shutil.copyfile(weights, folder / weights.name)
