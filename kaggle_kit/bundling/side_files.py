"""What a bundle takes over as it is: read before the work, which takes hours."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kaggle_kit.bundling.leaks import check_no_leaks
from kaggle_kit.bundling.notice import read_authors
from kaggle_kit.bundling.queries import Query
from kaggle_kit.data.layout import Competition
from kaggle_kit.errors import ArtefactError
from kaggle_kit.storage import json_files, tables
from kaggle_kit.storage.csv_files import write_rows
from kaggle_kit.storage.inside import resolve_inside
from kaggle_kit.training.run_directory import ENVIRONMENT


class SideFiles(NamedTuple):
    """The names of landmarks, the authors of images, and what the runs were made with."""

    names: dict[int, str]
    authors: dict[str, list[str]]  # a row of the table by image id
    made_with: list[Any]  # the environment of each run


def read_side_files(
    runs: Sequence[Path], files: Competition, queries: Mapping[str, Sequence[Query]]
) -> SideFiles:
    """Read the side files of a bundle.

    Args:
        queries: the images of each split; the gallery will be made of some of them.

    Raises:
        TableError: the table of names or that of authors is damaged.
        ArtefactError: a run has no ``environment.json``, or a damaged one.
    """
    in_gallery = [q for split in ("train", "validation") for q in queries[split]]
    return SideFiles(
        tables.read_names(files.names_csv),
        read_authors(files.root, {query.image_id for query in in_gallery}),
        [_read_environment(resolve_inside(run, ENVIRONMENT)) for run in runs],
    )


def check_side_files(side: SideFiles, folder: Path, private: Sequence[Path]) -> None:
    """Refuse leaks in what is known before the work; the end checks all files again.

    Args:
        folder: the bundle so far, with the library and the settings.
        private: paths of this machine that no file may contain.

    Raises:
        ArtefactError: a file must not be uploaded.
    """
    tables_of: dict[str, Sequence[Sequence[object]]] = {
        "names.csv": list(side.names.items()),
        "attribution.csv": list(side.authors.values()),
    }
    for name, rows in tables_of.items():
        write_rows(folder / name, (), rows)
    try:
        check_no_leaks(folder, private)
    finally:
        for name in tables_of:
            (folder / name).unlink()


def _read_environment(path: Path) -> Any:
    try:
        return json_files.read_json(path)
    except json_files.DAMAGE as error:
        raise ArtefactError(
            f"{path}: expected what the run was made with, got {error!r:.200}; train the "
            f"run again"
        ) from None
