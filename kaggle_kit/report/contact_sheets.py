"""Contact sheets: a few images each of landmarks, or of other groups of images."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kaggle_kit.data.layout import image_path
from kaggle_kit.data.parallel import parallel_map
from kaggle_kit.progress import progress
from kaggle_kit.report.html import Html, picture, section, tag
from kaggle_kit.report.images import thumbnail
from kaggle_kit.report.mistakes import NameOf

SHEETS = 60  # landmarks with a contact sheet: the largest and the smallest
IMAGES = 8  # on a contact sheet
SIDE = 128  # of an image on a contact sheet, in pixels


class ContactSheet(NamedTuple):
    """The images of a landmark to show.

    Attributes:
        landmark_id: None for images that ``train.csv`` does not list.
        n_images: of the landmark.
        image_ids: of the images to show, sorted.
    """

    landmark_id: int | None
    n_images: int
    image_ids: list[str]


def contact_sheets_section(
    labels: Sequence[tuple[str, int | None]], folder: Path, name_of: NameOf
) -> Html:
    """A section of the page with the contact sheets.

    Args:
        labels: (image id, landmark id or None) of all images.
        folder: of the images.
        name_of: the name of a landmark.
    """
    sheets = [
        ("Not in train.csv" if i is None else name_of(i), n, image_ids)
        for i, n, image_ids in choose_sheets(labels)
    ]
    n_landmarks = len({landmark_id for _, landmark_id in labels} - {None})
    half = SHEETS // 2
    extent = (
        f"The {half} largest and the {half} smallest of {n_landmarks:,} landmarks"
        if n_landmarks > SHEETS
        else "All landmarks, largest first"
    )
    others = (
        ", and images that train.csv does not list"
        if any(i is None for _, i in labels)
        else ""
    )
    text = f"{extent}{others}; at most {IMAGES} images each, evenly by id."
    parts = draw_sheets(sheets, folder, "contact sheets")
    return section("Contact sheets", tag("p", text, class_="quiet"), *parts)


def draw_sheets(
    sheets: Sequence[tuple[str, int, Sequence[str]]], folder: Path, label: str
) -> list[Html]:
    """The headings and the images of contact sheets.

    Args:
        sheets: of each group its name, its number of images, and the ids to show.
        folder: of the images.
        label: of the progress bar.
    """
    image_ids = [image_id for _, _, ids in sheets for image_id in ids]
    files = parallel_map(lambda i: thumbnail(image_path(folder, i), SIDE), image_ids)
    thumbnails = iter(progress(files, total=len(image_ids), label=label))
    parts = []
    for name, n, ids in sheets:
        pictures = [
            picture(data, "jpeg", f"{name}: {image_id}", title=image_id)
            for image_id, data in zip(ids, thumbnails, strict=False)
            if data
        ]
        parts.append(tag("h3", f"{name}: {n:,} images"))
        parts.append(tag("div", *pictures, class_="sheet"))
    return parts


def choose_sheets(labels: Sequence[tuple[str, int | None]]) -> list[ContactSheet]:
    """Choose what to show: the largest and the smallest landmarks, then images of none.

    Args:
        labels: (image id, landmark id or None) of all images.

    Returns:
        At most ``SHEETS`` landmarks, sorted by descending size, then the images without a
        landmark if there are any.
    """
    by_landmark: dict[int | None, list[str]] = defaultdict(list)
    for image_id, landmark_id in labels:
        by_landmark[landmark_id].append(image_id)
    others = by_landmark.pop(None, [])
    order = sorted(by_landmark.items(), key=lambda item: (-len(item[1]), item[0] or 0))
    if len(order) > SHEETS:
        order = order[: SHEETS // 2] + order[-(SHEETS // 2) :]
    groups = [*order, *([(None, others)] if others else [])]
    return [ContactSheet(i, len(ids), _sample(sorted(ids))) for i, ids in groups]


def _sample(ids: Sequence[str]) -> list[str]:
    """At most ``IMAGES`` ids, evenly spaced."""
    index = np.linspace(0, len(ids) - 1, min(IMAGES, len(ids))).round().astype(int)
    return [ids[i] for i in index.tolist()]
