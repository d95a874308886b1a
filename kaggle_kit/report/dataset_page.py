"""The sheet of data: one page, of one file, on the photos that an index lists."""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.progress import progress
from kaggle_kit.report import plots
from kaggle_kit.report.html import (
    Html,
    Number,
    document,
    picture,
    plot,
    section,
    table,
    tag,
)
from kaggle_kit.report.mistakes import Named
from kaggle_kit.report.page import namer
from kaggle_kit.report.photos import thumbnail
from kaggle_kit.report.subject import landmark_names
from kaggle_kit.storage.csv_files import read_rows
from kaggle_kit.storage.files import written

ROWS = 1000  # of a table
LISTED = 200  # broken and duplicate files
SHEETS = 60  # landmarks with a contact sheet: the largest and the smallest
PHOTOS = 8  # on a contact sheet
SIDE = 128  # pixels of a photo there
AT_ONCE = 512  # photos that wait for a thread
PIECE = 1 << 20  # bytes read at a time
T = TypeVar("T")
R = TypeVar("R")


class Photo(NamedTuple):
    """A row of ``index.csv``; without a landmark it is None."""

    image_id: str
    landmark_id: int | None
    width: int
    height: int


def sheet(competition: Path, index_csv: Path) -> dict[str, Any]:
    """Write the page of an index beside it, as ``<index>.report.html``.

    Sizes are the index's. Of the files, those of a size in bytes that another has too are
    read whole and compared by SHA-256; a few of some landmarks are shown.

    Returns:
        Where the page is, its megabytes, and how many files are copies of another.

    Raises:
        TableError: the index is not as ``kaggle-kit index`` writes it.
    """
    place = Competition(Path(competition))
    index_csv = Path(index_csv)
    photos = read_index(index_csv)
    broken_csv = index_csv.with_name(f"{index_csv.stem}.broken.csv")
    broken = [fields for _, fields in read_rows(broken_csv, ("id", "reason"))]
    named = namer(landmark_names(place.root, None))
    copies = duplicates([p.image_id for p in photos], place.train_dir)
    landmark = {p.image_id: p.landmark_id for p in photos}
    n_copies = sum(len(group) - 1 for group in copies)
    page = document(
        f"Sheet of data: {place.root.resolve().name}",
        _overview(photos, len(broken), n_copies),
        _classes(photos, named),
        _sizes(photos),
        _broken(broken),
        _duplicates(copies, landmark, named),
        _contact_sheets(photos, place.train_dir, named),
    )
    out = index_csv.with_name(f"{index_csv.stem}.report.html")
    with written(out) as part:
        part.write_text(page, encoding="utf-8")
    size = round(len(page.encode()) / 1e6, 3)
    return {"report": str(out), "megabytes": size, "duplicates": n_copies}


def read_index(path: Path) -> list[Photo]:
    """Read ``index.csv`` (id, landmark_id, width, height)."""
    columns = ("id", "landmark_id", "width", "height")
    return [
        Photo(image_id, int(landmark) if landmark else None, int(width), int(height))
        for _, (image_id, landmark, width, height) in read_rows(path, columns)
    ]


def duplicates(image_ids: Sequence[str], folder: Path) -> list[list[str]]:
    """Groups of files with the same bytes, ids in order; the largest group first."""
    by_size: dict[int, list[str]] = defaultdict(list)
    for image_id in image_ids:
        by_size[image_path(folder, image_id).stat().st_size].append(image_id)
    alike = [i for group in by_size.values() if len(group) > 1 for i in group]
    by_hash: dict[bytes, list[str]] = defaultdict(list)
    found = _parallel(lambda i: _hash(image_path(folder, i)), alike)
    for image_id, digest in zip(
        alike, progress(found, total=len(alike), label="duplicates"), strict=True
    ):
        by_hash[digest].append(image_id)
    groups = [sorted(group) for group in by_hash.values() if len(group) > 1]
    return sorted(groups, key=lambda group: (-len(group), group))


def _hash(path: Path) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.digest()


def _parallel(function: Callable[[T], R], values: Iterable[T]) -> Iterator[R]:
    """What a function gives for each value, in order, by threads; few wait at a time."""
    waiting = iter(values)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while some := list(islice(waiting, AT_ONCE)):
            yield from pool.map(function, some)


def _overview(photos: Sequence[Photo], n_broken: int, n_copies: int) -> Html:
    labelled = [p.landmark_id for p in photos if p.landmark_id is not None]
    numbers = [
        ("Photos that decode", len(photos)),
        ("Photos of a landmark", len(labelled)),
        ("Photos of none", len(photos) - len(labelled)),
        ("Landmarks", len(set(labelled))),
        ("Broken or missing", n_broken),
        ("Copies of another file", n_copies),
    ]
    boxes = [tag("div", tag("dt", k), tag("dd", f"{v:,}")) for k, v in numbers]
    return section("Overview", tag("dl", *boxes, class_="numbers"))


def _classes(photos: Sequence[Photo], named: Named) -> Html:
    counts = Counter(p.landmark_id for p in photos if p.landmark_id is not None)
    if not counts:
        return section("Landmarks by size", tag("p", "No photo has a landmark."))
    sizes = list(counts.values())
    total = sum(sizes)
    rows = [
        (named(i), Number(n, f"{n:,}"), Number(n / total, f"{n / total:.2%}"))
        for i, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:ROWS]
    ]
    more = f", the {ROWS:,} largest" if len(counts) > ROWS else ""
    low, middle, high = min(sizes), float(np.median(sizes)), max(sizes)
    said = f"{low:,} to {high:,} photos of a landmark, median {middle:g}"
    return section(
        "Landmarks by size",
        tag(
            "div",
            plot(
                plots.histogram_svg(
                    sizes, "photos of a landmark", "landmarks", log=True
                ),
                f"Histogram of landmarks by their number of photos: {said}",
                f"{said}.",
            ),
            class_="plots",
        ),
        table(
            f"{len(counts):,} landmarks{more}",
            ("Landmark", "Photos", "Share"),
            rows,
            sortable=True,
        ),
    )


def _sizes(photos: Sequence[Photo]) -> Html:
    if not photos:
        return section("Sizes of photos", tag("p", "There is no photo."))
    width = np.array([p.width for p in photos], float)
    height = np.array([p.height for p in photos], float)
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
    common = Counter((p.width, p.height) for p in photos).most_common(1)[0]
    said = f"The commonest is {common[0][0]} × {common[0][1]}, {common[1]:,} photos."
    shorter = measures["Shorter side, pixels"]
    return section(
        "Sizes of photos",
        tag(
            "div",
            plot(
                plots.scatter_svg(width.tolist(), height.tolist(), "width", "height"),
                f"Widths and heights of the photos. {said}",
                said,
            ),
            plot(
                plots.histogram_svg(shorter.tolist(), "shorter side, pixels"),
                f"Histogram of the shorter side: median {np.median(shorter):g} pixels",
                f"Shorter side, median {np.median(shorter):g} pixels: a network that is "
                f"given more than a photo has sees nothing more.",
            ),
            class_="plots",
        ),
        table("Percentiles", ("Measure", "Least", "5%", "Median", "95%", "Most"), rows),
    )


def _broken(broken: Sequence[Sequence[str]]) -> Html:
    more = f", the first {LISTED} of {len(broken):,}" if len(broken) > LISTED else ""
    return section(
        "Broken and missing files",
        table(f"Broken or missing{more}", ("Photo", "Reason"), broken[:LISTED]),
    )


def _duplicates(
    copies: Sequence[Sequence[str]], landmark: Mapping[str, int | None], named: Named
) -> Html:
    rows = []
    for group in copies[:LISTED]:
        found = {landmark[image_id] for image_id in group}
        shown = sorted("no landmark" if i is None else named(i) for i in found)
        ids = ", ".join(group[:PHOTOS]) + (" …" if len(group) > PHOTOS else "")
        rows.append(
            (
                ids,
                Number(len(group), f"{len(group):,}"),
                ", ".join(shown),
                "contradict each other" if len(found) > 1 else "agree",
            )
        )
    many = f", the {LISTED} largest of {len(copies):,} groups"
    more = many if len(copies) > LISTED else ""
    return section(
        "Duplicate files",
        table(
            f"Files with the same bytes{more}",
            ("Photos", "Files", "Labelled", "Labels"),
            rows,
            sortable=True,
        ),
    )


def _contact_sheets(photos: Sequence[Photo], folder: Path, named: Named) -> Html:
    chosen = sheets([(p.image_id, p.landmark_id) for p in photos])
    wanted = [i for _, _, ids in chosen for i in ids]
    found = _parallel(lambda i: thumbnail(image_path(folder, i), SIDE), wanted)
    small = iter(progress(found, total=len(wanted), label="contact sheets"))
    parts = []
    for landmark_id, n, ids in chosen:
        name = "Not a landmark" if landmark_id is None else named(landmark_id)
        shown = [
            picture(data, "jpeg", f"{name}: {image_id}", title=image_id)
            for image_id, data in zip(ids, small, strict=False)
            if data
        ]
        parts.append(tag("h3", f"{name}: {n:,} photos"))
        parts.append(tag("div", *shown, class_="sheet"))
    n_landmarks = len({p.landmark_id for p in photos} - {None})
    some = (
        f"The {SHEETS // 2} largest and the {SHEETS // 2} smallest of {n_landmarks:,} "
        f"landmarks, and"
        if n_landmarks > SHEETS
        else "All landmarks, largest first, and"
    )
    said = (
        f"{some} what is none; at most {PHOTOS} photos of each, evenly among its ids."
    )
    return section("Contact sheets", tag("p", said, class_="quiet"), *parts)


def sheets(
    labels: Sequence[tuple[str, int | None]],
) -> list[tuple[int | None, int, list[str]]]:
    """Which photos are shown: the landmark, how many photos it has, and some of them.

    The largest landmarks and the smallest, ``SHEETS`` at most, and then photos of none.
    """
    by_landmark: dict[int | None, list[str]] = defaultdict(list)
    for image_id, landmark_id in labels:
        by_landmark[landmark_id].append(image_id)
    others = by_landmark.pop(None, [])
    order = sorted(by_landmark.items(), key=lambda item: (-len(item[1]), item[0] or 0))
    if len(order) > SHEETS:
        order = order[: SHEETS // 2] + order[-(SHEETS // 2) :]
    groups = [*order, *([(None, others)] if others else [])]
    return [(i, len(ids), _evenly(sorted(ids))) for i, ids in groups]


def _evenly(ids: Sequence[str]) -> list[str]:
    places = np.linspace(0, len(ids) - 1, min(PHOTOS, len(ids))).round().astype(int)
    return [ids[place] for place in places.tolist()]
