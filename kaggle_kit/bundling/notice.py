"""The licence, the notice and the authors of the gallery's images in a bundle."""

from collections.abc import Collection, Mapping
from importlib import metadata
from pathlib import Path

import pandas as pd

import kaggle_kit
from kaggle_kit.data.non_landmarks import ORIGINS, PoolCounts
from kaggle_kit.errors import ArtefactError, TableError
from kaggle_kit.escaping import escape_markdown
from kaggle_kit.progress import progress
from kaggle_kit.storage import tables
from kaggle_kit.storage.csv_files import write_rows

SOURCE = "train_attribution.csv"  # of the data set; the competition folder may have it
ATTRIBUTION = "attribution.csv"
CHUNK = 100_000  # rows read at a time
COLUMNS = ("id", "url", "author", "license", "title")
CITATION = (
    'T. Weyand, A. Araujo, B. Cao and J. Sim, "Google Landmarks Dataset v2: A '
    'Large-Scale Benchmark for Instance-Level Recognition and Retrieval", CVPR 2020, '
    "arXiv:2004.01804"
)
NOTICE = """\
# Whose work this is

The library in `kaggle_kit/` is licensed under the Apache License 2.0; its text is in
`LICENSE`.

The rest was computed from images and labels of the Google Landmarks Dataset v2:
weights (`embedders/`), vectors and local features of images (`gallery/`, `local/`), and
the names and numbers of landmarks. Its labels are licensed by Google under CC BY 4.0. The
images belong to their authors. Each has its own licence, and most licences require
attribution. This folder contains no image. Pretrained weights that training started from
(`model.weights` in the config) have their own licence. {pools}

Cite the data set as

> {citation}

{authors}
"""
LISTED = "The authors of {n} of the {total} gallery images are in `attribution.csv`."
UNLISTED = (
    f"The data set lists the authors in `{SOURCE}`, which was missing when this bundle was "
    f"built; `gallery/gallery.csv` has the ids of the images."
)


def licence_text() -> str:
    """The kit's licence, from its checkout, its bundle or its installed package.

    Raises:
        ArtefactError: none of them has the licence.
    """
    root = Path(kaggle_kit.__file__).parents[1]
    if (root / "setup.cfg").exists() or (root / "kit-manifest.json").exists():
        return (root / "LICENSE").read_text(encoding="utf-8")
    try:
        package = metadata.distribution("kaggle-kit")
    except metadata.PackageNotFoundError:
        text = None
    else:
        text = package.read_text("licenses/LICENSE") or package.read_text("LICENSE")
    if not text:
        raise ArtefactError(
            f"{kaggle_kit.__file__}: expected the kit's LICENSE in its package, found "
            f"none; install the kit from its wheel or its checkout"
        )
    return text


def write_notice(
    folder: Path, authors_of: Mapping[str, list[str]], pools: PoolCounts
) -> int:
    """Write ``NOTICE.md`` and, if authors are known, ``attribution.csv`` of the gallery.

    Args:
        folder: a bundle with its gallery.
        authors_of: what ``read_authors`` returned for these and perhaps other images.
        pools: where the images of non-landmarks come from.

    Returns:
        The number of gallery images whose author is known.
    """
    labels = tables.read_labels(folder / "gallery" / "gallery.csv")
    ids = {label.image_id for label in labels}
    rows = [row for image_id, row in authors_of.items() if image_id in ids]
    if rows:
        write_rows(folder / ATTRIBUTION, COLUMNS, rows)
    authors = LISTED.format(n=len(rows), total=len(ids)) if rows else UNLISTED
    text = NOTICE.format(citation=CITATION, authors=authors, pools=_describe(pools))
    (folder / "NOTICE.md").write_text(text, encoding="utf-8")
    return len(rows)


def _describe(pools: PoolCounts) -> str:
    """A sentence on the images of the penalty pool."""
    if not pools.penalty:
        return "This folder has no vectors of images without a landmark."
    known = pools.origin in ORIGINS.values()
    origin = pools.origin if known else escape_markdown(pools.origin)
    return f"This folder has vectors of {pools.penalty} images without a landmark, {origin}."


def read_authors(competition: Path, ids: Collection[str]) -> dict[str, list[str]]:
    """Read the rows of some images, by id and in file order; empty without the file.

    Args:
        competition: a folder that may have ``train_attribution.csv`` (id, url, author,
            license, title). It is read in chunks: it has millions of rows.

    Raises:
        TableError: the file is damaged or has other columns.
    """
    path = competition / SOURCE
    if not path.exists():
        return {}
    rows: list[list[str]] = []
    try:
        with (
            pd.read_csv(
                path, usecols=list(COLUMNS), dtype=str, na_filter=False, chunksize=CHUNK
            ) as chunks,
            progress(label=f"rows of {path.name}") as bar,
        ):
            for chunk in chunks:
                matches = chunk[chunk["id"].isin(ids)]
                rows += matches[list(COLUMNS)].to_numpy().tolist()
                bar.update(len(chunk))
    # ValueError includes UnicodeDecodeError, missing columns and the parser's errors.
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise TableError(
            f"{path}: expected a CSV file of {', '.join(COLUMNS)}, got {reason}; download "
            f"it again or remove it"
        ) from None
    return {row[0]: row for row in rows}
