"""The costliest mistakes: test images beside the gallery images that they resemble."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.report import losses
from kaggle_kit.report.html import Html, tag
from kaggle_kit.report.images import image
from kaggle_kit.report.losses import NO_LANDMARK
from kaggle_kit.subprocess_call import run_in_subprocess

if TYPE_CHECKING:
    from kaggle_kit.report.nearest import Nearest

NameOf = Callable[[int], str]  # the name of a landmark


def mistake_list(
    worst: pd.DataFrame, competition: Path, bundle: Path | None, name_of: NameOf
) -> Html:
    """A list of mistakes: the test image, and gallery images for comparison.

    The gallery images are the most similar one of the guessed landmark, and the most
    similar one of the true landmark.

    Args:
        worst: rows of ``losses.image_losses``.
        competition: a competition folder with the images.
        bundle: whose gallery is searched; None: no gallery images.
        name_of: the name of a landmark.
    """
    place = Competition(Path(competition))
    paths = [image_path(place.test_dir, str(image_id)) for image_id in worst.index]
    rows = losses.rows(worst)
    items = []
    for row, path, nearest in zip(
        rows, paths, _nearest(bundle, paths, rows), strict=True
    ):
        shows = describe_shown(row, name_of)
        guess = name_of(row.guess) if row.rank else "nothing"
        figures = [_figure(path, f"Test image of {shows}", f"Test image {row.Index}")]
        for landmark, label in ((row.guess, "Guessed"), (row.landmark, "Right")):
            if bundle and landmark != NO_LANDMARK:
                name = name_of(landmark)
                figure = _gallery_figure(place, nearest.get(landmark), label, name)
                figures.append(figure)
        rank = (
            f"Rank {row.rank:,}, confidence {row.confidence:.4g}. " if row.rank else ""
        )
        items.append(
            tag(
                "li",
                tag("h3", f"Shows {shows}, guessed: {guess}"),
                tag("p", f"{rank}Costs {row.loss:.4f} of GAP."),
                tag("div", *figures, class_="images"),
            )
        )
    return tag("ol", *items, class_="mistakes")


def describe_shown(row: Any, name_of: NameOf) -> str:
    """What an image shows; it says so if that landmark is not in the bundle.

    Args:
        row: of ``losses.image_losses``.
        name_of: the name of a landmark.
    """
    return name_of(row.landmark) + (", not in the bundle" if row.unknown else "")


def _nearest(
    bundle: Path | None, paths: list[Path], rows: list
) -> "list[dict[int, Nearest]]":
    """The nearest gallery images of the landmarks of each row, by landmark id.

    The networks are loaded in a process of their own.
    """
    if bundle is None or not any(path.is_file() for path in paths):
        return [{} for _ in paths]
    landmarks = [
        [i for i in (row.guess, row.landmark) if i != NO_LANDMARK] for row in rows
    ]
    return list(run_in_subprocess(search_gallery, bundle, paths, landmarks))


def search_gallery(
    bundle: Path, paths: list[Path], landmarks: list[list[int]]
) -> "list[dict[int, Nearest]]":
    """``report.nearest.nearest_images``, imported in the process that runs it."""
    from kaggle_kit.report.nearest import nearest_images  # TensorFlow

    return nearest_images(bundle, paths, landmarks)


def _figure(path: Path, alt: str, caption: object) -> Html:
    return tag("figure", image(path, alt), tag("figcaption", caption))


def _gallery_figure(
    place: Competition, nearest: "Nearest | None", label: str, name: str
) -> Html:
    if nearest is None:
        frame = image(None, "", "no image in the bundle")
        return tag("figure", frame, tag("figcaption", f"{label}: {name}"))
    caption = f"{label}: {name}, {nearest.image_id}, cosine {nearest.similarity:.3f}"
    path = image_path(place.train_dir, nearest.image_id)
    return _figure(path, f"Nearest gallery image of {name}", caption)
