"""Download the tables of a part of the public data set."""

import logging
from pathlib import Path

from kaggle_kit.download import http
from kaggle_kit.download.parts import Part, PublicTable
from kaggle_kit.download.responses import Session
from kaggle_kit.download.staging import StagingFolder
from kaggle_kit.errors import RefusedError, TableError

logger = logging.getLogger(__name__)


def fetch_tables(
    session: Session, url: str, staging: StagingFolder, part: Part
) -> None:
    """Download the tables of a part that do not exist below the root.

    A table that is not required is left out if the server does not have it, and with a
    line in the log if it is malformed.

    Args:
        url: the data set, or a mirror of it.

    Raises:
        KaggleError: a required table could not be downloaded.
        TableError: a required table is malformed. It is not installed.
        DataError: the disk has too little space.
    """
    for table in part.tables:
        if (staging.root / table.name).exists():
            continue
        try:
            _install_table(session, url, staging, table)
        except RefusedError:
            if table.required:
                raise
        except TableError as error:
            if table.required:
                raise
            logger.warning("%s", replace_advice(error, "going on without this table"))


def replace_advice(error: TableError, advice: str) -> str:
    """The line of an error, with other advice at its end."""
    return f"{str(error).rpartition('; ')[0]}; {advice}"


def _install_table(
    session: Session, url: str, staging: StagingFolder, table: PublicTable
) -> None:
    """Download a table, check it, and move it to its place."""
    path = staging.folder / table.name
    source = _fetch_table(session, url, staging, table)
    try:
        table.prepare(path)
    except TableError as error:
        path.unlink()
        line = replace_advice(error, "check --url")
        raise TableError(line.replace(f"{path}", source)) from None
    staging.install(path, table.name)


def _fetch_table(
    session: Session, url: str, staging: StagingFolder, table: PublicTable
) -> str:
    """Download a table to the staging folder from the first place that has it.

    Returns:
        Its URL.
    """
    path: Path = staging.folder / table.name

    def check_space(size: int, existing: int) -> None:
        staging.require_space(size - existing, "the tables")

    name = table.served_as or table.name
    *others, last = [f"{url}/{place}/{name}" for place in table.places]
    for source in others:
        try:
            http.fetch_file(session, source, path, check_space)
            return source
        except RefusedError:
            continue
    http.fetch_file(session, last, path, check_space)
    return last
