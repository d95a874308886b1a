"""The ledger: a row for every submission, in ``submissions/ledger.csv``."""

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from kaggle_kit.kaggle.checks import check_folder
from kaggle_kit.storage.csv_files import read_rows, write_rows
from kaggle_kit.storage.files import lock

LEDGER = Path("submissions") / "ledger.csv"


@dataclass(frozen=True)
class Row:
    """A submission. All are text as in the file; what is not known is empty."""

    date: str  # of the submission, UTC
    run: str  # the folder in submissions/ with its output, or the file's name
    config: str
    commit: str
    bundle: str  # the first 12 hex digits of its manifest's SHA-256
    kernel: str  # owner/slug; empty for a file
    version: str
    local_gap: str
    public: str
    private: str
    status: str  # pending, complete or error
    ref: str  # Kaggle's number of the submission
    message: str


COLUMNS = tuple(field.name for field in fields(Row))


def read(path: Path = LEDGER) -> list[Row]:
    """The rows, in the order of the file; none without a file.

    Raises:
        TableError: the file is not a ledger.
    """
    if not path.exists():
        return []
    return [Row(*values) for _, values in read_rows(path, COLUMNS)]


def check_ledger(path: Path = LEDGER) -> None:
    """See that a row can be added, before what the row is of is sent.

    Raises:
        TableError: the file is not a ledger.
        ArtefactError: its folder cannot be written to.
    """
    read(path)
    check_folder(path.parent)


def record(row: Row, path: Path = LEDGER) -> None:
    """Write a row in place of the one with the same ``ref``, or as the last."""
    with lock(path, wait=True):
        rows = read(path)
        places = [i for i, other in enumerate(rows) if other.ref == row.ref]
        if places:
            rows[places[0]] = row
        else:
            rows.append(row)
        write_rows(path, COLUMNS, [tuple(asdict(r).values()) for r in rows])


def refreshed(row: Row, remote: dict[str, Any]) -> Row:
    """A row with the status and scores that Kaggle now says."""
    return replace(
        row,
        date=str(remote["date"]),
        public=str(remote["publicScore"] or ""),
        private=str(remote["privateScore"] or ""),
        status=status_of(remote),
        ref=str(remote["ref"]),
    )


def status_of(remote: dict[str, Any]) -> str:
    """pending, complete or error, from "SubmissionStatus.COMPLETE" and the like.

    >>> status_of({"status": "SubmissionStatus.COMPLETE"})
    'complete'
    """
    return str(remote["status"]).split(".")[-1].lower()
