"""All that ``Recogniser.load`` reads: made from runs and the photos they used.

Beside the embedders these are whitening, gallery, penalties, the tuned ranking, names and
calibration.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kaggle_kit import config
from kaggle_kit.backends.base import INT8, LITE, MODEL
from kaggle_kit.backends.tensorflow import TensorFlowEngine
from kaggle_kit.bundling.calibrate import calibrate
from kaggle_kit.bundling.embedders import (
    drop_heads,
    no_photos,
    own_settings,
    portable,
    write_embedder,
)
from kaggle_kit.bundling.validation import Bench, Fitted, Query, pool
from kaggle_kit.config import Config, Recognition
from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.errors import ArtefactError
from kaggle_kit.inference.calibration import CALIBRATION, PLAIN_CALIBRATION
from kaggle_kit.inference.embedder import load_embedder
from kaggle_kit.local_features.extract import LocalReader
from kaggle_kit.model.convert_litert import lite
from kaggle_kit.retrieval.gallery import Gallery, gallery_from
from kaggle_kit.storage import tables
from kaggle_kit.storage.csv_files import write_rows
from kaggle_kit.storage.json_files import json_text
from kaggle_kit.storage.tables import Label, Member
from kaggle_kit.training.run_directory import read_run


def prepare(
    runs: Sequence[Path], competition: Path, out: Path, changes: dict[str, Any]
) -> dict[str, Any]:
    """Fill the folder ``out`` with all that ``Recogniser.load`` reads.

    The validation photos are scored against a gallery of the training photos alone, the
    ranking is tuned on that score if ``recognition.tune`` says so, and then they join the
    gallery that is shipped. The photos of the test split are scored, and no more.

    Args:
        runs: one or several, of the same subset; the first one's config ranks.
        changes: settings to replace in it, by dotted name.

    Returns:
        gallery, non_landmarks: sizes. validation, test: scores, None without photos.
        validation_in_float: of the networks that ``recognition.int8`` replaced, or None.
        chosen: the ranking. trials: of its tuning.

    Raises:
        ArtefactError, DataError: there is no finished run, or not the photos it used.
    """
    place = Competition(Path(competition)).require("train")
    reader = LocalReader(settings_of(runs, changes).local, TensorFlowEngine())
    bench = open_bench(runs, place, out, changes, reader)
    chosen, trials = bench.tuned(bench.settings.recognition)
    settings = bench.settings.model_copy(update={"recognition": chosen})
    config.write_json(portable(settings), out / "config.json")
    in_float = None
    if chosen.int8:
        in_float = _float_scores(bench, chosen, out, reader)
    drop_heads(runs, bench, chosen, out)
    for network in sorted(out.glob(f"embedders/*/{MODEL}")):
        if chosen.int8:  # its vectors and the gallery's do not go together
            shutil.rmtree(network)
        else:
            lite(network, network.with_name(LITE))
    fitted = bench.fitted(chosen)
    _write_whitenings(fitted, out)
    gallery = _shipped(bench, fitted, chosen)
    gallery.save(out / "gallery")
    if chosen.verification:
        _write_local(gallery, place, reader, out / "local")
    _write_names(place, {int(i) for i in gallery.landmark_ids}, out)
    _write_calibration(bench, chosen, out / CALIBRATION)
    if chosen.verification:
        plain = chosen.model_copy(update={"verification": None})
        _write_calibration(bench, plain, out / PLAIN_CALIBRATION)
    report = {
        "validation": _scores(bench, "validation", chosen),
        "test": _scores(bench, "test", chosen),
        "validation_in_float": in_float,
        "chosen": chosen.model_dump(),
        "trials": trials,
    }
    (out / "tuning.json").write_text(json_text(report), encoding="utf-8")
    sizes = {
        "gallery": len(gallery.image_ids),
        "non_landmarks": len(gallery.non_landmarks),
    }
    return sizes | report


def open_bench(
    runs: Sequence[Path],
    place: Competition,
    out: Path,
    changes: dict[str, Any],
    reader: LocalReader,
    test: Sequence[Query] = (),
) -> Bench:
    """Write the embedders of some runs into ``out``, and embed the photos of their subset.

    Args:
        test: photos in place of the subset's test split.

    Raises:
        ArtefactError, DataError: there is no finished run, or not the photos it used.
    """
    settings = settings_of(runs, changes)
    members = tables.read_subset(runs[0] / "subset.csv")
    shutil.copyfile(runs[0] / "classes.csv", out / "classes.csv")
    queries = {
        split: [_query(place, m) for m in members if m.split == split]
        for split in tables.SPLITS
    }
    queries["test"] = list(test) or queries["test"]
    for i, (run, own) in enumerate(
        zip(runs, own_settings(runs, settings), strict=True)
    ):
        folder = out / "embedders" / f"{i}"
        write_embedder(run, own, queries["train"], reader, folder)
    embedder = load_embedder(out, settings.recognition, reader)
    pools = {name: pool(embedder, queries[name], name) for name in tables.SPLITS}
    if not pools["train"].queries:
        raise no_photos(queries["train"])
    geometry = None
    if settings.recognition.verification:
        from kaggle_kit.local_features.rerank import Geometry  # OpenCV

        geometry = Geometry(reader, place.train_dir)
    classes = tables.read_classes(out / "classes.csv")
    return Bench(settings, classes, pools, geometry)


def settings_of(runs: Sequence[Path], changes: dict[str, Any]) -> Config:
    """The first run's config, changed.

    Raises:
        ArtefactError: the runs are of different subsets, so that one's validation photos
            may have trained another.
    """
    first = read_run(runs[0])
    for run in runs[1:]:
        read_run(run)
        if (run / "subset.csv").read_bytes() != (runs[0] / "subset.csv").read_bytes():
            raise ArtefactError(
                f"{run}: expected a run of the same subset as {runs[0]}, got another; "
                f"train it on the same shards"
            )
    return config.override(first, changes)


def _float_scores(
    bench: Bench, chosen: Recognition, out: Path, reader: LocalReader
) -> dict[str, Any] | None:
    """The validation scores of the networks before they were integers, ranked alike."""
    plain = chosen.model_copy(update={"int8": False})
    embedder = load_embedder(out, plain, reader)
    pools = {
        name: pool(embedder, bench.pools[name].queries, f"{name} in float")
        for name in ("train", "penalty", "validation")
    }
    other = Bench(bench.settings, bench.classes, pools, bench.geometry)
    return _scores(other, "validation", plain)


def _write_whitenings(fitted: Fitted, out: Path) -> None:
    places = sorted((out / "embedders").glob("*"))
    names = [
        folder / f"{kind}.whitening.npz"
        for folder in places
        for kind, files in (("model", (MODEL, INT8)), ("words", ("words.npy",)))
        if any((folder / file).exists() for file in files)
    ]
    for path, whitening in zip(names, fitted.whitenings, strict=True):
        if whitening:
            whitening.save(path)


def _shipped(bench: Bench, fitted: Fitted, settings: Recognition) -> Gallery:
    """The gallery of the training photos, and of the validation photos of its landmarks."""
    known = set(fitted.gallery.landmark_ids.tolist())
    queries = bench.pools["validation"].queries
    kept = [i for i, query in enumerate(queries) if query.landmark_id in known]
    if not kept:
        return fitted.gallery
    labels = [
        Label(queries[i].image_id, int(queries[i].landmark_id or 0)) for i in kept
    ]
    vectors = fitted.found["validation"].vectors[kept]
    pool = fitted.gallery.non_landmarks
    return fitted.gallery.joined(gallery_from(labels, vectors, pool, settings))


def _scores(bench: Bench, name: str, settings: Recognition) -> dict[str, Any] | None:
    return bench.scores(name, settings) if bench.pools[name].queries else None


def _write_calibration(bench: Bench, chosen: Recognition, path: Path) -> None:
    """How probable guesses are right, where validation photos tell; one photo at a time."""
    if not bench.pools["validation"].queries:
        return
    alone = chosen.model_copy(update={"demote_share": None})
    guesses = bench.guesses("validation", alone)
    found = calibrate(guesses, bench.truths("validation"))
    if found:
        found.save(path)


def _write_local(
    gallery: Gallery, place: Competition, reader: LocalReader, folder: Path
) -> None:
    from kaggle_kit.local_features.sift import LocalFeatures  # OpenCV

    paths = [image_path(place.train_dir, i) for i in gallery.image_ids]
    found = [f for _, batch in reader.stream(paths, 64) for f in batch]
    LocalFeatures.of(found).save(folder)


def _write_names(place: Competition, known: set[int], out: Path) -> None:
    """``names.csv`` (landmark_id, name) of the gallery's landmarks, where names are known."""
    names = tables.read_names(place.names_csv)
    if names:
        kept = [(i, name) for i, name in names.items() if i in known]
        write_rows(out / "names.csv", ("landmark_id", "name"), kept)


def _query(place: Competition, member: Member) -> Query:
    path = image_path(place.train_dir, member.image_id)
    return Query(member.image_id, path, member.landmark_id)
