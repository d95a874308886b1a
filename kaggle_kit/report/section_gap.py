"""Report sections on the result: GAP, the ranking, landmarks, mistakes."""

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from kaggle_kit.metrics.bootstrap import Interval
from kaggle_kit.metrics.score import Score
from kaggle_kit.report import losses, plots
from kaggle_kit.report.html import Html, Number, plot, section, table, tag
from kaggle_kit.report.losses import NO_LANDMARK
from kaggle_kit.report.mistakes import NameOf, describe_shown, mistake_list
from kaggle_kit.storage.manifest import read_manifest

WORST = 12  # mistakes to show
LANDMARKS = 1000  # rows of the table by landmark


def gap_section(score: Score) -> Html:
    """GAP and the related values."""
    gap, interval = score.gap, score.interval
    if gap is None:
        return section("GAP", tag("p", "Not defined: no image shows a landmark."))
    shown = tag("data", f"{gap:.4f}", id="gap", value=repr(gap), title=repr(gap))
    ends = interval.gap if interval else None
    within = f"95% interval {ends[0]:.4f} to {ends[1]:.4f}" if ends else ""
    top1_ends = _ends(interval.top1 if interval else None)
    auc_ends = _ends(interval.auc if interval else None)
    numbers = [
        ("Landmark images right (top-1)", _decimal(score.top1), top1_ends),
        ("Landmarks against others (AUC)", _decimal(score.auc), auc_ends),
        ("GAP on landmarks only", _decimal(score.gap_landmarks_only), ""),
        ("Images", f"{score.n_images:,}", ""),
        ("Images of a landmark", f"{score.n_positives:,}", ""),
        ("Guesses", f"{score.n_guesses:,}", ""),
        ("Public GAP", *_part(score.public)),
        ("Private GAP", *_part(score.private)),
        *(
            (f"GAP at {100 * share:g}% landmarks", _decimal(value), "")
            for share, value in score.gap_at_share.items()
        ),
    ]
    boxes = [
        tag(
            "div",
            tag("dt", name),
            tag("dd", value, tag("small", more) if more else None),
        )
        for name, value, more in numbers
        if value
    ]
    return section(
        "GAP",
        tag("p", shown, class_="big"),
        tag("p", within, class_="quiet"),
        tag("dl", *boxes, class_="numbers"),
    )


def _decimal(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _ends(interval: Interval | None) -> str:
    return f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else ""


def _part(part: Score | None) -> tuple[str, str]:
    """GAP of the public or the private rows, and their number; empty without such rows."""
    if part is None:
        return "", ""
    return _decimal(part.gap), f"{part.n_images:,} images"


def ranking_section(images: pd.DataFrame) -> Html:
    """Precision by rank, and histograms of confidence by kind of image."""
    guessed = images[images["rank"] > 0]
    if guessed.empty:
        return section("Ranking", tag("p", "There are no guesses."))
    kinds = {
        kind: guessed.loc[rows, "confidence"].to_numpy()
        for kind, rows in _kinds(guessed).items()
    }
    line = losses.precision_over_rank(images)
    n_positives = int(images["positive"].sum())
    last = line["precision"].iloc[-1]
    medians = ", ".join(
        f"{kind}: {pd.Series(values).median():.3g}"
        for kind, values in kinds.items()
        if len(values)
    )
    return section(
        "Ranking",
        tag(
            "div",
            plot(
                plots.precision_svg({"precision": line}, n_positives),
                f"Precision over rank: from {line['precision'].iloc[0]:.2f} at the top to "
                f"{last:.2f} after all {len(line):,} guesses",
                "Precision over rank. GAP is its mean over the right guesses, times the "
                "share of landmark images that are right.",
            ),
            plot(
                plots.confidence_svg(kinds),
                f"Histograms of confidence; medians: {medians}",
                "Confidence of the guesses by kind of image, with their number: the less "
                "the histograms overlap, the less GAP is lost to the ranking.",
            ),
            class_="plots",
        ),
    )


def _kinds(guessed: pd.DataFrame) -> dict[str, "pd.Series[bool]"]:
    """The kinds of images with a guess, by their name in the legend: a mask of each."""
    right, positive = guessed["right"], guessed["positive"]
    wrong, unknown = positive & ~right, guessed["unknown"]
    kinds = {"landmark, right": right}
    if unknown.any():
        kinds["landmark in the bundle, wrong"] = wrong & ~unknown
        kinds["landmark not in the bundle, wrong"] = wrong & unknown
    else:
        kinds["landmark, wrong"] = wrong
    return kinds | {"no landmark": ~positive}


def landmarks_section(
    images: pd.DataFrame, name_of: NameOf, known: Collection[int] | None = None
) -> Html:
    """The results of each landmark, as a sortable table.

    Args:
        images: the result of ``losses.image_losses``.
        name_of: the name of a landmark.
        known: the landmarks that the bundle holds; None: all.
    """
    landmarks = losses.landmark_table(images)
    shown = landmarks.drop(index=NO_LANDMARK, errors="ignore").head(LANDMARKS)
    shown = landmarks[landmarks.index.isin([*shown.index, NO_LANDMARK])]
    rows = []
    for row in losses.rows(shown):
        none = row.Index == NO_LANDMARK
        confused = f"{name_of(row.confused)} × {row.times:,}" if row.times else ""
        if known is not None and not none and row.Index not in known:
            confused = "; ".join(filter(None, ("not in the bundle", confused)))
        recall = None if none or not row.n else row.recall
        rows.append(
            (
                "Not a landmark" if none else name_of(row.Index),
                Number(row.n, f"{row.n:,}"),
                Number(None, "–") if none else Number(row.right, f"{row.right:,}"),
                Number(recall, "–" if recall is None else f"{recall:.1%}"),
                Number(row.false, f"{row.false:,}"),
                Number(row.share, f"{row.share:.1%}"),
                confused,
            )
        )
    n = len(landmarks.index.difference([NO_LANDMARK]))
    limit = f", the {LANDMARKS:,} with the highest loss" if n > LANDMARKS else ""
    head = ("Landmark", "Images", "Right", "Recall", "False guesses", "Share of loss")
    return section(
        "By landmark",
        tag(
            "p",
            "False guesses: guesses of the landmark on images of something else. Share of "
            "loss: what its images lose, plus what their wrong guesses take from right "
            "guesses ranked below. An image of several landmarks is counted once: for the "
            "guessed one if that is right, else for the lowest id.",
            class_="quiet",
        ),
        table(
            f"{n:,} landmarks{limit}",
            (*head, "Most confused with"),
            rows,
            sortable=True,
        ),
    )


def mistakes_section(
    images: pd.DataFrame,
    competition: Path | None,
    bundle: Path | None,
    name_of: NameOf,
) -> Html:
    """The costliest mistakes: images, or without a competition folder a table."""
    worst = losses.worst(images, WORST)
    title = "The costliest mistakes"
    if worst.empty:
        return section(title, tag("p", "There are none."))
    if competition is not None:
        has_parts = bundle and read_manifest(bundle).list_names("embedders")
        usable = bundle if has_parts else None
        hint = (
            "Beside each image are the most similar gallery images of the guessed landmark "
            "and of the right one, by the bundle's embedding, without penalties and "
            "verification."
            if usable
            else "Give --bundle to see the gallery images that the mistakes resemble."
        )
        mistakes = mistake_list(worst, competition, usable, name_of)
        return section(title, tag("p", hint, class_="quiet"), mistakes)
    rows = [
        (
            row.Index,
            describe_shown(row, name_of),
            name_of(row.guess) if row.rank else "nothing",
            Number(row.rank, f"{row.rank:,}"),
            Number(row.loss, f"{row.loss:.4f}"),
        )
        for row in losses.rows(worst)
    ]
    head = ("Image", "Shows", "Guessed", "Rank", "Costs")
    hint = tag("p", "Give --competition to see the images.", class_="quiet")
    return section(title, hint, table(f"The worst {len(rows)} images", head, rows))
