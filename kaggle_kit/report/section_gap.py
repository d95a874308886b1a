"""Report sections on the result: GAP, its losses, the ranking, landmarks, mistakes."""

from pathlib import Path

import pandas as pd

from kaggle_kit.data.index import look
from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.metrics.bootstrap import Interval
from kaggle_kit.metrics.score import Score
from kaggle_kit.report import losses, plots
from kaggle_kit.report.html import Html, Number, join, plot, section, table, tag
from kaggle_kit.report.losses import NO_LANDMARK, Parts
from kaggle_kit.report.mistakes import NameOf, mistake_list
from kaggle_kit.storage.manifest import read_manifest

WORST = 12  # mistakes to show
LANDMARKS = 1000  # rows of the table by landmark
CHECKED = 1000  # images without a guess that are decoded again
CAUSES = {
    "wrong_landmarks": "Landmark images with a wrong guess",
    "wrong_above": "The same guesses, ranked above right guesses",
    "non_landmarks_above": "Guesses on images of no landmark, ranked above right guesses",
    "missing_guesses": "Landmark images without a guess",
}


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


def lost_section(
    gap: float | None, images: pd.DataFrame, competition: Path | None
) -> Html | None:
    """The causes of 1 - GAP, as a bar and as a table; None where GAP is not defined."""
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
            _cause_rows(gap, parts, images),
        ),
        tag(
            "p",
            "A landmark image without a right guess loses its whole share. A right guess "
            "earns its share times the precision at its rank; the rest of the share is "
            "charged in equal parts to the wrong guesses above it. The parts add up to 1.",
            class_="quiet",
        ),
        _unreadable(images, competition),
    )


def _cause_rows(gap: float, parts: Parts, images: pd.DataFrame) -> list[list[object]]:
    """The rows of the table: GAP, each cause with its number of images, and the sum."""
    guessed, positive = images["rank"] > 0, images["positive"]
    wrong = int((positive & guessed & ~images["right"]).sum())
    counts = {
        "wrong_landmarks": wrong,
        "wrong_above": wrong,
        "non_landmarks_above": int((~positive & guessed).sum()),
        "missing_guesses": int((positive & ~guessed).sum()),
    }
    rows = [_row("gap", "Earned: GAP", gap, int(images["right"].sum()))]
    rows += [_row(n, CAUSES[n], v, counts[n]) for n, v in parts._asdict().items()]
    total = gap + sum(parts)
    return [*rows, ["Sum", Number(total, f"{total:.4f}"), ""]]


def _row(name: str, label: str, value: float, n: int) -> list[object]:
    key = tag("span", class_=f"key of-{name}")
    return [join([key, label]), Number(value, f"{value:.4f}"), Number(n, f"{n:,}")]


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


def ranking_section(images: pd.DataFrame) -> Html:
    """Precision by rank, and histograms of confidence by kind of image."""
    guessed = images[images["rank"] > 0]
    if guessed.empty:
        return section("Ranking", tag("p", "There are no guesses."))
    right, positive = guessed["right"], guessed["positive"]
    kinds = {
        "landmark, right": guessed.loc[right, "confidence"].to_numpy(),
        "landmark, wrong": guessed.loc[positive & ~right, "confidence"].to_numpy(),
        "no landmark": guessed.loc[~positive, "confidence"].to_numpy(),
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
                "Confidence by kind of image: the less the histograms overlap, the less "
                "GAP is lost to the ranking.",
            ),
            class_="plots",
        ),
    )


def landmarks_section(images: pd.DataFrame, name_of: NameOf) -> Html:
    """The results of each landmark, as a sortable table."""
    landmarks = losses.landmark_table(images)
    rows = []
    for row in losses.rows(landmarks.head(LANDMARKS)):
        none = row.Index == NO_LANDMARK
        confused = f"{name_of(row.confused)} × {row.times}" if row.times else ""
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
    limited = len(landmarks) > LANDMARKS
    limit = f", the {LANDMARKS:,} with the highest loss" if limited else ""
    head = ("Landmark", "Images", "Right", "Recall", "False guesses", "Share of loss")
    return section(
        "By landmark",
        tag(
            "p",
            "False guesses: guesses of the landmark on images of something else. Share of "
            "loss: what its images lose, plus what their wrong guesses take from right "
            "guesses ranked below.",
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
            name_of(row.landmark),
            name_of(row.guess) if row.rank else "nothing",
            Number(row.rank, f"{row.rank:,}"),
            Number(row.loss, f"{row.loss:.4f}"),
        )
        for row in losses.rows(worst)
    ]
    head = ("Image", "Shows", "Guessed", "Rank", "Costs")
    hint = tag("p", "Give --competition to see the images.", class_="quiet")
    return section(title, hint, table(f"The worst {len(rows)} images", head, rows))
