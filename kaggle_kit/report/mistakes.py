"""The mistakes that cost most: the photo, and the gallery photo that misled."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.report import losses
from kaggle_kit.report.html import Html, tag
from kaggle_kit.report.losses import NO_LANDMARK
from kaggle_kit.report.photos import photo
from kaggle_kit.subprocess_call import run_in_subprocess

if TYPE_CHECKING:
    from kaggle_kit.report.nearest import Nearest

Named = Callable[[int], str]


def mistakes(
    worst: pd.DataFrame, competition: Path, bundle: Path | None, named: Named
) -> Html:
    """A list of photos, each beside the nearest gallery photo of what was guessed.

    Beside it too, for comparison, the nearest one of the landmark that is right.

    Args:
        worst: rows of ``losses.photo_losses``.
        bundle: whose gallery misled; without it, the photos alone.
        named: what to call a landmark.
    """
    place = Competition(Path(competition))
    paths = [image_path(place.test_dir, str(image_id)) for image_id in worst.index]
    rows = losses.rows(worst)
    evidence = _evidence(bundle, paths, rows)
    items = []
    for row, path, nearest in zip(rows, paths, evidence, strict=True):
        shows = named(row.landmark) if row.positive else "no landmark"
        guess = named(row.guess) if row.rank else "nothing"
        figures = [_figure(path, f"Test photo of {shows}", f"Test photo {row.Index}")]
        for landmark, what in ((row.guess, "Guessed"), (row.landmark, "Right")):
            if bundle and landmark != NO_LANDMARK:
                figures.append(
                    _gallery(place, nearest.get(landmark), what, named(landmark))
                )
        said = (
            f"Rank {row.rank:,}, confidence {row.confidence:.4g}. " if row.rank else ""
        )
        items.append(
            tag(
                "li",
                tag("h3", f"Shows {shows}, guessed: {guess}"),
                tag("p", f"{said}Costs {row.loss:.4f} of GAP."),
                tag("div", *figures, class_="photos"),
            )
        )
    return tag("ol", *items, class_="mistakes")


def _evidence(
    bundle: Path | None, paths: list[Path], rows: list
) -> "list[dict[int, Nearest]]":
    """What ``report.nearest`` finds, its networks in a process of their own."""
    if bundle is None or not any(path.is_file() for path in paths):
        return [{} for _ in paths]
    wanted = [
        [i for i in (row.guess, row.landmark) if i != NO_LANDMARK] for row in rows
    ]
    return list(run_in_subprocess(misleading, bundle, paths, wanted))


def misleading(
    bundle: Path, paths: list[Path], wanted: list[list[int]]
) -> "list[dict[int, Nearest]]":
    """``report.nearest.nearest``, imported where it runs."""
    from kaggle_kit.report.nearest import nearest  # TensorFlow, in this process alone

    return nearest(bundle, paths, wanted)


def _figure(path: Path, alt: str, caption: object) -> Html:
    return tag("figure", photo(path, alt), tag("figcaption", caption))


def _gallery(
    place: Competition, nearest: "Nearest | None", what: str, name: str
) -> Html:
    if nearest is None:
        frame = photo(None, "", "the bundle has no photo of it")
        return tag("figure", frame, tag("figcaption", f"{what}: {name}"))
    caption = f"{what}: {name}, {nearest.image_id}, cosine {nearest.similarity:.3f}"
    path = image_path(place.train_dir, nearest.image_id)
    return _figure(path, f"Nearest gallery photo of {name}", caption)
