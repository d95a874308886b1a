"""Compare two submissions: difference of GAP, its interval, and the images that differ."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.errors import ArtefactError
from kaggle_kit.metrics.bootstrap import gap_difference
from kaggle_kit.report import losses
from kaggle_kit.report.html import Html, Number, section, table, tag
from kaggle_kit.report.images import image
from kaggle_kit.report.losses import NO_LANDMARK, changes
from kaggle_kit.report.mistakes import NameOf
from kaggle_kit.report.settings import differences
from kaggle_kit.report.subject import Subject, subject

SUBMISSION = "submission.csv"
TABLE_ROWS, PICTURES = 50, 12  # of images that changed
RESAMPLES = 1000


class Baseline(NamedTuple):
    """A run that another is compared with.

    Attributes:
        subject: the run.
        submission: its submission file.
        folder: of the run.
    """

    subject: Subject
    submission: Path
    folder: Path


def read_baseline(folder: Path) -> Baseline:
    """Read a folder with a config and a submission, as ``kaggle-kit run`` writes it.

    Raises:
        ArtefactError: the folder or its submission is missing, or a file is damaged.
    """
    folder = Path(folder)
    run = subject(folder)
    path = folder / SUBMISSION
    if not path.is_file():
        raise ArtefactError(
            f"{folder}: expected {SUBMISSION} in the folder of --against, found none; "
            f"copy it there, or choose another folder"
        )
    return Baseline(run, path, folder)


def comparison_section(
    own: Subject,
    images: pd.DataFrame,
    baseline: Baseline,
    baseline_images: pd.DataFrame,
    gaps: tuple[float, float],
    competition: Path | None,
    name_of: NameOf,
) -> Html:
    """A section of the page: GAP, settings, and images that are right in one run only.

    Args:
        own, baseline: the two runs.
        images, baseline_images: ``losses.image_losses`` of their submissions.
        gaps: GAP of own and of baseline.
        competition: a competition folder, to show images; None: a table only.
        name_of: the name of a landmark.
    """
    low, high = gap_difference(
        _pair(images), _pair(baseline_images), images["positive"].to_numpy(), RESAMPLES
    )
    difference = gaps[0] - gaps[1]
    contains_zero = low <= 0 <= high
    summary = tag(
        "p",
        tag("strong", f"{difference:+.4f}"),
        f" GAP ({gaps[0]:.4f} here, {gaps[1]:.4f} there), 95% bootstrap interval "
        f"{low:+.4f} to {high:+.4f}: the difference is "
        f"{'not ' if contains_zero else ''}significant.",
    )
    changed = changes(images, baseline_images)
    n_gained = int(changed["right"].sum())
    counts = tag(
        "p",
        f"{n_gained} images are right only here, {len(changed) - n_gained} only there.",
    )
    name = baseline.subject.name
    if name == own.name:  # two runs of one config
        name = f"{name} ({baseline.folder.name})"
    return section(
        f"Against {name}",
        summary,
        _settings_table(own, baseline.subject),
        tag("h3", "Images that are right in one submission only"),
        counts,
        _pictures(changed.head(PICTURES), competition, name_of),
        _image_table(changed, name_of),
    )


def _pair(images: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    return images["confidence"].to_numpy(), images["right"].to_numpy()


def _settings_table(own: Subject, other: Subject) -> Html:
    if own.settings is None or other.settings is None:
        return tag("p", "One of the two has no config.json to compare.", class_="quiet")
    return table(
        "Settings that differ",
        ("Setting", "Here", "There"),
        [tuple(map(str, d)) for d in differences(own.settings, other.settings)],
    )


def _pictures(
    changed: pd.DataFrame, competition: Path | None, name_of: NameOf
) -> Html | None:
    if competition is None or changed.empty:
        return None
    folder = Competition(Path(competition)).test_dir
    figures = []
    for row in losses.rows(changed):
        shows = name_of(row.landmark)
        caption = f"Right {'here' if row.right else 'there'}: {shows}"
        path = image_path(folder, str(row.Index))
        picture = image(path, f"Test image of {shows}")
        figures.append(tag("figure", picture, tag("figcaption", caption)))
    return tag("div", *figures, class_="images")


def _image_table(changed: pd.DataFrame, name_of: NameOf) -> Html:
    def guess(landmark: int) -> str:
        return "nothing" if landmark == NO_LANDMARK else name_of(landmark)

    rows = [
        (
            row.Index,
            name_of(row.landmark),
            guess(row.guess),
            guess(row.other_guess),
            Number(row.gained, f"{row.gained:+.5f}"),
        )
        for row in losses.rows(changed.head(TABLE_ROWS))
    ]
    limit = f", the {TABLE_ROWS} with most effect" if len(changed) > TABLE_ROWS else ""
    return table(
        f"Images that are right in one submission only{limit}",
        ("Image", "Shows", "Guessed here", "Guessed there", "GAP gained here"),
        rows,
        sortable=True,
    )
