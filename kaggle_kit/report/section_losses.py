"""Report section on what GAP was lost to: each cause, its share and its images."""

from pathlib import Path

import pandas as pd

from kaggle_kit.data.index import look
from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.report import losses
from kaggle_kit.report.html import Html, Number, join, section, table, tag

CHECKED = 1000  # images without a guess that are decoded again
CAUSES = {
    "wrong_landmarks": "Landmark images with a wrong guess",
    "wrong_above": "Of these, ranked above a right guess",
    "non_landmarks_above": "Images of no landmark, ranked above a right guess",
    "missing_guesses": "Landmark images without a guess",
}
# In the same order, where images show landmarks that the bundle does not hold.
CAUSES_WITH_UNKNOWN = {
    "wrong_landmarks": "Wrong guesses, the landmark in the bundle",
    "wrong_above": CAUSES["wrong_above"],
    "unknown_landmarks": "Wrong guesses, the landmark not in the bundle",
    "unknown_above": CAUSES["wrong_above"],
    "non_landmarks_above": CAUSES["non_landmarks_above"],
    "missing_guesses": CAUSES["missing_guesses"],
}


def lost_section(
    gap: float | None, images: pd.DataFrame, competition: Path | None
) -> Html | None:
    """The causes of 1 - GAP, as a bar and as a table; None where GAP is not defined.

    Args:
        images: the result of ``losses.image_losses``.
        competition: a competition folder, to look for images that do not decode.
    """
    if gap is None:
        return None
    parts = losses.parts(images)
    bar = [
        tag("span", class_=f"of-{name}", style=f"flex:{value:.6f} 0 0")
        for name, value in (("gap", gap), *parts._asdict().items())
        if value > 0
    ]
    return section(
        "What GAP was lost to",
        tag("div", *bar, class_="bar", aria_hidden="true"),
        table(
            "GAP and its losses",
            ("Part", "of GAP", "Images"),
            _cause_rows(gap, images),
        ),
        tag(
            "p",
            "A landmark image without a right guess loses its whole share. A right guess "
            "earns its share times the precision at its rank; the rest of the share is "
            "charged in equal parts to the wrong guesses above it. The parts add up to 1.",
            class_="quiet",
        ),
        _unknown(images),
        _unreadable(images, competition),
    )


def _cause_rows(gap: float, images: pd.DataFrame) -> list[list[object]]:
    """The rows of the table: GAP, each cause with its number of images, and the sum."""
    causes = CAUSES_WITH_UNKNOWN if images["unknown"].any() else CAUSES
    parts, counts = losses.parts(images), losses.part_counts(images)
    rows = [_row("gap", "Earned: GAP", gap, int(images["right"].sum()))]
    rows += [
        _row(name, label, getattr(parts, name), int(getattr(counts, name)))
        for name, label in causes.items()
    ]
    total = gap + sum(parts)
    return [*rows, ["Sum", Number(total, f"{total:.4f}"), ""]]


def _row(name: str, label: str, value: float, n: int) -> list[object]:
    key = tag("span", class_=f"key of-{name}")
    return [join([key, label]), Number(value, f"{value:.4f}"), Number(n, f"{n:,}")]


def _unknown(images: pd.DataFrame) -> Html | None:
    """The number of images whose landmark is not in the bundle, and how many are right."""
    unknown = images["unknown"]
    if not unknown.any():
        return None
    n, n_right = int(unknown.sum()), int((unknown & images["right"]).sum())
    return tag(
        "p",
        f"Landmark images whose landmark is not in the bundle: {n:,}, of which {n_right:,} "
        f"are right. Such a landmark can be guessed only if the kernel adds its images from "
        f"train.csv to the gallery.",
    )


def _unreadable(images: pd.DataFrame, competition: Path | None) -> Html | None:
    """The number of images without a guess that are missing or do not decode."""
    missing = images.index[images["rank"] == 0]
    if competition is None or not len(missing):
        return None
    folder = Competition(Path(competition)).test_dir
    checked = missing[:CHECKED]
    n = sum(isinstance(look(image_path(folder, i)), str) for i in checked)
    limit = "the first " if len(checked) < len(missing) else ""
    return tag(
        "p",
        f"Of {limit}{len(checked):,} images without a guess, {n:,} have no file that "
        f"decodes.",
    )
