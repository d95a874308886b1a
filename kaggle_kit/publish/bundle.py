"""The bundle: library, model and gallery in one folder, for ``kaggle datasets version``."""

import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import kaggle_kit
from kaggle_kit import config, tables
from kaggle_kit.errors import DataError
from kaggle_kit.model.export import export
from kaggle_kit.paths import Competition, image_path, written_dir
from kaggle_kit.publish.manifest import MANIFEST, described
from kaggle_kit.recognition.embed import Embedded, Embedder, gallery_of
from kaggle_kit.recognition.rank import gallery_guesses, head_guesses
from kaggle_kit.recognition.search import Gallery
from kaggle_kit.score import Scores, score_guesses
from kaggle_kit.tables import Label, Member, Truth
from kaggle_kit.training.fit import load_best

logger = logging.getLogger(__name__)


def bundle(run_dir: Path, competition: Path, out: Path) -> dict[str, Any]:
    """Write the folder ``out`` from a run and the photos of its subset.

    It holds ``kaggle_kit/`` (this library), ``model/`` (a SavedModel), ``gallery/``,
    ``config.json``, ``classes.csv`` and a manifest with the size and SHA-256 of every
    file, the versions the run was made with, and its scores on the validation split.

    The validation photos are scored against a gallery of the training photos alone, and
    then join the gallery that is shipped.

    Returns:
        The number of files, their megabytes, gallery and pool sizes, validation scores.

    Raises:
        ArtefactError, DataError: there is no finished run, or not the photos it used.
    """
    run_dir = Path(run_dir)
    place = Competition(Path(competition)).require("train")
    model, settings = load_best(run_dir)
    members = tables.read_subset(run_dir / "subset.csv")
    with written_dir(out, MANIFEST) as part:
        _copy_library(part / "kaggle_kit")
        config.write_json(settings, part / "config.json")
        shutil.copyfile(run_dir / "classes.csv", part / "classes.csv")
        export(model, settings, part / "model")
        embedder = Embedder(part / "model", settings)
        gallery, validation = _gallery_and_scores(embedder, place, members, part)
        gallery.save(part / "gallery")
        environment = json.loads((run_dir / "environment.json").read_text("utf-8"))
        files = {name: described(part / name) for name in _file_names(part)}
        manifest = {
            "format": 1,
            "name": settings.name,
            "made_with": environment,
            "validation": validation,
            "files": files,
        }
        text = json.dumps(manifest, indent=2) + "\n"
        (part / MANIFEST).write_text(text, encoding="utf-8")
    return {
        "files": len(files),
        "megabytes": round(sum(file["bytes"] for file in files.values()) / 1e6, 1),
        "gallery": len(gallery.image_ids),
        "non_landmarks": len(gallery.non_landmarks),
        "validation": validation,
    }


def _copy_library(out: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc", "configs", "kernels")
    shutil.copytree(Path(kaggle_kit.__file__).parent, out, ignore=ignored)


def _file_names(folder: Path) -> Iterator[str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return iter(sorted(path.relative_to(folder).as_posix() for path in files))


def _gallery_and_scores(
    embedder: Embedder, place: Competition, members: Sequence[Member], part: Path
) -> tuple[Gallery, Scores | None]:
    """The gallery to ship, and how one of training photos alone does on validation."""
    splits = {name: [m for m in members if m.split == name] for name in tables.SPLITS}
    penalty = _embedded(embedder, place, splits["penalty"], "penalty pool")
    non_landmarks = penalty.vectors.astype(np.float16)
    labels = _labels(splits["train"])
    gallery = gallery_of(embedder, place.train_dir, labels, non_landmarks)
    if not gallery.image_ids:
        raise DataError(
            f"{place.train_dir}: expected the {len(labels)} training photos of the run, "
            f"none is there and decodes; check --competition"
        )
    if not splits["validation"]:
        return gallery, None
    scores = _validation(embedder, place, splits["validation"], gallery, part)
    held_out = _labels(splits["validation"])
    others = gallery_of(embedder, place.train_dir, held_out, non_landmarks)
    return gallery.joined(others), scores


def _validation(
    embedder: Embedder,
    place: Competition,
    members: Sequence[Member],
    gallery: Gallery,
    part: Path,
) -> Scores:
    settings = embedder.settings.recognition
    queries = _embedded(embedder, place, members, "validation")
    if settings.ranking == "head":
        classes = tables.read_classes(part / "classes.csv")
        known = [row.landmark_id for row in classes]
        guesses = head_guesses(queries.log_probability, classes, known)
    else:
        guesses = gallery_guesses(queries.vectors, gallery, settings)
    by_id = {
        members[i].image_id: g for i, g in zip(queries.which, guesses, strict=True)
    }
    truths = {m.image_id: Truth(frozenset(_landmarks(m))) for m in members}
    return score_guesses(by_id, truths)


def _embedded(
    embedder: Embedder, place: Competition, members: Sequence[Member], label: str
) -> Embedded:
    paths = [image_path(place.train_dir, m.image_id) for m in members]
    return embedder.embed(paths, label)


def _labels(members: Sequence[Member]) -> list[Label]:
    return [Label(m.image_id, landmark) for m in members for landmark in _landmarks(m)]


def _landmarks(member: Member) -> list[int]:
    return [] if member.landmark_id is None else [member.landmark_id]
