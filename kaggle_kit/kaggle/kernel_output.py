"""The output of a pushed kernel: wait for it, download it and validate it."""

import hashlib
import json
import logging
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaggle_kit.credentials import redact_file
from kaggle_kit.errors import (
    ArtefactError,
    IncompleteError,
    RefusedError,
    RulesError,
)
from kaggle_kit.kaggle import client
from kaggle_kit.kaggle.dataset import download_file
from kaggle_kit.kaggle.kernel_run import (
    OUTPUT,
    RESULT,
    BundleInfo,
    KernelRun,
    output_folder,
    read_kernel_run,
)
from kaggle_kit.kaggle.polling import wait_for
from kaggle_kit.metrics.score import Validation, validate
from kaggle_kit.rehearsal.kernel_folder import KernelMetadata
from kaggle_kit.storage import json_files, zip_files
from kaggle_kit.storage.folders import atomic_write_dir
from kaggle_kit.storage.manifest import MANIFEST, read_scores
from kaggle_kit.storage.regular_files import open_regular

logger = logging.getLogger(__name__)
RUN_TIMEOUT_S = 13 * 3600.0  # a session of 12 hours, and one hour in the queue
DOWNLOAD_TRIES = 3
LARGEST_LOG = 64 * 10**6  # bytes of a log that are read
STALE_CHECKS = 3  # a status seen this often does not belong to the previous session
END_STATUSES = {"complete", "error", "cancel_acknowledged"}
# The names of files that the client may write: those that stay in its folder.
INSIDE = r"^(?!/)(?!(?:[^/]*/)*\.\.(?:/|$))[^\\\x00-\x1f]+$"
SESSION = "session.json"  # the output of a training kernel, instead of a submission
_MALFORMED = (*json_files.DAMAGE, KeyError, TypeError, AttributeError)


@dataclass(frozen=True, slots=True)
class Manifest:
    """The manifest of a published bundle."""

    sha256: str
    kind: str | None  # "recognition" or "training"
    info: BundleInfo


def collect(
    metadata: KernelMetadata, version: int, bundle: BundleInfo | None = None
) -> KernelRun:
    """Wait until a pushed version has run, then download and validate its output.

    The output is saved to ``submissions/<slug>-v<version>``, with the result in
    ``push.json``. A version that is already there is not downloaded again.

    Args:
        metadata: the submission is validated for the first of its competition sources.
        bundle: the bundle that the kernel was told; None: the first one in its sources.

    Raises:
        RefusedError: the run failed; the end of its log has been logged.
        IncompleteError: the output has no ``submission.csv``.
        TableError: the submission is not valid for the competition.
        ArtefactError: the saved output of the version is damaged.
    """
    kernel = metadata.id
    saved = read_kernel_run(kernel, version)
    if saved is not None:
        return saved
    what = f"kernel {kernel} version {version}"
    status = wait_for(_end_status_check(kernel), RUN_TIMEOUT_S, what)
    folder = output_folder(kernel, version)
    with atomic_write_dir(folder, OUTPUT) as part:
        _download(kernel, part)
        if status != "complete":
            raise _run_failure(kernel, version, status, part)
        submission, session = _read_output(part, metadata)
        run = KernelRun(
            *(kernel, version, str(folder), submission, session),
            bundle=bundle or _find_bundle(metadata.dataset_sources),
        )
        text = json_files.json_text(run)
        (part / RESULT).write_text(text, encoding="utf-8")
    return run


def download_manifest(handle: str) -> Manifest | None:
    """The manifest in the newest version of a dataset; None if that is no bundle.

    Raises:
        ArtefactError: it is damaged.
        KaggleError: the download failed.
    """
    try:
        return parse_manifest(handle, download_file(handle, MANIFEST))
    except (RulesError, IncompleteError):  # no dataset, or no bundle
        return None


def parse_manifest(handle: str, content: bytes) -> Manifest:
    """Parse the manifest of a bundle.

    Args:
        handle: owner/slug of the dataset.

    Raises:
        ArtefactError: it is damaged.
    """
    try:
        values = json_files.parse_json(content)
        scores = read_scores(values, "test") or read_scores(values, "validation")
        made_with = values.get("made_with") or [{}]
        digest = hashlib.sha256(content).hexdigest()
        info = BundleInfo(
            dataset=handle,
            bundle=digest[:12],
            config=values.get("name"),
            commit=made_with[0].get("commit"),
            local_gap=scores.get("gap") if scores else None,
        )
        return Manifest(digest, values.get("kind"), info)
    except (*_MALFORMED, IndexError) as error:
        raise ArtefactError(
            f"{handle}: expected the manifest of a bundle in {MANIFEST}, got "
            f"{error!r:.200}; make the bundle again and publish it"
        ) from None


def download_sample(slug: str, folder: Path) -> Path:
    """Download a competition's ``sample_submission.csv`` into a folder.

    Raises:
        KaggleError: there is no such file, or the download failed.
    """
    path = folder / "sample_submission.csv"
    client.call("competitions", "download", slug, "-f", path.name, "-p", str(folder))
    archive = path.with_name(f"{path.name}.zip")
    try:
        if archive.is_file():  # Kaggle compresses large files
            with zip_files.open_zip(archive) as file:
                zip_files.extract_file(file, file.getinfo(path.name), path)
    except (KeyError, OSError, *zip_files.DAMAGE):
        path.unlink(missing_ok=True)
    if not path.is_file():
        raise IncompleteError(
            f"{slug}: expected {path.name}, found no such file; run the same command again"
        )
    return path


def _download(kernel: str, folder: Path) -> None:
    """Download the output of a kernel's newest version.

    The client saves an error page of Kaggle's storage as if it were the file. A download
    with such a file is repeated. It also writes to whatever place a file's name leads to,
    so it is told to take only names that stay in the folder.

    Raises:
        IncompleteError: the last try has an error page, too.
    """
    for _ in range(DOWNLOAD_TRIES):
        options = ("-p", str(folder), "-o", "--file-pattern", INSIDE)
        client.call("kernels", "output", kernel, *options)
        files = [path for path in folder.rglob("*") if path.is_file()]
        error_pages = [path.name for path in files if _is_error_page(path)]
        if not error_pages:
            log = folder / f"{kernel.split('/')[1]}.log"
            if log.exists():
                redact_file(log)
            return
    raise IncompleteError(
        f"{kernel}: expected the content of {error_pages[0]}, got an error page of "
        f"Kaggle's storage; run the same command again later"
    )


def _is_error_page(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(5) in (b"<?xml", b"<Erro", b"<html", b"<!DOC")


def _end_status_check(kernel: str) -> Callable[[], str | None]:
    """A check that returns how the newest session ended; None while it has not.

    Right after a push, Kaggle may still report the previous session. So an end status
    counts only after the new session was seen running, or once it was seen repeatedly.
    """
    running, n_checks = False, 0

    def check() -> str | None:
        nonlocal running, n_checks
        output = client.call("kernels", "status", kernel)
        match = re.search(r'has status "(?:\w+\.)?(\w+)"', output)
        if not match:
            raise RefusedError(
                f"{kernel}: expected a status, got {output.strip()[:200]!r}"
            )
        status = match[1].lower()
        if status not in END_STATUSES:
            running = True
            return None
        n_checks += 1
        return status if running or n_checks >= STALE_CHECKS else None

    return check


def _run_failure(kernel: str, version: int, status: str, folder: Path) -> RefusedError:
    """The error of a run that failed; logs the end of the run's log."""
    lines = _log_lines(folder / f"{kernel.split('/')[1]}.log")
    for line in lines[-20:]:
        logger.info("| %s", line)
    last = lines[-1] if lines else "an empty log"
    return RefusedError(
        f"{kernel} version {version}: expected it to complete, got {status}: "
        f"{last[:200]}; rehearse the kernel, then push again"
    )


def _log_lines(path: Path) -> list[str]:
    """The lines of a kernel's log, which Kaggle stores as JSON."""
    if not path.exists():
        return []
    with open_regular(path) as file:
        text = file.read(LARGEST_LOG).decode("utf-8", "replace")
    try:
        text = "".join(entry["data"] for entry in json.loads(text))
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    return [line for line in text.splitlines() if line.strip()]


def _read_output(
    folder: Path, metadata: KernelMetadata
) -> tuple[Validation | None, Mapping[str, Any] | None]:
    """The counts of a valid submission, or else the session of a training kernel."""
    submission, session = folder / "submission.csv", folder / SESSION
    if not submission.is_file() and session.is_file():
        try:
            return None, json_files.read_json(session)
        except _MALFORMED as error:
            raise IncompleteError(
                f"{metadata.id}: expected JSON in {SESSION}, got {error!r:.200}; read "
                f"the kernel's log"
            ) from None
    if not submission.is_file() or not metadata.competition_sources:
        raise IncompleteError(
            f"{metadata.id}: expected submission.csv in its output, found "
            f"{sorted(p.name for p in folder.iterdir())[:5]}; read the kernel's log"
        )
    with tempfile.TemporaryDirectory(prefix="kaggle-kit-") as temporary:
        slug = metadata.competition_sources[0]
        return validate(submission, download_sample(slug, Path(temporary))), None


def _find_bundle(datasets: list[str]) -> BundleInfo | None:
    """The first bundle among the dataset sources of a kernel; None if there is none.

    A damaged manifest is none: the kernel has run, and its output is kept.
    """
    for handle in datasets:
        try:
            manifest = download_manifest(handle)
        except ArtefactError:
            continue
        if manifest:
            return manifest.info
    return None
