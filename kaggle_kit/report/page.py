"""The report: one page, of one file, on what a submission is worth and what it lost."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaggle_kit.errors import KitError
from kaggle_kit.metrics.score import Score, score
from kaggle_kit.report.compare import compared, other
from kaggle_kit.report.html import Html, document
from kaggle_kit.report.losses import NO_LANDMARK, photo_losses
from kaggle_kit.report.mistakes import Named
from kaggle_kit.report.section_gap import (
    gap_section,
    landmarks_section,
    lost_section,
    mistakes_section,
    ranking_section,
)
from kaggle_kit.report.section_run import config_section, time_section, training_section
from kaggle_kit.report.subject import landmark_names, subject
from kaggle_kit.storage import tables
from kaggle_kit.storage.files import written
from kaggle_kit.storage.json_files import JsonObject

logger = logging.getLogger(__name__)
RESAMPLES = 1000  # for the interval of GAP, as ``score --intervals``


@dataclass(frozen=True)
class ReportPage(JsonObject):
    """A report that was written.

    Attributes:
        report: path of the page.
        megabytes: size of the page.
        gap: GAP of the submission; None where it is not defined.
    """

    report: Path
    megabytes: float
    gap: float | None


def report(
    run: Path,
    submission: Path,
    solution: Path,
    out: Path,
    competition: Path | None = None,
    bundle: Path | None = None,
    against: Sequence[Path] = (),
    scores: Score | None = None,
    rehearsal: Mapping[str, Any] | None = None,
) -> ReportPage:
    """Write the page of a submission. It needs no network and no file beside it.

    Args:
        run: a folder that ``train``, ``run`` or ``bundle`` made.
        competition: where the photos are, of which the worst mistakes are shown.
        bundle: whose gallery photos are shown beside them; None: the one in ``run``, if
            there is one.
        against: folders of other runs with their ``submission.csv``.
        scores: of ``score`` with intervals, if they are known already.
        rehearsal: what one says of itself; None: what ``run``'s ``result.json`` says.

    Returns:
        Where the page is, its megabytes, and GAP.

    Raises:
        TableError: a CSV file is malformed, or the ids are not the same.
        ArtefactError, ConfigError: a folder is not what it should be.
    """
    own = subject(run)
    bundle = Path(bundle) if bundle else own.bundle
    others = [other(folder) for folder in against]
    scores = scores or score(submission, solution, RESAMPLES)
    truths = tables.read_solution(solution)
    photos = photo_losses(tables.read_submission(submission), truths)
    named = namer(landmark_names(competition, bundle))
    parts: list[Html | None] = [
        gap_section(scores),
        lost_section(scores.gap, photos, competition),
        ranking_section(photos),
        landmarks_section(photos, named),
        mistakes_section(photos, competition, bundle, named),
        training_section(own),
    ]
    for entry in others:
        there = photo_losses(tables.read_submission(entry.submission), truths)
        gap_there = score(entry.submission, solution).gap
        if scores.gap is not None and gap_there is not None:
            gaps = scores.gap, gap_there
            parts.append(compared(own, photos, entry, there, gaps, competition, named))
    parts += [config_section(own), time_section(own, rehearsal)]
    page = document(f"Report: {own.name}", *parts)
    with written(Path(out)) as part:
        part.write_text(page, encoding="utf-8")
    size = round(len(page.encode()) / 1e6, 3)
    return ReportPage(Path(out), size, scores.gap)


def report_if_possible(*args: Any, **options: Any) -> str | None:
    """``report`` after hours of other work, which must not fail for want of a page.

    Returns:
        Where the page is; None if there is none, and the log says why.
    """
    try:
        return str(report(*args, **options).report)
    except KitError as error:
        logger.warning("no report: %s", error)
        return None


def namer(names: Mapping[int, str]) -> Named:
    """What a landmark is called: its name and id, as far as known."""

    def named(landmark: int) -> str:
        if landmark == NO_LANDMARK:
            return "no landmark"
        name = names.get(landmark)
        return f"{name} ({landmark})" if name else f"landmark {landmark}"

    return named
