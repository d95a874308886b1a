"""The sections of a report on the outcome: GAP, its losses, the ranking, the landmarks."""

from pathlib import Path

import pandas as pd

from kaggle_kit.data.index import look
from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.metrics.bootstrap import Interval
from kaggle_kit.metrics.score import Score
from kaggle_kit.report import losses, plots
from kaggle_kit.report.html import Html, Number, join, plot, section, table, tag
from kaggle_kit.report.losses import NO_LANDMARK, Parts
from kaggle_kit.report.mistakes import Named, mistakes

WORST = 12  # mistakes that are shown
LANDMARKS = 1000  # rows of the table by landmark
LOOKED_AT = 1000  # photos without a guess that are tried to be read
LOST = {
    "wrong_landmarks": "Landmark photos with another landmark guessed",
    "wrong_above": "Those wrong guesses, ranked above right ones",
    "non_landmarks_above": "Photos of no landmark, ranked above right guesses",
    "missing_guesses": "Landmark photos without a guess",
}


def gap_section(score: Score) -> Html:
    """GAP and the related values."""
    gap, interval = score.gap, score.interval
    if gap is None:
        return section("GAP", tag("p", "Not defined: no photo shows a landmark."))
    shown = tag("data", f"{gap:.4f}", id="gap", value=repr(gap), title=repr(gap))
    ends = interval and interval.gap
    within = f"95% interval {ends[0]:.4f} to {ends[1]:.4f}" if ends else ""
    top1_ends = _ends(interval and interval.top1)
    auc_ends = _ends(interval and interval.auc)
    numbers = [
        ("Landmark photos right", _decimal(score.top1), top1_ends),
        ("Landmark above other (AUC)", _decimal(score.auc), auc_ends),
        ("GAP on landmarks only", _decimal(score.gap_landmarks_only), ""),
        ("Photos", f"{score.n_images:,}", ""),
        ("Photos of a landmark", f"{score.n_positives:,}", ""),
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
    return _decimal(part.gap), f"{part.n_images:,} photos"


def lost_section(
    gap: float | None, photos: pd.DataFrame, competition: Path | None
) -> Html | None:
    """The causes of 1 - GAP, as a bar and as a table; None where GAP is not defined."""
    if gap is None:
        return None
    parts = losses.parts(photos)
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
            ("Part", "of GAP", "Photos"),
            _parts(gap, parts, photos),
        ),
        tag(
            "p",
            "A landmark photo that is not right costs its whole share. A right guess earns "
            "its share times the precision at its rank; what that is short of 1 is charged "
            "to the wrong guesses above it, each alike. So the parts add up to 1.",
            class_="quiet",
        ),
        _unread(photos, competition),
    )


def _parts(gap: float, parts: Parts, photos: pd.DataFrame) -> list[list[object]]:
    guessed, positive = photos["rank"] > 0, photos["positive"]
    wrong = int((positive & guessed & ~photos["right"]).sum())
    counts = {
        "wrong_landmarks": wrong,
        "wrong_above": wrong,
        "non_landmarks_above": int((~positive & guessed).sum()),
        "missing_guesses": int((positive & ~guessed).sum()),
    }
    rows = [_row("gap", "Earned: GAP", gap, int(photos["right"].sum()))]
    rows += [_row(n, LOST[n], v, counts[n]) for n, v in parts._asdict().items()]
    whole = gap + sum(parts)
    return [*rows, ["Sum", Number(whole, f"{whole:.4f}"), ""]]


def _row(name: str, label: str, value: float, n: int) -> list[object]:
    key = tag("span", class_=f"key of-{name}")
    return [join([key, label]), Number(value, f"{value:.4f}"), Number(n, f"{n:,}")]


def _unread(photos: pd.DataFrame, competition: Path | None) -> Html | None:
    """How many of the photos without a guess could not be read at all."""
    missing = photos.index[photos["rank"] == 0]
    if competition is None or not len(missing):
        return None
    folder = Competition(Path(competition)).test_dir
    some = missing[:LOOKED_AT]
    unread = sum(isinstance(look(image_path(folder, i)), str) for i in some)
    of = (
        f"{len(missing):,}" if len(some) == len(missing) else f"the first {len(some):,}"
    )
    return tag(
        "p", f"Of {of} photos without a guess, {unread:,} have no file that decodes."
    )


def ranking_section(photos: pd.DataFrame) -> Html:
    """Precision over rank, and confidences by kind of photo."""
    guessed = photos[photos["rank"] > 0]
    if guessed.empty:
        return section("Ranking", tag("p", "There is no guess."))
    right, positive = guessed["right"], guessed["positive"]
    kinds = {
        "landmark, right": guessed.loc[right, "confidence"].to_numpy(),
        "landmark, wrong": guessed.loc[positive & ~right, "confidence"].to_numpy(),
        "no landmark": guessed.loc[~positive, "confidence"].to_numpy(),
    }
    line = losses.precision_over_rank(photos)
    n_positives = int(photos["positive"].sum())
    last = line["precision"].iloc[-1]
    middle = {k: f"{pd.Series(v).median():.3g}" for k, v in kinds.items() if len(v)}
    medians = ", ".join(f"{kind}: {value}" for kind, value in middle.items())
    return section(
        "Ranking",
        tag(
            "div",
            plot(
                plots.precision_svg({"precision": line}, n_positives),
                f"Precision over rank: from {line['precision'].iloc[0]:.2f} at the top to "
                f"{last:.2f} after all {len(line):,} guesses",
                "Precision over rank. GAP is its mean over the right guesses, times the "
                "share of landmark photos that are right.",
            ),
            plot(
                plots.confidence_svg(kinds),
                f"Histograms of confidence; medians: {medians}",
                "Confidence by kind of photo: the less they overlap, the less GAP is lost "
                "to ranking.",
            ),
            class_="plots",
        ),
    )


def landmarks_section(photos: pd.DataFrame, named: Named) -> Html:
    """How each landmark fared, as a table to sort."""
    found = losses.landmark_table(photos)
    rows = []
    for row in losses.rows(found.head(LANDMARKS)):
        none = row.Index == NO_LANDMARK
        confused = f"{named(row.confused)} × {row.times}" if row.times else ""
        recall = None if none or not row.n else row.recall
        rows.append(
            (
                "Not a landmark" if none else named(row.Index),
                Number(row.n, f"{row.n:,}"),
                Number(None, "–") if none else Number(row.right, f"{row.right:,}"),
                Number(recall, "–" if recall is None else f"{recall:.1%}"),
                Number(row.false, f"{row.false:,}"),
                Number(row.share, f"{row.share:.1%}"),
                confused,
            )
        )
    n = len(found.index.difference([NO_LANDMARK]))
    more = f", the {LANDMARKS:,} of most loss" if len(found) > LANDMARKS else ""
    head = ("Landmark", "Photos", "Right", "Recall", "Guessed wrongly", "Share of loss")
    return section(
        "By landmark",
        tag(
            "p",
            "Guessed wrongly: guesses of it on photos of something else. Share of loss: "
            "what its photos cost, by being wrong and by the right guesses they outrank.",
            class_="quiet",
        ),
        table(
            f"{n:,} landmarks{more}",
            (*head, "Most confused with"),
            rows,
            sortable=True,
        ),
    )


def mistakes_section(
    photos: pd.DataFrame, competition: Path | None, bundle: Path | None, named: Named
) -> Html:
    """The mistakes that cost most: photos, or where these are not at hand, a table."""
    found = losses.worst(photos, WORST)
    title = "The mistakes that cost most"
    if found.empty:
        return section(title, tag("p", "There is none."))
    if competition is not None:
        usable = bundle if bundle and (bundle / "embedders").is_dir() else None
        beside = (
            "Beside each photo is the gallery photo of the guessed landmark that the "
            "bundle's embedding finds most like it, and that of the right one; penalties "
            "and geometry, where they count, come after that."
            if usable
            else "Give --bundle to see the gallery photos that misled."
        )
        shown = mistakes(found, competition, usable, named)
        return section(title, tag("p", beside, class_="quiet"), shown)
    rows = [
        (
            row.Index,
            named(row.landmark),
            named(row.guess) if row.rank else "nothing",
            Number(row.rank, f"{row.rank:,}"),
            Number(row.loss, f"{row.loss:.4f}"),
        )
        for row in losses.rows(found)
    ]
    head = ("Photo", "Shows", "Guessed", "Rank", "Costs")
    hint = tag("p", "Give --competition to see the photos.", class_="quiet")
    return section(title, hint, table(f"The worst {len(rows)} photos", head, rows))
