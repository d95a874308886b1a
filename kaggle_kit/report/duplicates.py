"""The section of the page with near-duplicates: a table of groups, and their images."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.data import near_duplicates
from kaggle_kit.report.contact_sheets import IMAGES, draw_sheets
from kaggle_kit.report.html import Html, Number, section, table, tag
from kaggle_kit.report.mistakes import NameOf

GROUPS = 200  # rows of the table
IDS = 8  # of a group, in the table
SHEETS = 30  # groups whose images are shown


def find_groups(
    image_ids: Sequence[str], hashes: NDArray[np.uint64]
) -> list[list[str]]:
    """Groups of near-duplicates of at least two; sorted, the largest group first.

    Args:
        hashes: (n, 3) of the images.
    """
    members: dict[int, list[str]] = defaultdict(list)
    for image_id, number in zip(
        image_ids, near_duplicates.group(hashes).tolist(), strict=True
    ):
        members[number].append(image_id)
    groups = [sorted(group) for group in members.values() if len(group) > 1]
    return sorted(groups, key=lambda group: (-len(group), group))


def duplicates_section(
    groups: Sequence[Sequence[str]],
    landmark: Mapping[str, int | None],
    folder: Path,
    name_of: NameOf,
) -> Html:
    """A section of the page with the groups of near-duplicates.

    Args:
        groups: the result of ``find_groups``.
        landmark: landmark id or None by image id.
        folder: of the images.
        name_of: the name of a landmark.
    """
    rows, sheets = [], []
    for group in groups[:GROUPS]:
        landmarks = {landmark[image_id] for image_id in group}
        names = ", ".join(
            sorted("no landmark" if i is None else name_of(i) for i in landmarks)
        )
        ids = ", ".join(group[:IDS]) + (" …" if len(group) > IDS else "")
        labels = "contradict each other" if len(landmarks) > 1 else "agree"
        rows.append((ids, Number(len(group), f"{len(group):,}"), names, labels))
        sheets.append((names, len(group), group[:IMAGES]))
    limited = len(groups) > GROUPS
    limit = f", the {GROUPS} largest of {len(groups):,} groups" if limited else ""
    return section(
        "Near-duplicates",
        tag("p", _summary(groups), class_="quiet"),
        table(
            f"Groups of near-duplicates{limit}",
            ("Images", "Number", "Landmarks", "Labels"),
            rows,
            sortable=True,
        ),
        *draw_sheets(sheets[:SHEETS], folder, "near-duplicates"),
    )


def _summary(groups: Sequence[Sequence[str]]) -> str:
    n_images = sum(map(len, groups))
    shown = f" The {SHEETS} largest are shown." if len(groups) > SHEETS else ""
    return (
        f"Groups: {len(groups):,}; images in them: {n_images:,}. The images of a group are "
        f"the same one scaled, compressed again or slightly cropped, or of the same scene "
        f"a moment later.{shown}"
    )
