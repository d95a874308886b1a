"""Build a bundle for training on Kaggle: the library and a config, without a model."""

import shutil
from pathlib import Path

import kaggle_kit
from kaggle_kit import config
from kaggle_kit.bundling.contents import BundleSizes, write_listing, write_manifest
from kaggle_kit.bundling.library import copy_library, stop_former_kernels
from kaggle_kit.bundling.metadata import HANDLE, dataset_metadata, title_of
from kaggle_kit.bundling.runs import without_folders
from kaggle_kit.config import Config
from kaggle_kit.errors import ArtefactError
from kaggle_kit.model.pretrained import IMAGENET, imagenet_package
from kaggle_kit.storage.files import atomic_write_dir
from kaggle_kit.storage.manifest import MANIFEST

SUBTITLE = "Library and config for the landmark training kernel"
DESCRIPTION = """\
What the training kernel of kaggle-kit {version} for Google Landmark Recognition 2021 runs:
the library and the config `{name}`. There is no model and no image in it.

Licence: Apache-2.0 (`LICENSE`).
"""


def build_training_bundle(
    settings: Config,
    out: Path,
    handle: str = HANDLE,
    title: str | None = None,
    max_mb: float | None = None,
) -> BundleSizes:
    """Write the folder ``out`` for training on Kaggle: the library and a config.

    It holds ``kaggle_kit/``, ``config.json``, ``LICENSE``, ``dataset-metadata.json``, the
    manifest, and the weights that the training begins with, if any. Arguments and errors
    are those of ``build_bundle``.
    """
    out = Path(out)
    title = title_of(handle, title)
    with atomic_write_dir(out, MANIFEST) as folder:
        copy_library(folder)
        stop_former_kernels(folder)
        config.write_json(without_folders(settings), folder / "config.json")
        _copy_weights(settings.model.weights, folder)
        description = DESCRIPTION.format(
            version=kaggle_kit.__version__, name=settings.name
        )
        listing = dataset_metadata(handle, title, SUBTITLE, description, "apache-2.0")
        write_listing(listing, folder)
        contents = {"kind": "training", "name": settings.name}
        return write_manifest(folder, out, contents, [out, folder], max_mb)


def _copy_weights(weights: str | None, part: Path) -> None:
    """A file of weights by its name, or the package with ImageNet's as a package."""
    if weights is None:
        return
    if weights != IMAGENET:
        if not Path(weights).is_file():
            raise ArtefactError(
                f"{weights}: expected a file of weights, found none; check model.weights"
            )
        shutil.copyfile(weights, part / Path(weights).name)
        return
    package = imagenet_package()
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc", ".gitignore")
    shutil.copytree(package, part / package.name, ignore=ignored)
