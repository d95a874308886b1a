"""Build a bundle: all that a kernel needs in one folder, for ``kaggle datasets version``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kaggle_kit
from kaggle_kit import config
from kaggle_kit.bundling.calibrate import write_calibrations
from kaggle_kit.bundling.contents import BundleSizes, write_listing, write_manifest
from kaggle_kit.bundling.embedders import (
    finish_networks,
    open_evaluator,
    write_whitenings,
)
from kaggle_kit.bundling.evaluator import Evaluator, PoolScore
from kaggle_kit.bundling.gallery_files import (
    write_gallery,
    write_local_features,
    write_names,
)
from kaggle_kit.bundling.library import copy_library, stop_former_kernels
from kaggle_kit.bundling.metadata import HANDLE, dataset_metadata, title_of
from kaggle_kit.bundling.notice import CITATION, write_notice
from kaggle_kit.bundling.runs import bundle_settings, subset_queries, without_folders
from kaggle_kit.bundling.tune import Trial, tune
from kaggle_kit.config import Config, Recognition
from kaggle_kit.data.layout import Competition
from kaggle_kit.inference.embedder import load_embedder
from kaggle_kit.storage.files import atomic_write_dir
from kaggle_kit.storage.json_files import JsonObject, json_text, read_json, to_json
from kaggle_kit.storage.manifest import MANIFEST, describe_file

SUBTITLE = "Library, model and gallery for the landmark inference kernel"
DESCRIPTION = """\
What the inference kernel of kaggle-kit {version} for Google Landmark Recognition 2021
runs: the library, the networks' weights, and the vectors of {gallery} gallery images.

- config: `{name}`
- validation: {validation}
- test: {test}

Licence: the library is under Apache-2.0 (`LICENSE`). The rest was computed from images of
the Google Landmarks Dataset v2, which are their authors', under licences of their own;
`NOTICE.md` says more. {citation}.
"""


@dataclass(frozen=True)
class BundleReport(JsonObject):
    """What a bundle is worth.

    Attributes:
        gallery: images in the gallery.
        non_landmarks: images in the pool of non-landmarks.
        validation: scores on the validation images; None without any.
        test: scores on the subset's test images; None without any.
        validation_in_float: of the networks that ``recognition.int8`` replaced, or None.
        chosen: the ranking, as it was tuned.
    """

    gallery: int
    non_landmarks: int
    validation: PoolScore | None
    test: PoolScore | None
    validation_in_float: PoolScore | None
    chosen: Recognition


@dataclass(frozen=True)
class Bundle(JsonObject):
    """A bundle that was built: its sizes and its worth."""

    sizes: BundleSizes
    report: BundleReport

    def as_json(self) -> dict[str, Any]:
        """Both as one flat object."""
        report = self.report.as_json() | {"chosen": self.report.chosen.model_dump()}
        return self.sizes.as_json() | report


def build_bundle(
    runs: Sequence[str | Path],
    competition: str | Path,
    out: str | Path,
    changes: Mapping[str, Any] | None = None,
    handle: str = HANDLE,
    title: str | None = None,
    max_mb: float | None = None,
) -> Bundle:
    """Write the folder ``out`` from one or several runs and the images of their subset.

    It holds ``kaggle_kit/`` (this library), ``embedders/`` (for each run a SavedModel and
    a LiteRT file, or with ``recognition.int8`` a LiteRT file of integers; visual words),
    ``gallery/``, ``local/`` where geometry is part of the ranking, ``config.json`` (with
    the ranking as it was tuned), ``classes.csv``, ``names.csv``, ``tuning.json``,
    ``LICENSE``, ``NOTICE.md``, ``attribution.csv`` (if the competition's folder has the
    authors), ``dataset-metadata.json`` for Kaggle's client, and a manifest with the size
    and SHA-256 of every file, the versions it was made with, and the scores. The same
    runs, images and versions give the same bytes.

    The validation images are scored against a gallery of the training images alone. The
    ranking is tuned on that score if ``recognition.tune`` says so. Then they join the
    gallery. The images of the test split are scored, and nothing else.

    Args:
        runs: the first one's config says how to rank; several make an ensemble.
        changes: settings to replace in that config, by dotted name.
        handle: OWNER/SLUG of the dataset on Kaggle.
        title: of it; None is the slug in words.
        max_mb: megabytes that it may have.

    Raises:
        ArtefactError, DataError: there is no finished run, or not the images it used, or
            the bundle is too large, or has something that must not be published.
        KitError: Kaggle would not accept the handle or the title.
    """
    run_dirs, out = [Path(run) for run in runs], Path(out)
    title = title_of(handle, title)
    files = Competition(Path(competition)).require("train")
    settings = bundle_settings(run_dirs, changes or {})
    with atomic_write_dir(out, MANIFEST) as folder:
        copy_library(folder)
        stop_former_kernels(folder)
        report = _write_recogniser(run_dirs, settings, files, folder)
        write_notice(folder, files.root)
        _write_listing(handle, title, settings.name, report, folder)
        contents = {
            "kind": "recognition",
            "name": settings.name,
            "classes_sha256": describe_file(folder / "classes.csv").sha256,
            "made_with": [read_json(run / "environment.json") for run in run_dirs],
            "validation": to_json(report.validation),
            "test": to_json(report.test),
            "validation_in_float": to_json(report.validation_in_float),
        }
        private = [*run_dirs, files.root, out, folder]
        sizes = write_manifest(folder, out, contents, private, max_mb)
    return Bundle(sizes, report)


def _write_recogniser(
    runs: Sequence[Path], before: Config, files: Competition, folder: Path
) -> BundleReport:
    """Write all that ``Recogniser.load`` reads."""
    queries = subset_queries(runs[0], files)
    evaluator = open_evaluator(runs, before, queries, files.train_dir, folder)
    ranking, trials = tune(evaluator, before.recognition)
    settings = before.model_copy(update={"recognition": ranking})
    config.write_json(without_folders(settings), folder / "config.json")
    in_float = _scores_in_float(evaluator, ranking, folder)
    trained = evaluator.pools["train"].queries
    finish_networks(runs, before, settings, trained, folder)
    write_whitenings(evaluator.fit(ranking).whitenings, folder)
    gallery = write_gallery(evaluator, ranking, folder)
    if ranking.verification:
        write_local_features(gallery.image_ids, files, evaluator.reader, folder)
    write_names(files, set(gallery.landmark_ids.tolist()), folder)
    write_calibrations(evaluator, ranking, folder)
    report = BundleReport(
        len(gallery.image_ids),
        len(gallery.non_landmarks),
        evaluator.scores("validation", ranking),
        evaluator.scores("test", ranking),
        in_float,
        ranking,
    )
    _write_tuning(report, trials, folder)
    evaluator.embedder.close()
    return report


def _scores_in_float(
    evaluator: Evaluator, ranking: Recognition, folder: Path
) -> PoolScore | None:
    """The validation scores of the networks before they were integers, ranked alike."""
    if not ranking.int8:
        return None
    in_float = ranking.model_copy(update={"int8": False})
    splits = ("train", "penalty", "validation")
    other = Evaluator(
        evaluator.settings,
        evaluator.classes,
        load_embedder(folder, in_float, evaluator.reader),
        {f: evaluator.pools[f].queries for f in splits},
        evaluator.reader,
        evaluator.train_dir,
    )
    scores = other.scores("validation", in_float)
    other.embedder.close()
    return scores


def _write_tuning(report: BundleReport, trials: Sequence[Trial], folder: Path) -> None:
    tuning = {
        "validation": to_json(report.validation),
        "test": to_json(report.test),
        "validation_in_float": to_json(report.validation_in_float),
        "chosen": report.chosen.model_dump(),
        "trials": trials,
    }
    (folder / "tuning.json").write_text(json_text(tuning), encoding="utf-8")


def _write_listing(
    handle: str, title: str, name: str, report: BundleReport, folder: Path
) -> None:
    description = DESCRIPTION.format(
        version=kaggle_kit.__version__,
        gallery=report.gallery,
        name=name,
        validation=_in_words(report.validation),
        test=_in_words(report.test),
        citation=CITATION,
    )
    listing = dataset_metadata(handle, title, SUBTITLE, description, "other")
    write_listing(listing, folder)


def _in_words(scores: PoolScore | None) -> str:
    """One line of scores."""
    if scores is None:
        return "no images"
    score = scores.score
    return (
        f"GAP {score.gap:.4f}, top-1 {score.top1:.4f} on {score.n_images} images, "
        f"{score.n_positives} of them of known landmarks"
    )
