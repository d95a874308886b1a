"""Ablation: switch off one part of recognition, tune the rest again, and score it."""

import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaggle_kit.bundling.embedders import bundle_settings, open_evaluator
from kaggle_kit.bundling.evaluator import Evaluator
from kaggle_kit.bundling.queries import Query, subset_queries
from kaggle_kit.bundling.tune import check_share, tune
from kaggle_kit.config import Config
from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.data.non_landmarks import PoolCounts
from kaggle_kit.metrics.score import SHARES, with_intervals
from kaggle_kit.storage import tables
from kaggle_kit.storage.files import atomic_write
from kaggle_kit.storage.json_files import JsonObject
from kaggle_kit.storage.tables import Truth

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class AblationRow(JsonObject):
    """The scores of recognition without one part.

    Attributes:
        without: the part that was switched off.
        gap, top1, auc: scores; AUC is None if all images show landmarks.
        gap_at_share: GAP at each of ``score.SHARES`` of landmark images.
        interval: the 95% interval of GAP.
        chosen: the tuned ranking.
    """

    without: str
    gap: float | None
    interval: tuple[float | None, float | None]
    top1: float | None
    auc: float | None
    gap_at_share: Mapping[float, float | None]
    chosen: dict[str, Any]


@dataclass(frozen=True)
class Ablation(JsonObject):
    """All rows, the pools of non-landmarks, and the path of the file with their table."""

    rows: list[AblationRow]
    non_landmarks: PoolCounts
    table: str


def ablate(
    runs: Sequence[Path],
    competition: Path,
    out: Path,
    changes: Mapping[str, Any] | None = None,
    non_landmarks: Sequence[Path] = (),
) -> Ablation:
    """Score the competition's test images with each part switched off in turn.

    The remaining parts are tuned again on the validation images, never on the test images.
    The gallery has only the training images, whereas the gallery of a bundle has the
    validation images too. The rows are also written to ``out`` as a Markdown table.

    Args:
        changes: settings to replace in the first run's config, by dotted name.
        non_landmarks: what the user lists as non-landmarks, as for ``subset``.

    Raises:
        DataError, TableError: the solution is missing or damaged.
        ArtefactError: a run is not finished.
    """
    runs = [Path(run) for run in runs]
    changes = dict(changes or {})
    files = Competition(Path(competition)).require("train", "test", "solution.csv")
    truths = {
        image_id: truth
        for image_id, truth in tables.read_solution(files.solution_csv).items()
        if truth.usage != "Ignored"
    }
    settings = bundle_settings(runs, changes)
    queries = subset_queries(runs[0], settings, files, non_landmarks)
    check_share(settings.recognition, queries.by_split)
    by_split = queries.by_split
    test = [Query(i, image_path(files.test_dir, i), None) for i in truths]
    by_split["test"] = test or by_split["test"]
    evaluator = _open_evaluator(runs, files, by_split, settings)
    rows = [_score_row(evaluator, *part, truths) for part in list_parts(evaluator)]
    for name, without in list_views(evaluator.settings):
        settings = bundle_settings(runs, changes | without)
        evaluator = _open_evaluator(runs, files, by_split, settings)
        rows.append(_score_row(evaluator, name, {}, truths))
    with atomic_write(out) as partial:
        partial.write_text(format_table(rows), encoding="utf-8")
    return Ablation(rows, queries.non_landmarks, str(out))


def list_parts(evaluator: Evaluator) -> list[tuple[str, dict[str, Any]]]:
    """The parts that can be switched off, each with the settings that do so."""
    settings = evaluator.settings.recognition
    parts: list[tuple[str, dict[str, Any]]] = [("nothing", {})]
    if settings.tune:
        parts.append(("tuning", {"tune": False}))
    if settings.whiten:
        parts.append(("whitening", {"whiten": None}))
        if settings.whitening == "within":
            parts.append(("knowing landmarks in whitening", {"whitening": "pca"}))
    parts += [
        ("several neighbours", {"neighbours": 1}),
        ("the gallery's penalty (B)", {"gallery_penalty_weight": 0.0}),
        ("the query's penalty (C)", {"query_penalty_weight": 0.0}),
        (
            "both penalties",
            {"gallery_penalty_weight": 0.0, "query_penalty_weight": 0.0},
        ),
    ]
    if evaluator.has_head:
        parts.append(("the head", {"head_exponent": 0.0}))
        parts.append(("the gallery", {"ranking": "head"}))
    if settings.verification:
        parts.append(("geometry", {"verification": None}))
    if evaluator.n_parts > 1:
        for i in range(evaluator.n_parts):
            weights = tuple(0.0 if i == j else 1.0 for j in range(evaluator.n_parts))
            parts.append((f"embedder {i + 1}", {"weights": weights}))
    return parts


def list_views(settings: Config) -> list[tuple[str, dict[str, Any]]]:
    """The views that can be switched off, each with the settings that do so.

    For each of them, all images must be embedded again.
    """
    views: list[tuple[str, dict[str, Any]]] = []
    if settings.model.backbone == "none":
        return views
    if settings.recognition.flip:
        views.append(("the mirrored view", {"recognition.flip": False}))
    if settings.recognition.scales != (1.0,):
        views.append(("other scales than 1", {"recognition.scales": (1.0,)}))
    return views


def format_table(rows: Sequence[AblationRow]) -> str:
    """Format the rows as a Markdown table."""
    shares = [f"GAP at {share:.3g}" for share in SHARES]
    names = ["without", "GAP", "95% interval", "top-1", "AUC", *shares]
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for row in rows:
        low, high = map(_format_score, row.interval)
        values = (row.top1, row.auc, *(row.gap_at_share[share] for share in SHARES))
        cells = [row.without, _format_score(row.gap), f"{low} to {high}"]
        cells += map(_format_score, values)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _format_score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _open_evaluator(
    runs: Sequence[Path],
    files: Competition,
    queries: Mapping[str, Sequence[Query]],
    settings: Config,
) -> Evaluator:
    """Open an evaluator of networks that are exported to a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        return open_evaluator(runs, settings, queries, files.train_dir, Path(folder))


def _score_row(
    evaluator: Evaluator,
    name: str,
    changes: dict[str, Any],
    truths: dict[str, Truth],
) -> AblationRow:
    """Tune the remaining parts, and score them."""
    settings = evaluator.settings.recognition.model_copy(update=changes)
    ranking, _ = tune(evaluator, settings, pinned=list(changes))
    score = with_intervals(evaluator.guesses("test", ranking), truths)
    logger.info("without %s: GAP %s", name, _format_score(score.gap))
    interval = (score.interval and score.interval.gap) or (None, None)
    chosen = ranking.model_dump(mode="json")
    return AblationRow(
        without=name,
        gap=score.gap,
        interval=interval,
        top1=score.top1,
        auc=score.auc,
        gap_at_share=score.gap_at_share,
        chosen=chosen,
    )
