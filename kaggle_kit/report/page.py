"""The report on a submission: GAP, its losses, and the run, as one HTML file."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaggle_kit.errors import KitError
from kaggle_kit.metrics.known_landmarks import read_known_landmarks
from kaggle_kit.metrics.score import Score, score
from kaggle_kit.report.compare import comparison_section, read_baseline
from kaggle_kit.report.html import Html, document
from kaggle_kit.report.losses import NO_LANDMARK, image_losses
from kaggle_kit.report.mistakes import NameOf
from kaggle_kit.report.section_gap import (
    gap_section,
    landmarks_section,
    mistakes_section,
    ranking_section,
)
from kaggle_kit.report.section_losses import lost_section
from kaggle_kit.report.section_run import config_section, time_section, training_section
from kaggle_kit.report.subject import landmark_names, subject
from kaggle_kit.storage import tables
from kaggle_kit.storage.files import atomic_write
from kaggle_kit.storage.json_files import JsonObject

logger = logging.getLogger(__name__)
RESAMPLES = 1000  # for the interval of GAP, as in ``score --intervals``


@dataclass(frozen=True)
class ReportPage(JsonObject):
    """The result of ``report``.

    Attributes:
        report: path of the page.
        megabytes: size of the page.
        gap: GAP of the submission; None if the solution has no landmark image.
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
    """Write the report of a submission: a page that loads nothing from elsewhere.

    Wrong guesses on images whose landmark is not in the bundle are a loss of their own.
    Without a bundle, the landmarks are those of the run that a bundle is made from.

    Args:
        run: a folder of ``train``, ``run`` or ``bundle``.
        submission, solution: CSV files.
        out: the HTML file to write.
        competition: a competition folder, to show images of the worst mistakes.
        bundle: whose landmarks are known, and whose gallery images are shown beside these
            mistakes; None: the bundle in ``run``, if there is one.
        against: folders of other runs with a ``submission.csv``, to compare with.
        scores: the result of ``score`` with intervals, if it is available.
        rehearsal: the result of a rehearsal; None: that in ``result.json`` of ``run``.

    Raises:
        TableError: a CSV file is malformed, or the ids differ.
        ArtefactError, ConfigError: a folder is missing, or a file in it is damaged.
    """
    own = subject(run)
    bundle = Path(bundle) if bundle else own.bundle
    baselines = [read_baseline(folder) for folder in against]
    known = read_known_landmarks(bundle or own.run)
    scores = scores or score(submission, solution, RESAMPLES)
    truths = tables.read_solution(solution)
    images = image_losses(tables.read_submission(submission), truths, known)
    name_of = name_function(landmark_names(competition, bundle))
    parts: list[Html | None] = [
        gap_section(scores),
        lost_section(scores.gap, images, competition),
        ranking_section(images),
        landmarks_section(images, name_of, known),
        mistakes_section(images, competition, bundle, name_of),
        training_section(own),
    ]
    for baseline in baselines:
        gap = score(baseline.submission, solution).gap
        if scores.gap is None or gap is None:
            continue
        others = image_losses(tables.read_submission(baseline.submission), truths)
        gaps = scores.gap, gap
        parts.append(
            comparison_section(
                own, images, baseline, others, gaps, competition, name_of
            )
        )
    parts += [config_section(own), time_section(own, rehearsal)]
    page = document(f"Report: {own.name}", *parts)
    with atomic_write(Path(out)) as part:
        part.write_text(page, encoding="utf-8")
    size = round(len(page.encode()) / 1e6, 3)
    return ReportPage(Path(out), size, scores.gap)


def report_if_possible(*args: Any, **options: Any) -> str | None:
    """As ``report``, but log an error of the kit instead of raising it.

    For use after hours of other work, which must not fail because of the page.

    Returns:
        The path of the page, or None.
    """
    try:
        return str(report(*args, **options).report)
    except KitError as error:
        logger.warning("no report: %s", error)
        return None


def name_function(names: Mapping[int, str]) -> NameOf:
    """Return the function that formats a landmark id for the page, with its name if known."""

    def name_of(landmark: int) -> str:
        if landmark == NO_LANDMARK:
            return "no landmark"
        name = names.get(landmark)
        return f"{name} ({landmark})" if name else f"landmark {landmark}"

    return name_of
