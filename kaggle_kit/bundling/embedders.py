"""The embedders of a bundle: what each run's network and vocabulary are written from.

Each lies in a folder of its own, ``embedders/0`` that of the first run.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from kaggle_kit import config
from kaggle_kit.backends.base import INT8, MODEL
from kaggle_kit.bundling.validation import Bench, Query
from kaggle_kit.config import Config, Recognition
from kaggle_kit.data.decode import photos
from kaggle_kit.errors import ConfigError, DataError
from kaggle_kit.local_features.extract import LocalReader
from kaggle_kit.local_features.vlad import Vocabulary
from kaggle_kit.model.convert_litert import lite_int8
from kaggle_kit.model.export import export, has_head, view_sides
from kaggle_kit.training.network import load_best
from kaggle_kit.training.run_directory import read_run

VOCABULARY_PHOTOS = 1000  # whose features the visual words are made of
RANGE_PHOTOS = 128  # that the range of 8-bit integers is found by


def own_settings(runs: Sequence[Path], settings: Config) -> list[Config]:
    """What each run's network is exported with: its own settings, ranked as the first's.

    Raises:
        ConfigError: a network of one size is to see photos at several.
    """
    recognition = settings.recognition
    found = [settings, *(read_run(run) for run in runs[1:])]
    for run, own in zip(runs, found, strict=True):
        if own.model.pooling == "flatten" and recognition.scales != (1.0,):
            raise ConfigError(
                f"{run}: model.pooling: flatten knows one size only, got "
                f"recognition.scales {list(recognition.scales)}; set them to [1.0]"
            )
    return [own.model_copy(update={"recognition": recognition}) for own in found]


def write_embedder(
    run: Path, own: Config, trained: Sequence[Query], reader: LocalReader, folder: Path
) -> None:
    """The run's config, its network if it has one, and its vocabulary if it has one."""
    folder.mkdir(parents=True)
    config.write_json(portable(own), folder / "config.json")
    if own.model.backbone != "none":
        _write_network(run, own, trained, folder)
    if own.vlad:
        from kaggle_kit.local_features.vocabulary import fit_vocabulary  # OpenCV

        rng = np.random.default_rng(own.seed)
        some = np.sort(rng.permutation(len(trained))[:VOCABULARY_PHOTOS])
        found = reader.stream([trained[i].path for i in some], len(some) or 1)
        features = [f for _, batch in found for f in batch]
        words = fit_vocabulary(features, own.vlad, own.seed)
        Vocabulary(words).save(folder / "words.npy")


def drop_heads(
    runs: Sequence[Path], bench: Bench, chosen: Recognition, out: Path
) -> None:
    """Export again, without their heads, the networks whose heads tuning found no use for."""
    settled = chosen.model_copy(update={"tune": False})
    trained = bench.pools["train"].queries
    for i, (run, before) in enumerate(
        zip(runs, own_settings(runs, bench.settings), strict=True)
    ):
        after = before.model_copy(update={"recognition": settled})
        if before.model.backbone != "none" and has_head(before) > has_head(after):
            folder = out / "embedders" / f"{i}"
            shutil.rmtree(folder / MODEL)
            _write_network(run, after, trained, folder)


def portable(settings: Config) -> Config:
    """The settings without the folder that a file of weights was in."""
    if settings.model.weights is None:
        return settings
    name = Path(settings.model.weights).name
    model = settings.model.model_copy(update={"weights": name})
    return settings.model_copy(update={"model": model})


def no_photos(trained: Sequence[Query]) -> DataError:
    """What to raise where none of a run's training photos is there and decodes."""
    train_dir = trained[0].path.parents[3]
    return DataError(
        f"{train_dir}: expected the {len(trained)} training photos of the run, none is "
        f"there and decodes; check --competition"
    )


def _write_network(
    run: Path, own: Config, trained: Sequence[Query], folder: Path
) -> None:
    """The run's network, exported, and in 8-bit integers too if that is asked for."""
    keras.utils.clear_session()  # else names would tell how many were built before
    export(load_best(run, own), own, folder / MODEL)
    if own.recognition.int8:
        rng = np.random.default_rng(own.seed)
        some = np.sort(rng.permutation(len(trained))[:RANGE_PHOTOS])
        side = max(view_sides(own))
        read = photos([trained[i].path for i in some], side, len(some) or 1)
        seen = [photo for _, batch in read for photo in batch]
        if not seen:
            raise no_photos(trained)
        lite_int8(folder / MODEL, seen, folder / INT8)
