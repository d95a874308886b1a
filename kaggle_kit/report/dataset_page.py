"""The page on a data set: an overview of the images of an index, as one HTML file."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kaggle_kit.data.index import read_hashes
from kaggle_kit.data.layout import Competition
from kaggle_kit.data.non_landmark_sources import count_sources
from kaggle_kit.data.non_landmarks import ORIGINS
from kaggle_kit.errors import TableError
from kaggle_kit.report import plots
from kaggle_kit.report.contact_sheets import contact_sheets_section
from kaggle_kit.report.duplicates import duplicates_section, find_groups
from kaggle_kit.report.html import (
    Html,
    Number,
    document,
    plot,
    section,
    table,
    tag,
)
from kaggle_kit.report.mistakes import NameOf
from kaggle_kit.report.page import name_function
from kaggle_kit.report.subject import landmark_names
from kaggle_kit.storage import tables
from kaggle_kit.storage.csv_files import read_rows
from kaggle_kit.storage.files import atomic_write
from kaggle_kit.storage.json_files import JsonObject

ROWS = 1000  # of the table of landmarks
LISTED = 200  # rows of the table of broken files


class Image(NamedTuple):
    """A row of ``index.csv``; the landmark id is None if ``train.csv`` does not list it."""

    image_id: str
    landmark_id: int | None
    width: int
    height: int


@dataclass(frozen=True)
class DatasetPage(JsonObject):
    """A page on a data set.

    Attributes:
        report: path of the page.
        megabytes: size of the page.
        duplicate_groups: number of groups of near-duplicates.
        duplicate_images: number of images in these groups.
    """

    report: Path
    megabytes: float
    duplicate_groups: int
    duplicate_images: int


def write_dataset_page(competition: Path, index_csv: Path) -> DatasetPage:
    """Write the page on the images of an index, as ``<stem of the index>.report.html``.

    The sizes of images are those in the index. Near-duplicates are found by the hashes in
    it; an index without hashes has none.

    Args:
        competition: a competition folder.
        index_csv: the index of its images, as ``kaggle-kit index`` writes it.

    Raises:
        TableError: the index, or its table of broken images, is missing or malformed.
    """
    place = Competition(Path(competition))
    index_csv = Path(index_csv)
    images = read_index(index_csv)
    broken_csv = index_csv.with_name(f"{index_csv.stem}.broken.csv")
    broken = [fields for _, fields in read_rows(broken_csv, ("id", "reason"))]
    name_of = name_function(landmark_names(place.root, None))
    groups = find_groups(*read_hashes(index_csv))
    landmark = {p.image_id: p.landmark_id for p in images}
    n_duplicates = sum(map(len, groups))
    page = document(
        f"Data set: {place.root.resolve().name}",
        _overview(images, len(broken), n_duplicates),
        _landmarks(images, name_of),
        _sizes(images),
        _non_landmarks(count_sources(place)),
        _broken(broken),
        duplicates_section(groups, landmark, place.train_dir, name_of),
        contact_sheets_section(list(landmark.items()), place.train_dir, name_of),
    )
    out = index_csv.with_name(f"{index_csv.stem}.report.html")
    with atomic_write(out) as part:
        part.write_text(page, encoding="utf-8")
    size = round(len(page.encode()) / 1e6, 3)
    return DatasetPage(out, size, len(groups), n_duplicates)


def read_index(path: Path) -> list[Image]:
    """Read ``index.csv`` (id, landmark_id, width, height).

    Raises:
        TableError: the index is missing or malformed.
    """
    images = []
    for row, fields in read_rows(path, ("id", "landmark_id", "width", "height")):
        image_id, landmark, *size = fields
        tables.require_id(path, row, image_id)
        if not all(map(tables.LANDMARK_ID.fullmatch, (landmark or "0", *size))):
            raise TableError(
                f"{path}: row {row}: expected a landmark id or nothing, a width and a "
                f"height, got {','.join(fields[1:])[:80]!r}; make the index again"
            )
        width, height = map(int, size)
        images.append(
            Image(image_id, int(landmark) if landmark else None, width, height)
        )
    return images


def _overview(images: Sequence[Image], n_broken: int, n_duplicates: int) -> Html:
    labelled = [p.landmark_id for p in images if p.landmark_id is not None]
    numbers = [
        ("Images that decode", len(images)),
        ("Images of a landmark", len(labelled)),
        ("Images that train.csv does not list", len(images) - len(labelled)),
        ("Landmarks", len(set(labelled))),
        ("Broken or missing", n_broken),
        ("With near-duplicates", n_duplicates),
    ]
    boxes = [tag("div", tag("dt", k), tag("dd", f"{v:,}")) for k, v in numbers]
    return section("Overview", tag("dl", *boxes, class_="numbers"))


def _landmarks(images: Sequence[Image], name_of: NameOf) -> Html:
    counts = Counter(p.landmark_id for p in images if p.landmark_id is not None)
    if not counts:
        return section("Landmarks by size", tag("p", "No image has a landmark."))
    sizes = list(counts.values())
    total = sum(sizes)
    rows = [
        (name_of(i), Number(n, f"{n:,}"), Number(n / total, f"{n / total:.2%}"))
        for i, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:ROWS]
    ]
    limit = f", the {ROWS:,} largest" if len(counts) > ROWS else ""
    low, median, high = min(sizes), float(np.median(sizes)), max(sizes)
    summary = f"{low:,} to {high:,} images of a landmark, median {median:g}"
    return section(
        "Landmarks by size",
        tag(
            "div",
            plot(
                plots.histogram_svg(
                    sizes, "images of a landmark", "landmarks", log=True
                ),
                f"Histogram of landmarks by their number of images: {summary}",
                f"{summary}.",
            ),
            class_="plots",
        ),
        table(
            f"{len(counts):,} landmarks{limit}",
            ("Landmark", "Images", "Share"),
            rows,
            sortable=True,
        ),
    )


def _non_landmarks(counts: Mapping[str, int]) -> Html:
    """How many images each source of non-landmarks has."""
    rows = [
        (source, Number(n, f"{n:,}"), ORIGINS[source]) for source, n in counts.items()
    ]
    note = (
        "An image counts as one only if subset.non_landmarks.source names its source."
    )
    return section(
        "Images that show no landmark",
        tag("p", note, class_="quiet"),
        table("By source", ("Source", "Images", "Which"), rows),
    )


def _sizes(images: Sequence[Image]) -> Html:
    width = np.array([p.width for p in images], float)
    height = np.array([p.height for p in images], float)
    measures = {
        "Width, pixels": width,
        "Height, pixels": height,
        "Shorter side, pixels": np.minimum(width, height),
        "Megapixels": width * height / 1e6,
        "Width / height": width / height,
    }
    percents = (0, 5, 50, 95, 100)
    rows = [
        (
            name,
            *(Number(v, f"{v:,.4g}") for v in np.percentile(values, percents).tolist()),
        )
        for name, values in measures.items()
    ]
    common = Counter((p.width, p.height) for p in images).most_common(1)[0]
    mode = (
        f"The most frequent is {common[0][0]} × {common[0][1]}, {common[1]:,} images."
    )
    if len(images) > plots.MAX_POINTS:
        mode += f" Drawn are {plots.MAX_POINTS:,} of {len(images):,} images."
    shorter = measures["Shorter side, pixels"]
    return section(
        "Sizes of images",
        tag(
            "div",
            plot(
                plots.scatter_svg(width.tolist(), height.tolist(), "width", "height"),
                f"Widths and heights of the images. {mode}",
                mode,
            ),
            plot(
                plots.histogram_svg(shorter.tolist(), "shorter side, pixels"),
                f"Histogram of the shorter side: median {np.median(shorter):g} pixels",
                f"Shorter side, median {np.median(shorter):g} pixels. An image size above "
                f"that of an image adds no detail.",
            ),
            class_="plots",
        ),
        table("Percentiles", ("Measure", "Min", "5%", "Median", "95%", "Max"), rows),
    )


def _broken(broken: Sequence[Sequence[str]]) -> Html:
    limit = f", the first {LISTED} of {len(broken):,}" if len(broken) > LISTED else ""
    return section(
        "Broken and missing files",
        table(f"Broken or missing{limit}", ("Image", "Reason"), broken[:LISTED]),
    )
