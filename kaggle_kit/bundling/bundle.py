"""The bundle: what a kernel needs in one folder, for ``kaggle datasets version``."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import kaggle_kit
from kaggle_kit import config
from kaggle_kit.bundling.embedders import portable
from kaggle_kit.bundling.leaks import check_no_leaks
from kaggle_kit.bundling.library import copy_library, stop_former_kernels
from kaggle_kit.bundling.metadata import HANDLE, check_files, dataset_metadata, title_of
from kaggle_kit.bundling.notice import CITATION, write_notice
from kaggle_kit.bundling.recogniser_files import prepare, settings_of
from kaggle_kit.config import Config
from kaggle_kit.errors import ArtefactError
from kaggle_kit.model.pretrained import IMAGENET, imagenet_package
from kaggle_kit.storage.files import written_dir
from kaggle_kit.storage.json_files import json_text, read_json
from kaggle_kit.storage.manifest import MANIFEST, METADATA, described, uploaded
from kaggle_kit.training.run_directory import environment

SUBTITLE = "Library, model and gallery for the landmark inference kernel"
TRAINING_SUBTITLE = "Library and config for the landmark training kernel"
DESCRIPTION = """\
What the inference kernel of kaggle-kit {version} for Google Landmark Recognition 2021
runs: the library, the networks' weights, and the vectors of {gallery} gallery photos.

- config: `{name}`
- validation: {validation}
- test: {test}

Licence: the library is under Apache-2.0 (`LICENSE`). The rest was computed from photos of
the Google Landmarks Dataset v2, which are their authors', under licences of their own;
`NOTICE.md` says more. {citation}.
"""
TRAINING_DESCRIPTION = """\
What the training kernel of kaggle-kit {version} for Google Landmark Recognition 2021 runs:
the library and the config `{name}`. There is no model and no photo in it.

Licence: Apache-2.0 (`LICENSE`).
"""
LIBRARY, OTHER = "library", "other"
SMALLER = {  # what to do about a part that is too large
    "embedders": "choose a smaller model.backbone, or fewer runs",
    "gallery": "set recognition.whiten to fewer axes, or make a smaller subset",
    "local": "lower local.n_features, or set recognition.verification=null",
}


def bundle(
    runs: Sequence[Path],
    competition: Path,
    out: Path,
    changes: Mapping[str, Any] | None = None,
    handle: str = HANDLE,
    title: str | None = None,
    max_mb: float | None = None,
) -> dict[str, Any]:
    """Write the folder ``out`` from one or several runs and the photos of their subset.

    It holds ``kaggle_kit/`` (this library), ``embedders/`` (for each run a SavedModel and
    the same as a LiteRT file, or with ``recognition.int8`` one LiteRT file of integers,
    and, or, visual words), ``gallery/``, ``local/`` where
    geometry is looked at, ``config.json`` (with the ranking as it was tuned),
    ``classes.csv``, ``names.csv``, ``tuning.json``, ``LICENSE``, ``NOTICE.md``,
    ``attribution.csv`` (if the competition's folder has the authors),
    ``dataset-metadata.json`` for Kaggle's client, and a manifest with the size and SHA-256
    of every file, the versions it was made with, and the scores on the validation and
    test splits. The same runs, photos and versions give the same bytes.

    Args:
        runs: the first one's config says how to rank; several make an ensemble.
        changes: settings to replace in that config, by dotted name.
        handle: OWNER/SLUG of the dataset on Kaggle.
        title: of it; None is the slug in words.
        max_mb: megabytes that it may have.

    Returns:
        The number of files, the megabytes of each part, gallery and pool sizes, scores,
        the ranking.

    Raises:
        ArtefactError, DataError: there is no finished run, or not the photos it used, or
            the bundle is too large, or has something that should not go up.
        KitError: Kaggle would not take the handle or the title.
    """
    runs = [Path(run) for run in runs]
    competition, out = Path(competition), Path(out)
    title = title_of(handle, title)
    settings = settings_of(runs, dict(changes or {}))
    with written_dir(out, MANIFEST) as part:
        copy_library(part)
        stop_former_kernels(part)
        made = prepare(runs, competition, part, dict(changes or {}))
        write_notice(part, competition)
        description = DESCRIPTION.format(
            version=kaggle_kit.__version__,
            gallery=made["gallery"],
            name=settings.name,
            validation=_said(made["validation"]),
            test=_said(made["test"]),
            citation=CITATION,
        )
        listing = dataset_metadata(handle, title, SUBTITLE, description, "other")
        _write_json(listing, part / METADATA)
        manifest = {
            "kind": "recognition",
            "name": settings.name,
            "classes_sha256": described(part / "classes.csv")["sha256"],
            "made_with": [read_json(run / "environment.json") for run in runs],
            "validation": made["validation"],
            "test": made["test"],
            "validation_in_float": made["validation_in_float"],
        }
        result = _finish(part, out, manifest, [*runs, competition, out, part], max_mb)
    return result | {name: value for name, value in made.items() if name != "trials"}


def bundle_for_training(
    settings: Config,
    out: Path,
    handle: str = HANDLE,
    title: str | None = None,
    max_mb: float | None = None,
) -> dict[str, Any]:
    """Write the folder ``out`` for training on Kaggle: the library and a config.

    It holds ``kaggle_kit/``, ``config.json``, ``LICENSE``, ``dataset-metadata.json``, the
    manifest, and the weights that the training begins with, if any; the other arguments and what is raised are as for ``bundle``.

    Returns:
        The number of files and the megabytes of each part.
    """
    out = Path(out)
    title = title_of(handle, title)
    with written_dir(out, MANIFEST) as part:
        copy_library(part)
        stop_former_kernels(part)
        config.write_json(portable(settings), part / "config.json")
        _copy_weights(settings.model.weights, part)
        description = TRAINING_DESCRIPTION.format(
            version=kaggle_kit.__version__, name=settings.name
        )
        listing = dataset_metadata(
            handle, title, TRAINING_SUBTITLE, description, "apache-2.0"
        )
        _write_json(listing, part / METADATA)
        manifest = {"kind": "training", "name": settings.name}
        return _finish(part, out, manifest, [out, part], max_mb)


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


def sizes_mb(files: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Megabytes of each part of a bundle, largest first, and in total.

    Args:
        files: the manifest's.
    """
    sizes: dict[str, int] = {}
    for name, file in files.items():
        top, slash, _ = name.partition("/")
        part = OTHER if not slash else LIBRARY if top == "kaggle_kit" else top
        sizes[part] = sizes.get(part, 0) + file["bytes"]
    ordered = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))
    ordered.append(("total", sum(sizes.values())))
    return {part: round(size / 1e6, 3) for part, size in ordered}


def _finish(
    part: Path,
    out: Path,
    manifest: dict[str, Any],
    places: Sequence[Path],
    max_mb: float | None,
) -> dict[str, Any]:
    """Check what is in the folder, and write its manifest."""
    files = {name: described(part / name) for name in uploaded(part)}
    sizes = sizes_mb(files)
    _check_size(out, sizes, max_mb)
    kit = environment()
    head = {
        "format": 3,
        "kit": {"version": kit["kaggle_kit"], "commit": kit["commit"]},
        "packages": kit["packages"],
    }
    _write_json(head | manifest | {"files": files}, part / MANIFEST)
    check_files(part)
    check_no_leaks(part, places)
    return {"files": len(files), "sizes_mb": sizes}


def _check_size(out: Path, sizes: Mapping[str, float], max_mb: float | None) -> None:
    if max_mb is None or sizes["total"] <= max_mb:
        return
    parts = [name for name in sizes if name != "total"][:3]
    named = ", ".join(f"{name} {sizes[name]:g}" for name in parts)
    advice = "; ".join(f"{n}: {SMALLER[n]}" for n in parts if n in SMALLER)
    raise ArtefactError(
        f"{out}: expected at most {max_mb:g} MB, got {sizes['total']:g} MB ({named}); "
        f"raise --max-mb{f', or for {advice}' if advice else ''}"
    )


def _said(scores: Mapping[str, Any] | None) -> str:
    """One line of scores."""
    if scores is None:
        return "no photos"
    return (
        f"GAP {scores['gap']:.4f}, top-1 {scores['top1']:.4f} on {scores['n_images']} "
        f"photos, {scores['n_positives']} of them of known landmarks"
    )


def _write_json(values: Any, path: Path) -> None:
    path.write_text(json_text(values, ensure_ascii=False), encoding="utf-8")
