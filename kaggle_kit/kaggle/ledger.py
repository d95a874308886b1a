"""The ledger: one row per submission, in ``submissions/ledger.csv``."""

from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

from kaggle_kit.kaggle.checks import check_writable
from kaggle_kit.kaggle.replies import Submission
from kaggle_kit.storage.csv_files import read_rows, write_rows
from kaggle_kit.storage.locks import lock

LEDGER = Path("submissions") / "ledger.csv"


@dataclass(frozen=True)
class LedgerRow:
    """A submission. All values are texts as in the file; an unknown value is empty."""

    date: str  # of the submission, UTC
    run: str  # the folder in submissions/ with its output, or the file's name
    config: str
    commit: str
    bundle: str  # the first 12 hex digits of the SHA-256 of its manifest
    kernel: str  # owner/slug; empty for a file
    version: str
    local_gap: str
    public: str
    private: str
    status: str  # pending, complete or error
    ref: str  # Kaggle's number of the submission
    message: str


COLUMNS = tuple(field.name for field in fields(LedgerRow))
EMPTY_ROW = LedgerRow(*[""] * len(COLUMNS))


def read_ledger(path: Path = LEDGER) -> list[LedgerRow]:
    """The rows in the order of the file; an empty list if there is no file.

    Raises:
        TableError: the file is not a ledger.
    """
    if not path.exists():
        return []
    return [LedgerRow(*values) for _, values in read_rows(path, COLUMNS)]


def check_ledger(path: Path = LEDGER) -> None:
    """Check that a row can be added. Call this before a submission is sent.

    Raises:
        TableError: the file is not a ledger.
        ArtefactError: its folder cannot be written to.
    """
    read_ledger(path)
    check_writable(path.parent)


def save_row(row: LedgerRow, path: Path = LEDGER) -> None:
    """Replace the row with the same ``ref``, or append the row if there is none."""
    with lock(path, wait=True):
        rows = read_ledger(path)
        indices = [i for i, other in enumerate(rows) if other.ref == row.ref]
        if indices:
            rows[indices[0]] = row
        else:
            rows.append(row)
        write_rows(path, COLUMNS, map(astuple, rows))


def update_row(row: LedgerRow, submission: Submission) -> LedgerRow:
    """The row with Kaggle's current number, date, status and scores."""
    return replace(
        row,
        date=submission.date,
        public=submission.public,
        private=submission.private,
        status=submission.status,
        ref=submission.ref,
    )
