"""What each part of recognition is worth: switch one off, tune the rest anew, score."""

import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaggle_kit.bundling.embedders import open_evaluator
from kaggle_kit.bundling.evaluator import Evaluator, Query
from kaggle_kit.bundling.runs import bundle_settings, subset_queries
from kaggle_kit.bundling.tune import tune
from kaggle_kit.config import Config
from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.metrics.score import with_intervals
from kaggle_kit.storage import tables
from kaggle_kit.storage.files import atomic_write
from kaggle_kit.storage.json_files import JsonObject
from kaggle_kit.storage.tables import Truth

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class AblationRow(JsonObject):
    """The scores of recognition without one part of it.

    Attributes:
        without: what was switched off.
        gap, top1, auc: scores; AUC is None where all images show landmarks.
        interval: the 95% interval of GAP.
        chosen: the ranking, as it was tuned.
    """

    without: str
    gap: float | None
    interval: tuple[float | None, float | None]
    top1: float | None
    auc: float | None
    chosen: dict[str, Any]


@dataclass(frozen=True)
class Ablation(JsonObject):
    """All rows, and the file with the table of them."""

    rows: list[AblationRow]
    table: str


def ablate(
    runs: Sequence[Path],
    competition: Path,
    out: Path,
    changes: Mapping[str, Any] | None = None,
) -> Ablation:
    """Score the competition's test images with each part switched off in turn.

    What is left is tuned anew on the validation images; nothing is tuned on the test
    images. The gallery is of the training images alone, so that every row is as honest as
    the others; a bundle's gallery has the validation images too. The rows are also
    written to ``out`` as a table in Markdown.

    Args:
        changes: settings to replace in the first run's config, by dotted name.

    Raises:
        DataError, ArtefactError, TableError: no solution, no finished run.
    """
    runs = [Path(run) for run in runs]
    changes = dict(changes or {})
    files = Competition(Path(competition)).require("train", "test", "solution.csv")
    truths = {
        image_id: truth
        for image_id, truth in tables.read_solution(files.solution_csv).items()
        if truth.usage != "Ignored"
    }
    evaluator = _evaluator(runs, files, list(truths), changes)
    rows = [_row(evaluator, *part, truths) for part in parts(evaluator)]
    for name, without in views(evaluator.settings):
        evaluator = _evaluator(runs, files, list(truths), changes | without)
        rows.append(_row(evaluator, name, {}, truths))
    with atomic_write(out) as part:
        part.write_text(table(rows), encoding="utf-8")
    return Ablation(rows, str(out))


def parts(evaluator: Evaluator) -> list[tuple[str, dict[str, Any]]]:
    """What can be switched off, and the settings that do it."""
    settings = evaluator.settings.recognition
    found: list[tuple[str, dict[str, Any]]] = [("nothing", {})]
    if settings.tune:
        found.append(("tuning", {"tune": False}))
    if settings.whiten:
        found.append(("whitening", {"whiten": None}))
        if settings.whitening == "within":
            found.append(("knowing landmarks in whitening", {"whitening": "pca"}))
    found += [
        ("several neighbours", {"neighbours": 1}),
        ("the gallery's penalty (B)", {"gallery_penalty_weight": 0.0}),
        ("the query's penalty (C)", {"query_penalty_weight": 0.0}),
        (
            "both penalties",
            {"gallery_penalty_weight": 0.0, "query_penalty_weight": 0.0},
        ),
    ]
    if evaluator.has_head:
        found.append(("the head", {"head_exponent": 0.0}))
        found.append(("the gallery", {"ranking": "head"}))
    if settings.verification:
        found.append(("geometry", {"verification": None}))
    if evaluator.n_parts > 1:
        for i in range(evaluator.n_parts):
            weights = tuple(0.0 if i == j else 1.0 for j in range(evaluator.n_parts))
            found.append((f"embedder {i + 1}", {"weights": weights}))
    return found


def views(settings: Config) -> list[tuple[str, dict[str, Any]]]:
    """Views of an image that can be left out, for which all images are embedded anew."""
    found: list[tuple[str, dict[str, Any]]] = []
    if settings.model.backbone == "none":
        return found
    if settings.recognition.flip:
        found.append(("the mirrored view", {"recognition.flip": False}))
    if settings.recognition.scales != (1.0,):
        found.append(("other scales than 1", {"recognition.scales": (1.0,)}))
    return found


def table(rows: Sequence[AblationRow]) -> str:
    """The rows as a table in Markdown."""
    lines = ["| without | GAP | 95% interval | top-1 | AUC |", "|---|---|---|---|---|"]
    for row in rows:
        low, high = map(_shown, row.interval)
        gap, top1, auc = map(_shown, (row.gap, row.top1, row.auc))
        lines.append(f"| {row.without} | {gap} | {low} to {high} | {top1} | {auc} |")
    return "\n".join(lines) + "\n"


def _shown(value: float | None) -> str:
    """A score; AUC has none where all images show landmarks."""
    return "–" if value is None else f"{value:.3f}"


def _evaluator(
    runs: Sequence[Path],
    files: Competition,
    test_ids: Sequence[str],
    changes: Mapping[str, Any],
) -> Evaluator:
    """The pools of the runs' subset, and the competition's test images as "test"."""
    settings = bundle_settings(runs, changes)
    queries = subset_queries(runs[0], files)
    test = [Query(i, image_path(files.test_dir, i), None) for i in test_ids]
    queries["test"] = test or queries["test"]
    with tempfile.TemporaryDirectory() as folder:
        return open_evaluator(runs, settings, queries, files.train_dir, Path(folder))


def _row(
    evaluator: Evaluator,
    name: str,
    changes: dict[str, Any],
    truths: dict[str, Truth],
) -> AblationRow:
    """Tune what is left, and score it."""
    settings = evaluator.settings.recognition.model_copy(update=changes)
    ranking, _ = tune(evaluator, settings, pinned=list(changes))
    score = with_intervals(evaluator.guesses("test", ranking), truths)
    logger.info("without %s: GAP %s", name, _shown(score.gap))
    interval = (score.interval and score.interval.gap) or (None, None)
    chosen = ranking.model_dump(mode="json")
    return AblationRow(name, score.gap, interval, score.top1, score.auc, chosen)
