"""Download the tables of a part of the public data set."""

from pathlib import Path

import requests

from kaggle_kit.download import http
from kaggle_kit.download.parts import Part, PublicTable
from kaggle_kit.download.staging import StagingFolder
from kaggle_kit.errors import RefusedError, TableError


def fetch_tables(
    session: requests.Session, url: str, staging: StagingFolder, part: Part
) -> None:
    """Download the tables of a part that do not exist below the root.

    Args:
        url: the data set, or a mirror of it.

    Raises:
        KaggleError: a required table could not be downloaded.
        TableError: a table is malformed. It is not installed.
        DataError: the disk has too little space.
    """
    for table in part.tables:
        if (staging.root / table.name).exists():
            continue
        path = staging.folder / table.name
        try:
            source = _fetch_table(session, url, staging, table)
        except RefusedError:
            if table.required:
                raise
            continue
        try:
            if table.prepare:
                table.prepare(path)
        except TableError as error:
            path.unlink()
            raise TableError(str(error).replace(f"{path}", source)) from None
        staging.install(path, table.name)


def _fetch_table(
    session: requests.Session, url: str, staging: StagingFolder, table: PublicTable
) -> str:
    """Download a table to the staging folder from the first place that has it.

    Returns:
        Its URL.
    """
    path: Path = staging.folder / table.name

    def check_space(size: int, existing: int) -> None:
        staging.require_space(size - existing, "the tables")

    *others, last = [f"{url}/{place}/{table.name}" for place in table.places]
    for source in others:
        try:
            http.fetch_file(session, source, path, check_space)
            return source
        except RefusedError:
            continue
    http.fetch_file(session, last, path, check_space)
    return last
