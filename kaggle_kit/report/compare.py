"""Two submissions side by side: what differs, and how sure that is."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.errors import ArtefactError
from kaggle_kit.metrics.bootstrap import gap_difference
from kaggle_kit.report import losses
from kaggle_kit.report.html import Html, Number, section, table, tag
from kaggle_kit.report.losses import NO_LANDMARK, changes
from kaggle_kit.report.mistakes import Named
from kaggle_kit.report.photos import photo
from kaggle_kit.report.settings import differences
from kaggle_kit.report.subject import Subject, subject

SUBMISSION = "submission.csv"
SHOWN, SEEN = 50, 12  # photos that changed: as rows, and as pictures
RESAMPLES = 1000


class Other(NamedTuple):
    """What a submission is compared with."""

    subject: Subject
    submission: Path
    folder: Path


def other(folder: Path) -> Other:
    """A folder with a config and its submission, as ``kaggle-kit run`` leaves it.

    Raises:
        ArtefactError: there is no submission.
    """
    folder = Path(folder)
    found = subject(folder)
    path = folder / SUBMISSION
    if not path.is_file():
        raise ArtefactError(
            f"{folder}: expected a run with its {SUBMISSION} to compare with, found no "
            f"{SUBMISSION}; put it there, or choose another --against"
        )
    return Other(found, path, folder)


def compared(
    own: Subject,
    photos: pd.DataFrame,
    against: Other,
    others: pd.DataFrame,
    gaps: tuple[float, float],
    competition: Path | None,
    named: Named,
) -> Html:
    """A section of the page: GAP, settings, and the photos that changed sides.

    Args:
        photos, others: ``losses.photo_losses`` of the two submissions.
        gaps: the GAP of each.
    """
    low, high = gap_difference(
        _pair(photos), _pair(others), photos["positive"].to_numpy(), RESAMPLES
    )
    less = gaps[0] - gaps[1]
    sure = (
        "is not told apart from chance" if low <= 0 <= high else "is more than chance"
    )
    said = tag(
        "p",
        tag("strong", f"{less:+.4f}"),
        f" GAP ({gaps[0]:.4f} here, {gaps[1]:.4f} there), 95% interval {low:+.4f} to "
        f"{high:+.4f} over the same photos drawn again: the difference {sure}.",
    )
    changed = changes(photos, others)
    gained = int(changed["right"].sum())
    count = tag(
        "p",
        f"{gained} photos are right here alone, {len(changed) - gained} there alone.",
    )
    name = against.subject.name
    if name == own.name:  # two runs of one config
        name = f"{name} ({against.folder.name})"
    return section(
        f"Against {name}",
        said,
        _settings(own, against.subject),
        tag("h3", "Photos that changed sides"),
        count,
        _seen(changed.head(SEEN), competition, named),
        _changed(changed, named),
    )


def _pair(photos: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    return photos["confidence"].to_numpy(), photos["right"].to_numpy()


def _settings(own: Subject, against: Subject) -> Html:
    if own.settings is None or against.settings is None:
        return tag("p", "One of the two has no config.json to compare.", class_="quiet")
    return table(
        "Settings that differ",
        ("Setting", "Here", "There"),
        [tuple(map(str, d)) for d in differences(own.settings, against.settings)],
    )


def _seen(changed: pd.DataFrame, competition: Path | None, named: Named) -> Html | None:
    if competition is None or changed.empty:
        return None
    folder = Competition(Path(competition)).test_dir
    figures = []
    for row in losses.rows(changed):
        shows = named(row.landmark) if row.landmark != NO_LANDMARK else "no landmark"
        caption = f"Right {'here' if row.right else 'there'}: {shows}"
        path = image_path(folder, str(row.Index))
        shown = photo(path, f"Test photo of {shows}")
        figures.append(tag("figure", shown, tag("figcaption", caption)))
    return tag("div", *figures, class_="photos")


def _changed(changed: pd.DataFrame, named: Named) -> Html:
    def guess(landmark: int) -> str:
        return "nothing" if landmark == NO_LANDMARK else named(landmark)

    rows = [
        (
            row.Index,
            named(row.landmark),
            guess(row.guess),
            guess(row.other_guess),
            Number(row.gained, f"{row.gained:+.5f}"),
        )
        for row in losses.rows(changed.head(SHOWN))
    ]
    more = f", the {SHOWN} of most weight" if len(changed) > SHOWN else ""
    return table(
        f"Photos that are right in one alone{more}",
        ("Photo", "Shows", "Guessed here", "Guessed there", "GAP it gained here"),
        rows,
        sortable=True,
    )
