"""The embedders of a bundle: what each run's network and vocabulary are written from.

Each has a folder of its own, ``embedders/0`` that of the first run.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np

from kaggle_kit import config
from kaggle_kit.backends.base import INT8, LITE, MODEL
from kaggle_kit.backends.tensorflow import TensorFlowEngine
from kaggle_kit.bundling.evaluator import Evaluator, Query
from kaggle_kit.bundling.runs import export_settings, no_images, without_folders
from kaggle_kit.config import Config
from kaggle_kit.data.decode import decode_file
from kaggle_kit.inference.embedder import load_embedder
from kaggle_kit.local_features.extract import LocalReader
from kaggle_kit.local_features.vlad import Vocabulary
from kaggle_kit.model.convert_litert import convert_to_int8, convert_to_litert
from kaggle_kit.model.export import export, has_head, view_sides
from kaggle_kit.retrieval.whitening import Whitening
from kaggle_kit.storage import tables
from kaggle_kit.training.network import load_best

VOCABULARY_IMAGES = 1000  # whose features the visual words are made of
RANGE_IMAGES = 128  # that the range of 8-bit integers is found by


def open_evaluator(
    runs: Sequence[Path],
    settings: Config,
    queries: Mapping[str, Sequence[Query]],
    train_dir: Path,
    folder: Path,
) -> Evaluator:
    """Write the embedders of runs into a folder, and embed the images of their subset.

    Raises:
        ArtefactError, DataError: there is no finished run, or not the images it used.
    """
    reader = LocalReader(settings.local, TensorFlowEngine())
    shutil.copyfile(runs[0] / "classes.csv", folder / "classes.csv")
    for i, (run, own) in enumerate(
        zip(runs, export_settings(runs, settings), strict=True)
    ):
        out = folder / "embedders" / f"{i}"
        _write_embedder(run, own, queries["train"], reader, out)
    evaluator = Evaluator(
        settings,
        tables.read_classes(folder / "classes.csv"),
        load_embedder(folder, settings.recognition, reader),
        queries,
        reader,
        train_dir,
    )
    if not evaluator.pools["train"].queries:
        raise no_images(queries["train"])
    return evaluator


def finish_networks(
    runs: Sequence[Path],
    before: Config,
    after: Config,
    trained: Sequence[Query],
    folder: Path,
) -> None:
    """Drop what the tuned ranking does not need, and convert the networks for CPUs.

    Networks whose class scores have no say any more are exported without a head. With
    ``recognition.int8`` the networks in floats go: their vectors and those of integers do
    not belong together. Else each gets a LiteRT file beside it.
    """
    settled = after.recognition.model_copy(update={"tune": False})
    own_before = export_settings(runs, before)
    for i, (run, own) in enumerate(zip(runs, own_before, strict=True)):
        out = folder / "embedders" / f"{i}"
        own_after = own.model_copy(update={"recognition": settled})
        if own.model.backbone != "none" and has_head(own) > has_head(own_after):
            shutil.rmtree(out / MODEL)
            _write_network(run, own_after, trained, out)
    for network in sorted(folder.glob(f"embedders/*/{MODEL}")):
        if after.recognition.int8:
            shutil.rmtree(network)
        else:
            convert_to_litert(network, network.with_name(LITE))


def write_whitenings(whitenings: Sequence[Whitening | None], folder: Path) -> None:
    """Write the whitening of each network and of each vocabulary beside it."""
    paths = [
        run / f"{kind}.whitening.npz"
        for run in sorted((folder / "embedders").glob("*"))
        for kind, files in (("model", (MODEL, INT8)), ("words", ("words.npy",)))
        if any((run / file).exists() for file in files)
    ]
    for path, whitening in zip(paths, whitenings, strict=True):
        if whitening:
            whitening.save(path)


def _write_embedder(
    run: Path, own: Config, trained: Sequence[Query], reader: LocalReader, out: Path
) -> None:
    """The run's config, its network if it has one, and its vocabulary if it has one."""
    out.mkdir(parents=True)
    config.write_json(without_folders(own), out / "config.json")
    if own.model.backbone != "none":
        _write_network(run, own, trained, out)
    if own.vlad:
        from kaggle_kit.local_features.vocabulary import fit_vocabulary  # OpenCV

        paths = _sample(trained, VOCABULARY_IMAGES, own.seed)
        words = fit_vocabulary(reader.read_all(paths), own.vlad, own.seed)
        Vocabulary(words).save(out / "words.npy")


def _write_network(run: Path, own: Config, trained: Sequence[Query], out: Path) -> None:
    """The run's network, exported, and in 8-bit integers too if that is asked for."""
    keras.utils.clear_session()  # else names would tell how many were built before
    export(load_best(run, own), own, out / MODEL)
    if own.recognition.int8:
        side = max(view_sides(own))
        decoded = [
            decode_file(path, side) for path in _sample(trained, RANGE_IMAGES, own.seed)
        ]
        images = [pixels for pixels in decoded if pixels is not None]
        if not images:
            raise no_images(trained)
        convert_to_int8(out / MODEL, images, out / INT8)


def _sample(trained: Sequence[Query], n: int, seed: int) -> list[Path]:
    """n of the training images, drawn by a seed, in their order."""
    drawn = np.random.default_rng(seed).permutation(len(trained))[:n]
    return [trained[i].path for i in np.sort(drawn)]
