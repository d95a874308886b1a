"""Run all stages in sequence: from a competition folder to a scored submission."""

import logging
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kaggle_kit import config
from kaggle_kit.config import Config
from kaggle_kit.data.layout import Competition
from kaggle_kit.data.subset import SubsetCounts, subset
from kaggle_kit.demo.competition import DemoCounts, draw
from kaggle_kit.errors import ArtefactError, KitError
from kaggle_kit.metrics.score import Score, gap_of_sample
from kaggle_kit.rehearsal.rehearse import VISIBLE, Rehearsal, ReportPath, rehearse
from kaggle_kit.report.page import report_if_possible
from kaggle_kit.report.plots import learning_curves
from kaggle_kit.storage.files import atomic_write
from kaggle_kit.storage.json_files import INLINE, write_json
from kaggle_kit.storage.locks import lock
from kaggle_kit.subprocess_call import run_in_subprocess
from kaggle_kit.training.result import ShardCounts, ShardsAndTraining, TrainingResult

if TYPE_CHECKING:
    from kaggle_kit.bundling.build import Bundle

logger = logging.getLogger(__name__)
RESULT = "result.json"


@dataclass(frozen=True, slots=True)
class RunResult:
    """The result of all stages; saved as ``result.json``.

    Attributes:
        config: the name of the config.
        subset, shards, training, bundle, rehearsal: the result of each stage.
        seconds: how long each stage took.
        run, learning_curves, bundle_dir, submission: paths; without training there are
            no learning curves.
        score: what ``score`` returns, if the competition has a solution.
        gap_of_sample: GAP of the sample submission.
        gap: GAP of the submission.
    """

    config: str
    subset: SubsetCounts
    shards: ShardCounts | None
    training: TrainingResult
    bundle: "Bundle"
    rehearsal: Rehearsal
    seconds: dict[str, float]
    run: str
    learning_curves: str | None
    bundle_dir: str
    submission: str
    score: Score | None
    gap_of_sample: float | None
    gap: float | None
    page: ReportPath | None = field(default=None, metadata=INLINE)


@dataclass(frozen=True, slots=True)
class DemoResult:
    """The drawn competition, and the result of all stages on it."""

    drawn: DemoCounts
    competition: str
    run: RunResult | None = field(default=None, metadata=INLINE)


def run(
    settings: Config,
    competition: Path,
    out: Path,
    non_landmarks: Sequence[Path] = (),
) -> RunResult:
    """Make subset, shards, run, bundle and rehearsal, each in its own folder of ``out``.

    After an interruption, the same call resumes the training, and repeats the stages
    that take little time.

    Args:
        non_landmarks: what the user lists as non-landmarks, as for ``subset``.

    Raises:
        KitError: as the stages, or ``out`` holds other files.
    """
    layout = Competition(Path(competition)).require(*VISIBLE)
    if os.environ.get("TF_CONFIG"):  # it would wait for other hosts
        raise KitError(
            "TF_CONFIG: expected none, got the hosts of another training; unset it, or train "
            "on several hosts with kaggle-kit train"
        )
    out = Path(out)
    _open_folder(settings, out)
    with lock(out / RESULT):
        result = _run_stages(settings, layout, out, non_landmarks)
        write_json(result, out / RESULT)  # the report reads it
        if result.score:
            report = report_if_possible(
                out,
                out / "submission.csv",
                layout.solution_csv,
                out / "report.html",
                layout.root,
                scores=result.score,
            )
            result = replace(result, page=ReportPath(report))
            write_json(result, out / RESULT)
        return result


def _run_stages(
    settings: Config, layout: Competition, out: Path, listed: Sequence[Path]
) -> RunResult:
    """Run the stages while ``out`` is locked."""
    seconds: dict[str, float] = {}

    def timed(stage: Callable[..., Any], *args: Any, **options: Any) -> Any:
        logger.info("stage: %s", stage.__name__)
        start = time.monotonic()
        if stage in (train, bundle):
            result = run_in_subprocess(stage, *args)
        else:
            result = stage(*args, **options)
        seconds[stage.__name__] = round(time.monotonic() - start, 1)
        return result

    competition = layout.root
    split = timed(
        subset, settings.subset, settings.seed, competition, out / "subset", listed
    )
    stages = timed(train, settings, competition, out)
    curves = None
    if settings.train.epochs:
        curves = out / "run" / "learning_curves.png"
        learning_curves(out / "run" / "history.csv", curves)
    bundled = timed(bundle, competition, out, listed)
    folders = (out / "bundle", competition, out / "rehearsal")
    rehearsal = timed(rehearse, *folders, page=False)
    with atomic_write(out / "submission.csv") as part:
        shutil.copyfile(rehearsal.submission, part)
    of_sample = None
    if rehearsal.score:
        of_sample = gap_of_sample(layout.sample_csv, layout.solution_csv)
    return RunResult(
        config=settings.name,
        subset=split,
        shards=stages.shards,
        training=stages.training,
        bundle=bundled,
        rehearsal=replace(rehearsal, submission=None, score=None),
        seconds=seconds,
        run=str(out / "run"),
        learning_curves=str(curves) if curves else None,
        bundle_dir=str(out / "bundle"),
        submission=str(out / "submission.csv"),
        score=rehearsal.score,
        gap_of_sample=of_sample,
        gap=rehearsal.score and rehearsal.score.gap,
    )


def train(settings: Config, competition: Path, out: Path) -> ShardsAndTraining:
    """Make the shards and train, or resume."""
    from kaggle_kit.training.kaggle_session import train_from_images  # TensorFlow

    return train_from_images(
        settings, competition, out / "subset", out / "shards", out / "run"
    )


def bundle(competition: Path, out: Path, non_landmarks: Sequence[Path]) -> "Bundle":
    """Make the bundle of the run."""
    from kaggle_kit.bundling.build import build_bundle  # imports TensorFlow

    return build_bundle(
        [out / "run"], competition, out / "bundle", non_landmarks=non_landmarks
    )


def demo(settings: Config, out: Path) -> DemoResult:
    """Draw a small competition into ``out/competition`` and run all stages on it."""
    out = Path(out)
    competition = out / "competition"
    drawn = draw(competition, settings.seed)
    return DemoResult(drawn, str(competition), run(settings, competition, out))


def _open_folder(settings: Config, out: Path) -> None:
    """Create the folder, unless it holds a run of another config or other files."""
    path = out / "config.json"
    if path.exists() and config.read_json(path) != settings:
        raise ArtefactError(
            f"{out}: expected a new folder or one of this config, found a run with other "
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
    """The names in a folder, without the temporary files of a killed process."""
    return [path.name for path in folder.iterdir() if ".kit." not in path.name]
