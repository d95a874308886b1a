"""Write the embedders of a bundle: the network and the visual words of each run.

The first run's config has the settings of the ranking. All runs have the same subset.
``embedders/0`` is the folder of the first run.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kaggle_kit import config
from kaggle_kit.backends.base import INT8, LITE, MODEL
from kaggle_kit.backends.tensorflow import TensorFlowEngine
from kaggle_kit.bundling.contents import write_config
from kaggle_kit.bundling.evaluator import Evaluator
from kaggle_kit.bundling.queries import Query
from kaggle_kit.config import Config
from kaggle_kit.data.decode import decode_file
from kaggle_kit.data.subset import same_split
from kaggle_kit.errors import ArtefactError, ConfigError, DataError
from kaggle_kit.frameworks import keras
from kaggle_kit.inference.embedder import load_embedder
from kaggle_kit.local_features.extract import LocalReader
from kaggle_kit.local_features.vlad import Vocabulary
from kaggle_kit.model.convert_litert import convert_to_int8, convert_to_litert
from kaggle_kit.model.export import export, has_head, view_sides
from kaggle_kit.retrieval.whitening import Whitening
from kaggle_kit.storage import tables
from kaggle_kit.training.network import load_best
from kaggle_kit.training.run_directory import read_run

VOCABULARY_IMAGES = 1000  # in the sample that visual words are fitted to
RANGE_IMAGES = 128  # in the sample that calibrates the ranges of 8-bit integers


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
        if not same_split(run / "subset.csv", runs[0] / "subset.csv"):
            raise ArtefactError(
                f"{run}: expected a run of the same subset as {runs[0]}, got another; "
                f"train it on the same shards"
            )
    settings = config.override(first, dict(changes))
    _export_settings(runs, settings)
    return settings


def open_evaluator(
    runs: Sequence[Path],
    settings: Config,
    queries: Mapping[str, Sequence[Query]],
    train_dir: Path,
    folder: Path,
) -> Evaluator:
    """Write the embedders of runs into a folder, and embed the images of their subset.

    Raises:
        ArtefactError: a run is not finished.
        DataError: no training image of the runs exists and decodes.
    """
    reader = LocalReader(settings.local, TensorFlowEngine())
    shutil.copyfile(runs[0] / "classes.csv", folder / "classes.csv")
    all_settings = _export_settings(runs, settings)
    for i, (run, run_settings) in enumerate(zip(runs, all_settings, strict=True)):
        out = folder / "embedders" / f"{i}"
        _write_embedder(run, run_settings, queries["train"], reader, out)
    evaluator = Evaluator(
        settings,
        tables.read_classes(folder / "classes.csv"),
        load_embedder(folder, settings.recognition, reader),
        queries,
        reader,
        train_dir,
    )
    if not evaluator.pools["train"].queries:
        raise _no_images_error(queries["train"])
    for name in ("penalty", "validation"):
        if any(query.landmark_id is None for query in queries[name]):
            _require_non_landmarks(name, evaluator.pools[name].queries)
    return evaluator


def finish_networks(
    runs: Sequence[Path],
    before: Config,
    after: Config,
    train: Sequence[Query],
    folder: Path,
) -> None:
    """Remove what the tuned ranking does not need, and convert the networks for CPUs.

    Networks whose class scores are not part of the tuned ranking are exported again
    without a head. With ``recognition.int8``, the networks in floats are removed, since
    their vectors must not be compared with those of integers. Otherwise each network gets
    a LiteRT file.

    Args:
        before, after: the settings before and after tuning.
        train: the training images.
    """
    tuned = after.recognition.model_copy(update={"tune": False})
    all_settings = _export_settings(runs, before)
    for i, (run, run_before) in enumerate(zip(runs, all_settings, strict=True)):
        out = folder / "embedders" / f"{i}"
        run_after = run_before.model_copy(update={"recognition": tuned})
        has_network = run_before.model.backbone != "none"
        if has_network and has_head(run_before) > has_head(run_after):
            shutil.rmtree(out / MODEL)
            _write_network(run, run_after, train, out)
    for network in sorted(folder.glob(f"embedders/*/{MODEL}")):
        if after.recognition.int8:
            shutil.rmtree(network)
        else:
            convert_to_litert(network, network.with_name(LITE))


def write_whitenings(whitenings: Sequence[Whitening | None], folder: Path) -> None:
    """Write the whitening of each network and each vocabulary next to it."""
    embedders = folder / "embedders"
    paths = [
        embedders / run / f"{kind}.whitening.npz"
        for run in sorted(path.name for path in embedders.iterdir())
        for kind, files in (("model", (MODEL, INT8)), ("words", ("words.npy",)))
        if any((embedders / run / file).exists() for file in files)
    ]
    for path, whitening in zip(paths, whitenings, strict=True):
        if whitening:
            whitening.save(path)


def _export_settings(runs: Sequence[Path], settings: Config) -> list[Config]:
    """The settings for exporting each run: its own config with the first run's ranking.

    A run whose network has a fixed input size is refused if there are several scales.
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


def _write_embedder(
    run: Path, settings: Config, train: Sequence[Query], reader: LocalReader, out: Path
) -> None:
    """Write the config of a run, and its network and its visual words if it has them."""
    out.mkdir(parents=True)
    write_config(settings, out)
    if settings.model.backbone != "none":
        _write_network(run, settings, train, out)
    if settings.vlad:
        from kaggle_kit.local_features.vocabulary import fit_vocabulary  # OpenCV

        paths = _sample(train, VOCABULARY_IMAGES, settings.seed)
        words = fit_vocabulary(reader.read_all(paths), settings.vlad, settings.seed)
        Vocabulary(words).save(out / "words.npy")


def _write_network(
    run: Path, settings: Config, train: Sequence[Query], out: Path
) -> None:
    """Export the network of a run; with ``recognition.int8`` also in 8-bit integers."""
    # Otherwise the names of layers would depend on the models built before.
    keras.utils.clear_session()
    export(load_best(run, settings), settings, out / MODEL)
    if settings.recognition.int8:
        side = max(view_sides(settings))
        paths = _sample(train, RANGE_IMAGES, settings.seed)
        results = [decode_file(path, side) for path in paths]
        images = [pixels for pixels in results if pixels is not None]
        if not images:
            raise _no_images_error(train)
        convert_to_int8(out / MODEL, images, out / INT8)


def _sample(queries: Sequence[Query], n: int, seed: int) -> list[Path]:
    """Draw n images at random; their relative order is preserved."""
    rows = np.random.default_rng(seed).permutation(len(queries))[:n]
    return [queries[i].path for i in np.sort(rows)]


def _require_non_landmarks(name: str, queries: Sequence[Query]) -> None:
    """Refuse a pool of non-landmarks of which no image decodes."""
    if not any(query.landmark_id is None for query in queries):
        raise DataError(
            f"subset.non_landmarks.{name}: expected images that decode, found none; check "
            f"--competition and --non-landmarks"
        )


def _no_images_error(train: Sequence[Query]) -> DataError:
    """The error if none of a run's training images exists and decodes."""
    train_dir = train[0].path.parents[3]
    return DataError(
        f"{train_dir}: expected the {len(train)} training images of the run, found none "
        f"that decodes; check --competition"
    )
