"""Submit a kernel's version or a file, once; wait for its score; keep the ledger."""

import csv
import hashlib
import logging
import tempfile
from pathlib import Path
from typing import Any

from kaggle_kit.bundling.metadata import KERNEL, check_handle
from kaggle_kit.errors import (
    IncompleteError,
    KaggleError,
    KitError,
    LimitError,
    RefusedError,
    RulesError,
    TableError,
    UnreachableError,
)
from kaggle_kit.kaggle import client
from kaggle_kit.kaggle.checks import check_text
from kaggle_kit.kaggle.kernel_output import read_pushed, sample_of
from kaggle_kit.kaggle.ledger import (
    COLUMNS,
    LEDGER,
    Row,
    check_ledger,
    read,
    record,
    refreshed,
    status_of,
)
from kaggle_kit.metrics.score import validate
from kaggle_kit.storage import tables

logger = logging.getLogger(__name__)
SCORE_S = 13 * 3600.0  # a code competition runs the kernel again
TRIES = 2


def submit(
    slug: str,
    message: str,
    kernel: str | None = None,
    version: int | None = None,
    file: Path | None = None,
    dry_run: bool = False,
    ledger: Path = LEDGER,
) -> dict[str, Any]:
    """Submit to a competition, unless it has been done, and wait for the score.

    The message ends in a mark of what is submitted, by which it is found again: the same
    version of a kernel, or the same file, is never submitted twice, whatever happened to
    an earlier call.

    Args:
        kernel, version: owner/slug and the number of its version, for a code competition.
        file: a ``submission.csv``, for any other.
        dry_run: look, but send nothing; ``commands`` says what would be.
        ledger: the file that gets the row; it is looked at before anything is sent.

    Returns:
        ref, public, private, status; submitted: whether this call did it; left_today.

    Raises:
        LimitError: no submission is left today.
        RefusedError: Kaggle refused it, or its run failed.
        KaggleError: by its kind.
        TableError: the ledger, or the file, is not one.
        ArtefactError: the ledger cannot be written, or what is kept of the kernel's
            version is damaged.
    """
    mark, command = _described(slug, message, kernel, version, file)
    check_ledger(ledger)
    row = _row(message, kernel, version, file)
    found = _find(slug, mark)
    if file is not None and found is None:
        _check_as_sample(file, slug)
    limits = client.call_json("competitions", "submission-limits", slug, "--json") or {}
    left = limits.get("numAllowedNow", 0)
    if dry_run:
        done = [] if found else [client.shown(*command)]
        return {"submitted": bool(found), "left_today": left, "commands": done}
    if found is None and not left:
        raise LimitError(
            f"{slug}: expected a submission to be left today, got none of "
            f"{limits.get('numToday', 0)} used; submit again tomorrow (UTC)"
        )
    sent = found is None
    if found is None:
        found = _sent(slug, mark, command)
    row = _scored_row(slug, refreshed(row, found), ledger)
    if row.status != "complete":
        raise RefusedError(
            f"{slug}: expected a score for {mark}, got {row.status}; read why on "
            f"{client.WEB}/c/{slug}/submissions"
        )
    return {
        "ref": row.ref,
        "submitted": sent,
        "left_today": left - sent,
        "status": row.status,
        "public": row.public,
        "private": row.private,
        "local_gap": row.local_gap,
    }


def submissions(slug: str, ledger: Path = LEDGER) -> list[dict[str, Any]]:
    """Refresh the ledger's scores, and show each local GAP against the leaderboard's.

    Submissions made without the kit are shown too, but not kept.

    Raises:
        KaggleError: by its kind.
        TableError: the ledger is not one.
    """
    known = {row.ref: row for row in read(ledger)}
    shown = []
    for remote in _all(slug):
        ref = str(remote["ref"])
        row = known.get(ref) or _foreign(remote)
        row = refreshed(row, remote)
        if ref in known:
            record(row, ledger)
        shown.append(
            {
                "date": row.date,
                "run": row.run,
                "config": row.config,
                "local_gap": _number(row.local_gap),
                "public": _number(row.public),
                "private": _number(row.private),
                "status": row.status,
                "ref": ref,
                "message": row.message,
            }
        )
    return shown


def _described(
    slug: str, message: str, kernel: str | None, version: int | None, file: Path | None
) -> tuple[str, list[str]]:
    """The mark of what is submitted, and the client's arguments."""
    if (kernel is None) == (file is None) or (kernel is None) != (version is None):
        raise KitError(
            "expected --kernel OWNER/SLUG with --version N, or --file submission.csv; give "
            "one of both"
        )
    check_text("the message", message)
    command = ["competitions", "submit", slug]
    if file is None:
        check_handle(str(kernel), KERNEL)
        mark = f"[{kernel} v{version}]"
        command += ["-k", str(kernel), "-v", str(version), "-f", "submission.csv"]
    else:
        if not file.is_file():
            raise KitError(f"{file}: expected a submission, found no file")
        check_text("the file's name", file.name)
        if not sum(1 for _ in tables.read_rows(file, ())):
            raise TableError(f"{file}: expected rows below a header, got none")
        mark = f"[{file.name} {_digest(file)}]"
        command += ["-f", str(file)]
    return mark, [*command, "-m", f"{message} {mark}"]


def _scored_row(slug: str, row: Row, ledger: Path) -> Row:
    """Keep a submission's row, wait for its score, and keep that."""
    record(row, ledger)
    what = f"the score of {row.ref}"
    row = refreshed(row, client.wait(lambda: _scored(slug, row.ref), SCORE_S, what))
    record(row, ledger)
    return row


def _check_as_sample(file: Path, slug: str) -> None:
    """Refuse a file that is not like the competition's sample, where that has one."""
    with tempfile.TemporaryDirectory(prefix="kaggle-kit-") as folder:
        try:
            sample = sample_of(slug, Path(folder))
        except (RulesError, IncompleteError):
            return
        with sample.open(encoding="utf-8-sig", newline="", errors="replace") as table:
            columns = [name.strip() for name in next(csv.reader(table), [])]
        if set(columns) == {"id", "landmarks"}:
            validate(file, sample)
        else:
            next(tables.read_rows(file, columns))


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12]


def _all(slug: str) -> list[dict[str, Any]]:
    return (
        client.call_json("competitions", "submissions", slug, "--format", "json") or []
    )


def _find(slug: str, mark: str) -> dict[str, Any] | None:
    found = [r for r in _all(slug) if str(r["description"]).endswith(mark)]
    return found[0] if found else None


def _scored(slug: str, ref: str) -> dict[str, Any] | None:
    found = [r for r in _all(slug) if str(r["ref"]) == ref]
    return found[0] if found and status_of(found[0]) != "pending" else None


def _sent(slug: str, mark: str, command: list[str]) -> dict[str, Any]:
    """Submit; what is then found on Kaggle. An unclear answer is cleared up by looking.

    A second time it is sent only where the first did not arrive.
    """
    for attempt in range(1, TRIES + 1):
        error: KaggleError | None = None
        try:
            client.call(*command, repeatable=False)
        except (UnreachableError, RefusedError) as failed:
            error = failed
        found = _find(slug, mark)
        if found:
            return found
        if attempt < TRIES and error and _did_not_arrive(error):
            logger.info("%s; it is not there, so it is sent again", error)
            continue
        raise error or RefusedError(
            f"{slug}: expected the submission in Kaggle's list, found none; look at "
            f"{client.WEB}/c/{slug}/submissions before you submit again"
        )
    raise AssertionError("unreachable")


def _did_not_arrive(error: KaggleError) -> bool:
    lost_upload = "Could not submit to competition" in str(error)
    return isinstance(error, UnreachableError) or lost_upload


def _row(
    message: str, kernel: str | None, version: int | None, file: Path | None
) -> Row:
    """A ledger's row before Kaggle has said anything."""
    made: dict[str, Any] = {}
    if file is None:
        run = f"{str(kernel).split('/')[1]}-v{version}"
        made = read_pushed(str(kernel), int(version or 0)) or {}
    else:
        run = f"{file.name} {_digest(file)}"
    gap = made.get("local_gap")
    return Row(
        date="",
        run=run,
        config=made.get("config") or "",
        commit=made.get("commit") or "",
        bundle=made.get("bundle") or "",
        kernel=kernel or "",
        version=str(version or ""),
        local_gap="" if gap is None else f"{float(gap):.5f}",
        public="",
        private="",
        status="",
        ref="",
        message=message,
    )


def _foreign(remote: dict[str, Any]) -> Row:
    empty = dict.fromkeys(COLUMNS, "")
    return Row(**empty | {"message": str(remote["description"])})


def _number(text: str) -> float | None:
    return float(text) if tables.NUMBER.fullmatch(text) else None
