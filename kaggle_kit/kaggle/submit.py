"""Submit a kernel version or a file once, wait for its score, and update the ledger."""

import hashlib
import logging
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

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
from kaggle_kit.kaggle.kernel_output import download_sample
from kaggle_kit.kaggle.kernel_run import output_folder, read_kernel_run
from kaggle_kit.kaggle.ledger import (
    EMPTY_ROW,
    LEDGER,
    LedgerRow,
    check_ledger,
    save_row,
    update_row,
)
from kaggle_kit.kaggle.polling import wait_for
from kaggle_kit.kaggle.preview import ask_for_preview
from kaggle_kit.kaggle.replies import (
    Submission,
    SubmissionLimits,
    list_submissions,
    submission_limits,
)
from kaggle_kit.metrics.score import validate
from kaggle_kit.storage.csv_files import read_header, read_rows, require_header
from kaggle_kit.storage.tables import SUBMISSION

logger = logging.getLogger(__name__)
SCORE_TIMEOUT_S = 13 * 3600.0  # a code competition runs the kernel again
TRIES = 2


@dataclass(frozen=True, slots=True)
class ScoredSubmission:
    """A submission with its score. Scores are texts as in the ledger."""

    ref: str  # Kaggle's number of it
    submitted: bool  # whether this call submitted it
    left_today: int
    status: str
    public: str
    private: str
    local_gap: str


@dataclass(frozen=True, slots=True)
class SubmissionPlan:
    """What ``submit`` would do; None for what only Kaggle knows, and did not say."""

    submitted: bool | None  # whether it is on Kaggle already
    left_today: int | None
    commands: list[str]


@dataclass(frozen=True, slots=True)
class _Candidate:
    """What is about to be submitted."""

    mark: str  # the end of the description, by which it is recognised
    command: list[str]  # the client's arguments
    row: LedgerRow
    file: Path | None


@dataclass(frozen=True, slots=True)
class _State:
    """What Kaggle says about a candidate."""

    existing: Submission | None  # the submission, if it was made before
    limits: SubmissionLimits


def submit(
    slug: str,
    message: str,
    kernel: str | None = None,
    version: int | None = None,
    file: Path | None = None,
    ledger: Path = LEDGER,
) -> ScoredSubmission:
    """Submit to a competition, unless that was done before, and wait for the score.

    A submission's description ends in a mark that identifies the kernel version or the
    content of the file. So the same one is never submitted twice, even if an earlier
    call was interrupted.

    Args:
        kernel, version: owner/slug and version number, for a code competition.
        file: a ``submission.csv``, for any other competition.
        ledger: the file that gets the row (see ``kaggle.ledger``); it is checked before
            anything is sent.

    Raises:
        LimitError: no submission is left today.
        RefusedError: Kaggle rejected it, or the scoring failed.
        KaggleError: the subclass says what failed.
        TableError: the ledger or the file is malformed.
        ArtefactError: the ledger cannot be written, or the saved output of the kernel
            version is damaged.
    """
    candidate = _prepare(slug, message, kernel, version, file, ledger)
    state = _ask(slug, candidate)
    submission, limits = state.existing, state.limits
    if submission is None:
        if not limits.left:
            raise LimitError(
                f"{slug}: expected a submission left for today, got none after "
                f"{limits.used}; submit again tomorrow (UTC)"
            )
        submission = _send(slug, candidate)
    row = _wait_for_score(slug, update_row(candidate.row, submission), ledger)
    if row.status != "complete":
        raise RefusedError(
            f"{slug}: expected a score for {candidate.mark}, got {row.status}; the reason "
            f"is on {client.WEB}/c/{slug}/submissions"
        )
    is_new = state.existing is None
    return ScoredSubmission(
        ref=row.ref,
        submitted=is_new,
        left_today=limits.left - is_new,
        status=row.status,
        public=row.public,
        private=row.private,
        local_gap=row.local_gap,
    )


def plan_submit(
    slug: str,
    message: str,
    kernel: str | None = None,
    version: int | None = None,
    file: Path | None = None,
    ledger: Path = LEDGER,
) -> SubmissionPlan:
    """What ``submit`` would do; sends nothing, and needs no account.

    Raises:
        KitError: as ``submit``.
    """
    candidate = _prepare(slug, message, kernel, version, file, ledger)
    commands = [client.format_command(*candidate.command)]
    state = ask_for_preview(lambda: _ask(slug, candidate))
    if state is None:
        return SubmissionPlan(None, None, commands)
    exists = state.existing is not None
    return SubmissionPlan(exists, state.limits.left, [] if exists else commands)


def _prepare(
    slug: str,
    message: str,
    kernel: str | None,
    version: int | None,
    file: Path | None,
    ledger: Path,
) -> _Candidate:
    """Check everything that can be checked without Kaggle."""
    if (kernel is None) == (file is None) or (kernel is None) != (version is None):
        options = {"--kernel": kernel, "--version": version, "--file": file}
        given = [name for name, value in options.items() if value is not None]
        raise KitError(
            f"options: expected either --kernel and --version, or --file, got "
            f"{', '.join(given) or 'none'}; give a kernel version or a file"
        )
    check_text("the message", message)
    command = ["competitions", "submit", slug]
    if file is None:
        check_handle(str(kernel), KERNEL)
        mark = f"[{kernel} v{version}]"
        command += ["-k", str(kernel), "-v", str(version), "-f", "submission.csv"]
    else:
        _check_file(file)
        mark = f"[{file.name} {_digest(file)}]"
        command += ["-f", str(file)]
    command += ["-m", f"{message} {mark}"]
    check_ledger(ledger)
    return _Candidate(mark, command, _new_row(message, kernel, version, file), file)


def _ask(slug: str, candidate: _Candidate) -> _State:
    """Ask Kaggle about a candidate, and check its file against the sample."""
    existing = _find(slug, candidate.mark)
    if candidate.file is not None and existing is None:
        _check_against_sample(candidate.file, slug)
    return _State(existing, submission_limits(slug))


def _check_file(file: Path) -> None:
    """Refuse a file that is not a table with rows."""
    if not file.is_file():
        raise KitError(f"{file}: expected a submission, found no file; check the path")
    check_text("the file's name", file.name)
    if not sum(1 for _ in read_rows(file, ())):
        raise TableError(f"{file}: expected rows below a header, got none")


def _check_against_sample(file: Path, slug: str) -> None:
    """Refuse a file unlike the competition's sample, if the competition has one."""
    with tempfile.TemporaryDirectory(prefix="kaggle-kit-") as folder:
        try:
            sample = download_sample(slug, Path(folder))
        except (RulesError, IncompleteError):
            return
        if read_header(sample) == list(SUBMISSION):
            validate(file, sample)
        else:
            require_header(file, sample)


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12]


def _new_row(
    message: str, kernel: str | None, version: int | None, file: Path | None
) -> LedgerRow:
    """A row for the ledger, with what is known before the submission."""
    if kernel is None or version is None:
        run = f"{file.name} {_digest(file)}" if file else ""
        return replace(EMPTY_ROW, run=run, message=message)
    row = replace(
        EMPTY_ROW,
        run=output_folder(kernel, version).name,
        kernel=kernel,
        version=str(version),
        message=message,
    )
    saved = read_kernel_run(kernel, version)
    if saved is None or saved.bundle is None:
        return row
    gap = saved.bundle.local_gap
    return replace(
        row,
        config=saved.bundle.config or "",
        commit=saved.bundle.commit or "",
        bundle=saved.bundle.bundle,
        local_gap="" if gap is None else f"{gap:.5f}",
    )


def _find(slug: str, mark: str) -> Submission | None:
    """The first submission in Kaggle's list whose description ends in the mark."""
    matches = (s for s in list_submissions(slug) if s.description.endswith(mark))
    return next(matches, None)


def _send(slug: str, candidate: _Candidate) -> Submission:
    """Submit, and return the submission from Kaggle's list.

    After an unclear answer, the list decides. The submission is sent a second time only
    if the first one did not arrive.
    """
    for attempt in range(1, TRIES + 1):
        error: KaggleError | None = None
        try:
            client.call(*candidate.command, idempotent=False)
        except (UnreachableError, RefusedError) as failure:
            error = failure
        submission = _find(slug, candidate.mark)
        if submission:
            return submission
        if attempt < TRIES and error and _may_retry(error):
            logger.info("%s; Kaggle does not list it: submitting it again", error)
            continue
        raise error or RefusedError(
            f"{slug}: expected the submission in Kaggle's list, found none; look at "
            f"{client.WEB}/c/{slug}/submissions before you submit again"
        )
    raise AssertionError("unreachable")


def _may_retry(error: KaggleError) -> bool:
    """Whether the error means that the submission may not have arrived."""
    upload_failed = "Could not submit to competition" in str(error)
    return isinstance(error, UnreachableError) or upload_failed


def _wait_for_score(slug: str, row: LedgerRow, ledger: Path) -> LedgerRow:
    """Save a submission's row, wait for the score, and save the row with it."""
    save_row(row, ledger)

    def check() -> Submission | None:
        matches = [s for s in list_submissions(slug) if s.ref == row.ref]
        return matches[0] if matches and matches[0].status != "pending" else None

    submission = wait_for(check, SCORE_TIMEOUT_S, f"the score of {row.ref}")
    row = update_row(row, submission)
    save_row(row, ledger)
    return row
