"""All stages in a row: from a competition folder to a scored submission."""

import logging
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from kaggle_kit import config
from kaggle_kit.config import Config
from kaggle_kit.data.layout import Competition
from kaggle_kit.data.subset import subset
from kaggle_kit.demo.competition import draw
from kaggle_kit.errors import ArtefactError
from kaggle_kit.metrics.score import score
from kaggle_kit.rehearsal.rehearse import VISIBLE, rehearse
from kaggle_kit.report.page import report_if_possible
from kaggle_kit.report.plots import learning_curves
from kaggle_kit.storage.files import locked, written
from kaggle_kit.storage.json_files import write_json
from kaggle_kit.subprocess_call import apart
from kaggle_kit.training.result import ShardsAndTraining

logger = logging.getLogger(__name__)
RESULT = "result.json"


def run(settings: Config, competition: Path, out: Path) -> dict[str, Any]:
    """Subset, shards, training, bundle and rehearsal, each into a folder of ``out``.

    Called again after an interruption it makes the quick stages anew and goes on with
    the training where that stopped.

    Returns:
        Where everything lies, what each stage says of itself, the seconds it took and,
        where the competition has a solution, the scores, the GAP of its sample
        submission and the report; also in ``out/result.json``.
    """
    place = Competition(Path(competition)).require(*VISIBLE)
    out = Path(out)
    _open(settings, out)
    with locked(out / RESULT):
        return _run(settings, competition, place, out)


def _run(
    settings: Config, competition: Path, place: Competition, out: Path
) -> dict[str, Any]:
    """All stages, while no other process is at work in ``out``."""
    seconds: dict[str, float] = {}

    def timed(stage: Callable[..., Any], *args: Any, **options: Any) -> Any:
        logger.info("stage: %s", stage.__name__)
        start = time.monotonic()
        here = partial(stage, **options)
        made = apart(stage, *args) if stage in (train, bundle) else here(*args)
        seconds[stage.__name__] = round(time.monotonic() - start, 1)
        return made

    chosen = timed(subset, settings.subset, settings.seed, competition, out / "subset")
    training = timed(train, settings, competition, out)
    curves = None
    if settings.train.epochs:
        curves = out / "run" / "learning_curves.png"
        learning_curves(out / "run" / "history.csv", curves)
    bundled = timed(bundle, competition, out)
    rehearsal_dir = out / "rehearsal"
    rehearsed = timed(rehearse, out / "bundle", competition, rehearsal_dir, page=False)
    with written(out / "submission.csv") as part:
        shutil.copyfile(rehearsed.pop("submission"), part)
    scores = rehearsed.pop("score", None)
    result = {
        "config": settings.name,
        "subset": chosen,
        "shards": training.shards,
        "training": training.training.to_json(),
        "bundle": bundled,
        "rehearsal": rehearsed,
        "seconds": seconds,
        "run": str(out / "run"),
        "learning_curves": curves and str(curves),
        "bundle_dir": str(out / "bundle"),
        "submission": str(out / "submission.csv"),
        "score": scores,
        "gap_of_sample": scores and score(place.sample_csv, place.solution_csv)["gap"],
        "gap": scores and scores["gap"],
    }
    write_json(result, out / RESULT)  # which the report reads
    if scores:
        result["report"] = report_if_possible(
            out,
            out / "submission.csv",
            place.solution_csv,
            out / "report.html",
            competition,
            scores=scores,
        )
        write_json(result, out / RESULT)
    return result


def train(settings: Config, competition: Path, out: Path) -> ShardsAndTraining:
    """Shards and training; an earlier training is resumed."""
    from kaggle_kit.training.kaggle_session import (
        train_from_photos,  # TensorFlow, in this process
    )

    return train_from_photos(
        settings, competition, out / "subset", out / "shards", out / "run"
    )


def bundle(competition: Path, out: Path) -> dict[str, Any]:
    """The bundle of the run."""
    from kaggle_kit.bundling.bundle import bundle  # TensorFlow, in this process alone

    return bundle([out / "run"], competition, out / "bundle")


def demo(settings: Config, out: Path) -> dict[str, Any]:
    """Draw a small competition into ``out/competition`` and run a config on it."""
    out = Path(out)
    competition = out / "competition"
    drawn = draw(competition, settings.seed)
    return {"drawn": drawn, "competition": str(competition)} | run(
        settings, competition, out
    )


def _open(settings: Config, out: Path) -> None:
    """Make the folder; refuse one that another config has been run in."""
    path = out / "config.json"
    if path.exists() and config.read_json(path) != settings:
        raise ArtefactError(
            f"{out}: expected a new folder or one of this config, found a run of other "
            f"settings; choose another --out"
        )
    if out.is_dir() and not path.exists() and set(_names(out)) - {"competition"}:
        raise ArtefactError(
            f"{out}: expected a new or empty folder, found other files; choose another "
            f"--out"
        )
    out.mkdir(parents=True, exist_ok=True)
    config.write_json(settings, path)


def _names(folder: Path) -> list[str]:
    """What is in a folder, but for files that a killed process left half-written."""
    return [path.name for path in folder.iterdir() if ".kit." not in path.name]
