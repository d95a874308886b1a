"""The list of submissions, with each local GAP beside its score on the leaderboard.

``submit`` makes a submission, and ``ledger`` has the table of them.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from kaggle_kit.kaggle.ledger import (
    EMPTY_ROW,
    LEDGER,
    read_ledger,
    save_row,
    update_row,
)
from kaggle_kit.kaggle.replies import list_submissions
from kaggle_kit.storage.tables import NUMBER


@dataclass(frozen=True, slots=True)
class SubmissionSummary:
    """A submission in the list. A score that is not known yet is None."""

    date: str
    run: str
    config: str
    local_gap: float | None
    public: float | None
    private: float | None
    status: str
    ref: str
    message: str


def submissions(slug: str, ledger: Path = LEDGER) -> list[SubmissionSummary]:
    """Update the scores in the ledger, and list them beside the local GAPs.

    Submissions that were made without the kit are listed, but not added to the ledger.

    Raises:
        KaggleError: the subclass says what failed.
        TableError: the ledger is malformed.
    """
    rows = {row.ref: row for row in read_ledger(ledger)}
    summaries = []
    for submission in list_submissions(slug):
        unknown = replace(EMPTY_ROW, message=submission.description)
        row = update_row(rows.get(submission.ref, unknown), submission)
        if submission.ref in rows:
            save_row(row, ledger)
        summaries.append(
            SubmissionSummary(
                date=row.date,
                run=row.run,
                config=row.config,
                local_gap=_parse_number(row.local_gap),
                public=_parse_number(row.public),
                private=_parse_number(row.private),
                status=row.status,
                ref=row.ref,
                message=row.message,
            )
        )
    return summaries


def _parse_number(text: str) -> float | None:
    return float(text) if NUMBER.fullmatch(text) else None
