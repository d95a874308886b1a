"""The settings of the runs of a bundle, and the images of their subset."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kaggle_kit import config
from kaggle_kit.bundling.evaluator import Query
from kaggle_kit.config import Config
from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.errors import ArtefactError, ConfigError, DataError
from kaggle_kit.storage import tables
from kaggle_kit.training.run_directory import read_run


def bundle_settings(runs: Sequence[Path], changes: Mapping[str, Any]) -> Config:
    """The first run's config with some settings replaced.

    Raises:
        ArtefactError: the subsets of the runs differ, so the validation images of one run
            may be training images of another.
        ConfigError: a change is not valid, or the network of a run has a fixed input size
            and ``recognition.scales`` has several.
    """
    first = read_run(runs[0])
    for run in runs[1:]:
        read_run(run)
        if (run / "subset.csv").read_bytes() != (runs[0] / "subset.csv").read_bytes():
            raise ArtefactError(
                f"{run}: expected a run of the same subset as {runs[0]}, got another; "
                f"train it on the same shards"
            )
    settings = config.override(first, dict(changes))
    export_settings(runs, settings)
    return settings


def export_settings(runs: Sequence[Path], settings: Config) -> list[Config]:
    """The settings for exporting each run: its own config with the first run's ranking.

    Raises:
        ConfigError: the network of a run has a fixed input size and
            ``recognition.scales`` has several.
    """
    ranking = settings.recognition
    configs = [settings, *(read_run(run) for run in runs[1:])]
    for run, run_config in zip(runs, configs, strict=True):
        if run_config.model.pooling == "flatten" and ranking.scales != (1.0,):
            raise ConfigError(
                f"{run}: model.pooling: flatten: expected recognition.scales [1.0], got "
                f"{list(ranking.scales)}; set them to [1.0]"
            )
    return [c.model_copy(update={"recognition": ranking}) for c in configs]


def strip_weights_folder(settings: Config) -> Config:
    """Replace the path of a weights file in the settings by its name."""
    if settings.model.weights is None:
        return settings
    name = Path(settings.model.weights).name
    model = settings.model.model_copy(update={"weights": name})
    return settings.model_copy(update={"model": model})


def subset_queries(run: Path, files: Competition) -> dict[str, list[Query]]:
    """The images of a run's subset, by split."""
    queries: dict[str, list[Query]] = {split: [] for split in tables.SPLITS}
    for member in tables.read_subset(run / "subset.csv"):
        path = image_path(files.train_dir, member.image_id)
        query = Query(member.image_id, path, member.landmark_id)
        queries[member.split].append(query)
    return queries


def no_images_error(train: Sequence[Query]) -> DataError:
    """The error if none of a run's training images exists and decodes."""
    train_dir = train[0].path.parents[3]
    return DataError(
        f"{train_dir}: expected the {len(train)} training images of the run, found none "
        f"that decodes; check --competition"
    )
