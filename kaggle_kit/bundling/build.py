"""Build a bundle: one folder with all files of a kernel, to upload as a Kaggle dataset.

Its files:

- ``kaggle_kit/``: this library.
- ``embedders/``: for each run, a SavedModel and a LiteRT file, or with
  ``recognition.int8`` a LiteRT file in integers; visual words.
- ``gallery/``; ``local/`` if geometry is part of the ranking.
- ``config.json`` with the tuned ranking, ``tuning.json``, ``classes.csv``, ``names.csv``,
  ``non_landmarks.json``.
- ``LICENSE``, ``NOTICE.md``; ``attribution.csv`` if the competition folder has the authors.
- ``dataset-metadata.json`` for Kaggle's client.
- a manifest with the size and SHA-256 of every file, the versions and the scores.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import kaggle_kit
from kaggle_kit.bundling.calibrate import write_calibrations
from kaggle_kit.bundling.contents import (
    BUNDLE,
    BundleSizes,
    write_config,
    write_listing,
    write_manifest,
)
from kaggle_kit.bundling.embedders import (
    bundle_settings,
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
from kaggle_kit.bundling.metadata import HANDLE, dataset_metadata, make_title
from kaggle_kit.bundling.notice import CITATION, write_notice
from kaggle_kit.bundling.queries import Queries, subset_queries
from kaggle_kit.bundling.side_files import check_side_files, read_side_files
from kaggle_kit.bundling.tune import Trial, check_share, tune
from kaggle_kit.config import Config, Recognition
from kaggle_kit.data.layout import Competition
from kaggle_kit.data.non_landmarks import PoolCounts, write_record
from kaggle_kit.escaping import code_markdown
from kaggle_kit.inference.embedder import load_embedder
from kaggle_kit.limits import require_limit
from kaggle_kit.storage.folders import atomic_write_dir
from kaggle_kit.storage.json_files import JsonObject, json_text
from kaggle_kit.storage.manifest import describe_file

SUBTITLE = "Library, model and gallery for the landmark inference kernel"
DESCRIPTION = """\
What the inference kernel of kaggle-kit {version} for Google Landmark Recognition 2021
runs: the library, the weights of the networks, and the vectors of {gallery} gallery images.

- config: {name}
- validation: {validation}
- test: {test}

Licence: the library is under Apache-2.0 (`LICENSE`). The rest was computed from images of
the Google Landmarks Dataset v2, which belong to their authors and have their own licences;
see `NOTICE.md`. {citation}.
"""


@dataclass(frozen=True)
class BundleReport(JsonObject):
    """The gallery and the scores of a bundle.

    Attributes:
        gallery: number of images in the gallery.
        non_landmarks: number of images in the bundle's pool of non-landmarks.
        pools: how many images all pools have, and where they come from.
        validation: scores on the validation images; None if there are none.
        test: scores on the subset's test images; None if there are none.
        validation_in_float: validation scores of the networks before the conversion to
            integers; None without ``recognition.int8``.
        chosen: the tuned ranking.
    """

    gallery: int
    non_landmarks: int
    pools: PoolCounts
    validation: PoolScore | None
    test: PoolScore | None
    validation_in_float: PoolScore | None
    chosen: Recognition

    def as_json(self) -> dict[str, Any]:
        """The fields by name; the ranking is an object too."""
        return super().as_json() | {"chosen": self.chosen.model_dump()}


@dataclass(frozen=True)
class Bundle(JsonObject):
    """The sizes and the report of a bundle."""

    sizes: BundleSizes
    report: BundleReport

    def as_json(self) -> dict[str, Any]:
        """Merge both into one flat object."""
        return self.sizes.as_json() | self.report.as_json()


def build_bundle(
    runs: Sequence[str | Path],
    competition: str | Path,
    out: str | Path,
    changes: Mapping[str, Any] | None = None,
    handle: str = HANDLE,
    title: str | None = None,
    max_mb: float | None = None,
    non_landmarks: Sequence[str | Path] = (),
) -> Bundle:
    """Build the folder ``out`` from one or several runs and the images of their subset.

    ``bundling.build`` lists its files. The build is reproducible: the same runs, images
    and versions give the same bytes.

    The validation images are scored against a gallery of the training images only. The
    ranking is tuned on that score, unless ``recognition.tune`` is off. Then the validation
    images are added to the gallery. The test images of the subset are only scored.

    Args:
        runs: run directories; several make an ensemble. The first run's config has the
            settings of the ranking.
        changes: settings to replace in that config, by dotted name.
        handle: OWNER/SLUG of the dataset on Kaggle.
        title: title of the dataset; None: the words of the slug.
        max_mb: upper bound of the size in megabytes.
        non_landmarks: what the user lists as non-landmarks, as for ``subset``.

    Raises:
        ArtefactError, DataError: a run is not finished, its images are missing, or the
            bundle is too large or contains credentials or private paths.
        KitError: Kaggle would refuse the handle or the title, or ``max_mb`` is not a
            finite number above 0.
    """
    require_limit("max_mb", max_mb, "MB")
    run_dirs, out = [Path(run) for run in runs], Path(out)
    title = make_title(handle, title)
    files = Competition(Path(competition)).require("train")
    settings = bundle_settings(run_dirs, changes or {})
    listed = [Path(path) for path in non_landmarks]
    queries = subset_queries(run_dirs[0], settings, files, listed)
    check_share(settings.recognition, queries.by_split)
    side = read_side_files(run_dirs, files, queries.by_split)
    with atomic_write_dir(out, BUNDLE) as folder:
        private = [*run_dirs, files.root, out, folder]
        copy_library(folder)
        stop_former_kernels(folder)
        write_config(settings, folder)
        check_side_files(side, folder, private)
        report = _write_recogniser(
            run_dirs, settings, files, queries, side.names, folder
        )
        write_notice(folder, side.authors, report.pools)
        _write_listing(handle, title, settings.name, report, folder)
        contents = {
            "kind": "recognition",
            "name": settings.name,
            "classes_sha256": describe_file(folder / "classes.csv").sha256,
            "made_with": side.made_with,
            "validation": report.validation,
            "test": report.test,
            "validation_in_float": report.validation_in_float,
        }
        sizes = write_manifest(folder, out, contents, private, max_mb)
    return Bundle(sizes, report)


def _write_recogniser(
    runs: Sequence[Path],
    before: Config,
    files: Competition,
    queries: Queries,
    names: Mapping[int, str],
    folder: Path,
) -> BundleReport:
    """Write all files that ``Recogniser.load`` reads."""
    by_split = queries.by_split
    evaluator = open_evaluator(runs, before, by_split, files.train_dir, folder)
    ranking, trials = tune(evaluator, before.recognition)
    settings = before.model_copy(update={"recognition": ranking})
    write_config(settings, folder)
    in_float = _score_in_float(evaluator, ranking, folder)
    finish_networks(runs, before, settings, evaluator.pools["train"].queries, folder)
    write_whitenings(evaluator.fit(ranking).whitenings, folder)
    gallery = write_gallery(evaluator, ranking, folder)
    if ranking.verification:
        write_local_features(gallery.image_ids, files, evaluator.reader, folder)
    write_names(names, set(gallery.landmark_ids.tolist()), folder)
    write_calibrations(evaluator, ranking, folder)
    report = BundleReport(
        len(gallery.image_ids),
        len(gallery.non_landmarks),
        replace(queries.non_landmarks, penalty=len(gallery.non_landmarks)),
        evaluator.scores("validation", ranking),
        evaluator.scores("test", ranking),
        in_float,
        ranking,
    )
    write_record(report.pools, folder)
    _write_tuning(report, trials, folder)
    evaluator.embedder.close()
    return report


def _score_in_float(
    evaluator: Evaluator, ranking: Recognition, folder: Path
) -> PoolScore | None:
    """The validation scores of the networks in floats, with the same ranking."""
    if not ranking.int8:
        return None
    in_float = ranking.model_copy(update={"int8": False})
    splits = ("train", "penalty", "validation")
    float_evaluator = Evaluator(
        evaluator.settings,
        evaluator.classes,
        load_embedder(folder, in_float, evaluator.reader),
        {split: evaluator.pools[split].queries for split in splits},
        evaluator.reader,
        evaluator.train_dir,
    )
    scores = float_evaluator.scores("validation", in_float)
    float_evaluator.embedder.close()
    return scores


def _write_tuning(report: BundleReport, trials: Sequence[Trial], folder: Path) -> None:
    tuning = {
        "validation": report.validation,
        "test": report.test,
        "validation_in_float": report.validation_in_float,
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
        name=code_markdown(name),
        validation=_format_scores(report.validation),
        test=_format_scores(report.test),
        citation=CITATION,
    )
    listing = dataset_metadata(handle, title, SUBTITLE, description, "other")
    write_listing(listing, folder)


def _format_scores(scores: PoolScore | None) -> str:
    """Format scores on one line."""
    if scores is None:
        return "no images"
    score = scores.score
    counts = (
        f"on {score.n_images} images, {score.n_positives} of them of known landmarks"
    )
    if score.gap is None or score.top1 is None:
        return f"GAP not defined {counts}"
    return f"GAP {score.gap:.4f}, top-1 {score.top1:.4f} {counts}"
