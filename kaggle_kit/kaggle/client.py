"""Kaggle's own command-line client, run as a subprocess.

The client's exit code cannot be trusted. Versions up to 2.2.4 exit with 0 after they
publish a dataset without a file whose upload failed, push a kernel without its sources,
or lose a submission. So ``call`` also searches the output for known error messages, and
its callers check the result on Kaggle.
"""

import json
import logging
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from kaggle_kit.credentials import redact
from kaggle_kit.errors import (
    CredentialsError,
    KaggleError,
    KitError,
    LimitError,
    RefusedError,
    RulesError,
    UnreachableError,
)

logger = logging.getLogger(__name__)
TRIES = 5
BACKOFF_S = 2.0  # before the second try; doubles with each further one
MAX_BACKOFF_S = 120.0
SILENCE_TIMEOUT_S = 330.0  # without output; the client's own read timeout is 300 s
PREVIEW_TIMEOUT_S = 20.0  # the same, where the answer can be done without
POLL_S = 0.1
LARGEST_OUTPUT = 64 * 10**6  # bytes of one call; a listing of a page has some kB
is_preview: ContextVar[bool] = ContextVar("is_preview", default=False)
WEB = "https://www.kaggle.com"

# Messages of failures after which the client still exits with 0
SILENT_FAILURE = re.compile(
    r"Upload unsuccessful.*|^.*creation error:.*|^.*push error:.*|^.*are not valid .*"
    r"|Could not submit to competition.*|Skipping folder:.*",
    re.IGNORECASE | re.MULTILINE,  # from the start of a line: else quadratic
)
# Generic advice that client 2.2.5 appends to an error, whether or not it applies
GENERIC_ADVICE = re.compile(
    r"(?:You don't have access to this resource|The resource was not found\. Check).*",
    re.DOTALL,
)
RATE_LIMITED = re.compile(
    r"429 Client Error|Too many requests|RESOURCE_EXHAUSTED|have been rate limited",
    re.IGNORECASE,
)
UNAVAILABLE = re.compile(
    r"\b50\d (?:Server|Client) Error|Max retries exceeded|Connection(?:Error|Reset| aborted)"
    r"|timed out|RemoteDisconnected|IncompleteRead|Name or service not known"
    r"|Connection error|Downloaded file size .* does not match"
    r"|Internal (?:Server )?Error|Service Unavailable|Bad Gateway|Gateway Time-?out"
    r"|DEADLINE_EXCEEDED|UNAVAILABLE",
    re.IGNORECASE,
)


class ClientMissingError(KitError):
    """Kaggle's client is not installed."""


def executable() -> str:
    """The path of the ``kaggle`` command, from this environment or else from PATH.

    Raises:
        ClientMissingError: the client is not installed.
    """
    beside = Path(sys.executable).with_name("kaggle")
    path = str(beside) if beside.exists() else shutil.which("kaggle")
    if path is None:
        raise ClientMissingError(
            "kaggle: expected Kaggle's client, found none; install it with pip install "
            "'kaggle-kit[kaggle]'"
        )
    return path


def format_command(*args: str) -> str:
    """The shell command of a call, as ``--dry-run`` prints it.

    >>> format_command("datasets", "version", "-p", "out/bundle", "-m", "new weights")
    "kaggle datasets version -p out/bundle -m 'new weights'"
    """
    return "kaggle " + " ".join(map(_quote, args))


def call(
    *args: str,
    idempotent: bool = True,
    watch: Callable[[], None] | None = None,
    before: Callable[[], None] | None = None,
    pass_fds: Sequence[int] = (),
    tries: int | None = None,
) -> str:
    """Run ``kaggle`` with ``args`` and return its standard output.

    Temporary failures (429, 5xx, no connection, a silent client) are retried with
    exponential backoff.

    Args:
        idempotent: whether the call may safely be repeated. If not, it is retried only
            after 429, which means that Kaggle did not do it.
        watch: called ten times a second meanwhile; an exception from it stops the client.
        before: called before each try, to clean up after the previous one.
        pass_fds: file descriptors that the client inherits.
        tries: the number of tries; None means ``TRIES``.

    Raises:
        KaggleError: the subclass says what failed, see ``kaggle_kit.errors``. The text
            contains no secrets.
    """
    tries = 1 if is_preview.get() else tries or TRIES
    for attempt in range(1, tries + 1):
        if before:
            before()
        code, output, errors = _run([executable(), "-W", *args], watch, pass_fds)
        text = f"{output}\n{errors}"
        error = classify_failure(args, code, text)
        if error is None:
            return output
        safe = idempotent or RATE_LIMITED.search(text)
        if not (isinstance(error, UnreachableError) and safe) or attempt == tries:
            raise error
        pause = backoff_s(attempt, text)
        logger.info("%s; retrying in %.0f s", error, pause)
        _sleep(pause, watch)
    raise AssertionError("unreachable")


def call_json(*args: str) -> Any:
    """Run ``kaggle`` with ``args`` and return the JSON that it printed; None without any.

    Warnings may precede the JSON on the same stream.

    Raises:
        KaggleError: as ``call``.
    """
    return _parse_json(args, call(*args))


def call_pages(*args: str) -> list[dict[str, Any]]:
    """The rows of all pages of a list command that takes ``--page-token``.

    Raises:
        KaggleError: as ``call``.
    """
    rows: list[dict[str, Any]] = []
    token: list[str] = []
    while True:
        output = call(*args, "--page-size", "200", "--format", "json", *token)
        rows += _parse_json(args, output) or []
        next_page = re.search(r"^Next Page Token = (\S+)", output, re.MULTILINE)
        if not next_page:
            return rows
        token = ["--page-token", next_page[1]]


def backoff_s(attempt: int, text: str = "") -> float:
    """Seconds to wait before the next try.

    The value of "Retry-After" in ``text`` if there is one, else exponential backoff with
    jitter; at most ``MAX_BACKOFF_S`` (plus jitter).
    """
    retry_after = re.search(r"retry.after\D{0,3}(\d+)", text, re.IGNORECASE)
    if retry_after:
        return min(float(retry_after[1]), MAX_BACKOFF_S)
    return min(BACKOFF_S * 2 ** (attempt - 1), MAX_BACKOFF_S) * random.uniform(0.8, 1.2)


def classify_failure(args: Sequence[str], code: int, output: str) -> KaggleError | None:
    """The error that the client's exit code and output indicate; None for a success."""
    place = format_command(*args[:2])
    failure = SILENT_FAILURE.search(output)
    if code == 0 and not failure:
        return None
    lines = [
        x.strip() for x in GENERIC_ADVICE.sub("", output).splitlines() if x.strip()
    ]
    reason = (
        failure[0].strip() if failure else lines[-1] if lines else f"exit code {code}"
    )
    reason = reason if len(reason) < 200 else f"{reason[:200]}..."
    if "Authentication required" in output:
        return CredentialsError(
            f"{place}: expected valid credentials, found none that Kaggle accepts; run "
            f"kaggle-kit doctor"
        )
    if "accept this competition" in output:
        return RulesError(
            f"{place}: {reason} Accept them on {WEB}/c/<competition>/rules, then run the "
            f"same command again"
        )
    unreachable = RATE_LIMITED.search(output) or UNAVAILABLE.search(output)
    if unreachable or code < 0 or not lines:
        return UnreachableError(
            f"{place}: expected an answer from Kaggle, got {reason!r}; run the same "
            f"command again later"
        )
    limit = "limit" in reason.lower() or "quota" in reason.lower()
    if "session count" in output or limit:
        return LimitError(f"{place}: {reason}; run it again when the limit allows it")
    if re.search(r"Permission .* denied|403|404|not found", reason, re.IGNORECASE):
        return RulesError(
            f"{place}: expected access to it, got {reason!r}; check the name, and that "
            f"you have joined the competition or own the dataset or kernel"
        )
    return RefusedError(f"{place}: expected success, got {reason!r}")


def _parse_json(args: Sequence[str], output: str) -> Any:
    start = re.search(r"^[\[{]", output, re.MULTILINE)
    try:
        return json.loads(output[start.start() :]) if start else None
    except (ValueError, RecursionError) as error:
        raise RefusedError(
            f"{format_command(*args[:2])}: expected JSON, got {error}; update Kaggle's "
            f"client"
        ) from None


def _run(
    command: Sequence[str],
    watch: Callable[[], None] | None,
    pass_fds: Sequence[int],
) -> tuple[int, str, str]:
    """Exit code, output and errors without secrets; code -1 if it had to be stopped.

    The client keeps signed upload URLs in its temporary folder. It gets a private one,
    which is deleted after the call.
    """
    environment = {k: v for k, v in os.environ.items() if k != "VERBOSE"}
    with tempfile.TemporaryDirectory(prefix="kaggle-kit-") as folder:
        paths = [Path(folder, "output"), Path(folder, "errors")]
        with paths[0].open("wb") as output_file, paths[1].open("wb") as errors_file:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output_file,
                stderr=errors_file,
                env=environment | {"TMPDIR": folder, "PYTHONUNBUFFERED": "1"},
                pass_fds=tuple(pass_fds),
            )
            try:
                stopped = _wait(process, paths, watch)
            finally:
                process.kill()
                code = process.wait()
        output, errors = (redact(_read_output(path)) for path in paths)
    if stopped:
        return -1, output, f"{errors}\n{stopped}"
    return code, output, errors


def _read_output(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(LARGEST_OUTPUT).decode("utf-8", "replace")


def _sleep(seconds: float, watch: Callable[[], None] | None) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if watch:
            watch()
        time.sleep(min(left, POLL_S))


def _wait(
    process: subprocess.Popen, paths: Sequence[Path], watch: Callable[[], None] | None
) -> str | None:
    """Wait until the process ends: None; or until it must be stopped: the reason.

    The timeout counts from the last growth of one of the output files.
    """
    size, last_growth = 0, time.monotonic()
    while True:
        try:
            process.wait(POLL_S)
            return None
        except subprocess.TimeoutExpired:
            pass
        if watch:
            watch()
        new_size = sum(path.stat().st_size for path in paths)
        if new_size != size:
            size, last_growth = new_size, time.monotonic()
        if size > LARGEST_OUTPUT:
            return f"more than {LARGEST_OUTPUT} bytes of output: stopped"
        limit_s = PREVIEW_TIMEOUT_S if is_preview.get() else SILENCE_TIMEOUT_S
        if time.monotonic() - last_growth > limit_s:
            return f"no output for {limit_s:.0f} s: timed out"


def _quote(text: str) -> str:
    return text if re.fullmatch(r"[\w@%+=:,./^$\\-]+", text) else f"'{text}'"
