"""What each part of recognition is worth: switch one off, tune the rest anew, score."""

import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kaggle_kit.backends.tensorflow import TensorFlowEngine
from kaggle_kit.bundling.recogniser_files import open_bench, settings_of
from kaggle_kit.bundling.validation import Bench, Query
from kaggle_kit.config import Config
from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.local_features.extract import LocalReader
from kaggle_kit.metrics.score import with_intervals
from kaggle_kit.storage import tables
from kaggle_kit.storage.files import atomic_write
from kaggle_kit.storage.tables import Truth

logger = logging.getLogger(__name__)


def ablate(
    runs: Sequence[Path],
    competition: Path,
    out: Path,
    changes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Score the competition's test photos with each part switched off in turn.

    What is left is tuned anew on the validation photos; nothing is tuned on the test
    photos. The gallery is of the training photos alone, so that every row is as honest as
    the others; a bundle's gallery has the validation photos too.

    Args:
        changes: settings to replace in the first run's config, by dotted name.

    Returns:
        rows: for each part, GAP, its interval, top-1, AUC and the ranking. It is also
        written to ``out`` as a table in Markdown.

    Raises:
        DataError, ArtefactError, TableError: no solution, no finished run.
    """
    runs = [Path(run) for run in runs]
    changes = dict(changes or {})
    place = Competition(Path(competition)).require("train", "test", "solution.csv")
    truths = {
        image_id: truth
        for image_id, truth in tables.read_solution(place.solution_csv).items()
        if truth.usage != "Ignored"
    }
    bench = _bench(runs, place, list(truths), changes)
    rows = [_row(bench, *part, truths) for part in parts(bench)]
    for name, without in views(bench.settings):
        bench = _bench(runs, place, list(truths), changes | without)
        rows.append(_row(bench, name, {}, truths))
    with atomic_write(out) as part:
        part.write_text(table(rows), encoding="utf-8")
    return {"rows": rows, "table": str(out)}


def parts(bench: Bench) -> list[tuple[str, dict[str, Any]]]:
    """What can be switched off, and the settings that do it."""
    settings = bench.settings.recognition
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
    if bench.has_head:
        found.append(("the head", {"head_exponent": 0.0}))
        found.append(("the gallery", {"ranking": "head"}))
    if settings.verification:
        found.append(("geometry", {"verification": None}))
    if bench.n_parts > 1:
        for i in range(bench.n_parts):
            weights = tuple(0.0 if i == j else 1.0 for j in range(bench.n_parts))
            found.append((f"embedder {i + 1}", {"weights": weights}))
    return found


def views(settings: Config) -> list[tuple[str, dict[str, Any]]]:
    """Views of a photo that can be left out, for which all photos are embedded anew."""
    found: list[tuple[str, dict[str, Any]]] = []
    if settings.model.backbone == "none":
        return found
    if settings.recognition.flip:
        found.append(("the mirrored view", {"recognition.flip": False}))
    if settings.recognition.scales != (1.0,):
        found.append(("other scales than 1", {"recognition.scales": (1.0,)}))
    return found


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a table in Markdown."""
    lines = ["| without | GAP | 95% interval | top-1 | AUC |", "|---|---|---|---|---|"]
    for row in rows:
        low, high = map(_shown, row["interval"])
        gap, top1, auc = (_shown(row[name]) for name in ("gap", "top1", "auc"))
        lines.append(f"| {row['without']} | {gap} | {low} to {high} | {top1} | {auc} |")
    return "\n".join(lines) + "\n"


def _shown(value: float | None) -> str:
    """A score; AUC has none where all photos show landmarks."""
    return "–" if value is None else f"{value:.3f}"


def _bench(
    runs: Sequence[Path],
    place: Competition,
    test_ids: Sequence[str],
    changes: dict[str, Any],
) -> Bench:
    """The pools of the runs' subset, and the competition's test photos as "test"."""
    reader = LocalReader(settings_of(runs, changes).local, TensorFlowEngine())
    test = [Query(i, image_path(place.test_dir, i), None) for i in test_ids]
    with tempfile.TemporaryDirectory() as folder:
        return open_bench(runs, place, Path(folder), changes, reader, test)


def _row(
    bench: Bench, name: str, changes: dict[str, Any], truths: dict[str, Truth]
) -> dict[str, Any]:
    """Tune what is left, and score it."""
    settings = bench.settings.recognition.model_copy(update=changes)
    chosen, _ = bench.tuned(settings, pinned=list(changes))
    scores = with_intervals(bench.guesses("test", chosen), truths)
    logger.info("without %s: GAP %s", name, _shown(scores.gap))
    return {
        "without": name,
        "gap": scores.gap,
        "interval": scores.interval and scores.interval.gap,
        "top1": scores.top1,
        "auc": scores.auc,
        "chosen": chosen.model_dump(mode="json"),
    }
