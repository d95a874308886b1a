"""Kaggle's own client, driven as a subprocess.

Its exit code is not to be trusted: versions up to 2.2.4 publish a dataset without a file
whose upload failed, push a kernel without its sources and lose a submission, all with 0.
So ``call`` reads what the client says, and callers look at what is then on Kaggle.
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
from pathlib import Path
from typing import Any, TypeVar

from kaggle_kit.credentials import hidden
from kaggle_kit.errors import (
    CredentialsError,
    KaggleError,
    KitError,
    LimitError,
    RefusedError,
    RulesError,
    UnreachableError,
    WaitError,
)

logger = logging.getLogger(__name__)
T = TypeVar("T")
TRIES = 5
BACKOFF_S = 2.0  # before the second try; doubled for each further one
LONGEST_S = 120.0
SILENCE_S = 330.0  # the client itself gives a read 300 s
POLL_S = 0.1
LOOK_S = 10.0  # between two looks at what takes its time on Kaggle; grows to LONGEST_S
WEB = "https://www.kaggle.com"

# What the client says without an exit code that tells it
LOST = re.compile(
    r"Upload unsuccessful.*|.*creation error:.*|.*push error:.*|.*are not valid .*"
    r"|Could not submit to competition.*|Skipping folder:.*",
    re.IGNORECASE,
)
# What client 2.2.5 adds below a message, be it true of this case or not
HINTS = re.compile(
    r"(?:You don't have access to this resource|The resource was not found\. Check).*",
    re.DOTALL,
)
CROWDED = re.compile(
    r"429 Client Error|Too many requests|RESOURCE_EXHAUSTED|have been rate limited",
    re.IGNORECASE,
)
AWAY = re.compile(
    r"\b50\d (?:Server|Client) Error|Max retries exceeded|Connection(?:Error|Reset| aborted)"
    r"|timed out|RemoteDisconnected|IncompleteRead|Name or service not known"
    r"|Connection error|Downloaded file size .* does not match"
    r"|Internal (?:Server )?Error|Service Unavailable|Bad Gateway|Gateway Time-?out"
    r"|DEADLINE_EXCEEDED|UNAVAILABLE",
    re.IGNORECASE,
)


def program() -> str:
    """The path of the ``kaggle`` command: of this Python's environment, or of the PATH.

    Raises:
        KitError: it is not installed.
    """
    beside = Path(sys.executable).with_name("kaggle")
    found = str(beside) if beside.exists() else shutil.which("kaggle")
    if found is None:
        raise KitError(
            "kaggle: expected Kaggle's client, found none; install it with pip install "
            "'kaggle-kit[kaggle]'"
        )
    return found


def shown(*args: str) -> str:
    """A call as one would type it, for ``--dry-run``.

    >>> shown("datasets", "version", "-p", "out/bundle", "-m", "new weights")
    "kaggle datasets version -p out/bundle -m 'new weights'"
    """
    return "kaggle " + " ".join(map(_quoted, args))


def call(
    *args: str,
    repeatable: bool = True,
    watch: Callable[[], None] | None = None,
    before: Callable[[], None] | None = None,
    pass_fds: Sequence[int] = (),
    tries: int | None = None,
) -> str:
    """Run ``kaggle`` with ``args``; return what it printed once it has done what was asked.

    What may pass (429, 5xx, no connection, silence) is tried again, with growing pauses.

    Args:
        repeatable: whether doing it twice does no harm. Otherwise it is tried again only
            when Kaggle said that it did not do it, which is what 429 says.
        watch: called ten times a second meanwhile; what it raises stops the client.
        before: called before each try, to put right what the last one left.
        tries: how often at most, if not ``TRIES``.
        pass_fds: file descriptors that the client shall hold open.

    Raises:
        KaggleError: by its kind, see ``kaggle_kit.errors``; no secret is in its text.
    """
    tries = tries or TRIES
    for attempt in range(1, tries + 1):
        if before:
            before()
        code, output, errors = _run([program(), "-W", *args], watch, pass_fds)
        said = f"{output}\n{errors}"
        error = failure(args, code, said)
        if error is None:
            return output
        crowded = CROWDED.search(said)
        again = isinstance(error, UnreachableError) and (repeatable or crowded)
        if not again or attempt == tries:
            raise error
        pause = pause_s(attempt, said)
        logger.info("%s; trying again in %.0f s", error, pause)
        _pause(pause, watch)
    raise AssertionError("unreachable")


def call_json(*args: str) -> Any:
    """Run ``kaggle`` with ``args``; return the JSON that it printed, None without any.

    Warnings may stand before it on the same stream.

    Raises:
        KaggleError: as ``call``.
    """
    output = call(*args)
    start = re.search(r"^[\[{]", output, re.MULTILINE)
    return json.loads(output[start.start() :]) if start else None


def call_pages(*args: str) -> list[dict[str, Any]]:
    """The rows of all pages of a listing that takes ``--page-token``.

    Raises:
        KaggleError: as ``call``.
    """
    rows: list[dict[str, Any]] = []
    token: list[str] = []
    while True:
        output = call(*args, "--page-size", "200", "--format", "json", *token)
        start = re.search(r"^[\[{]", output, re.MULTILINE)
        rows += json.loads(output[start.start() :]) if start else []
        following = re.search(r"^Next Page Token = (\S+)", output, re.MULTILINE)
        if not following:
            return rows
        token = ["--page-token", following[1]]


def wait(look: Callable[[], T | None], limit_s: float, what: str) -> T:
    """Call ``look`` until it returns something, at growing intervals.

    That Kaggle cannot be reached for a while ends nothing.

    Raises:
        WaitError: it has not after ``limit_s`` seconds.
    """
    end = time.monotonic() + limit_s
    interval = LOOK_S
    while True:
        try:
            found = look()
        except UnreachableError as error:
            logger.info("%s", error)
            found = None
        if found is not None:
            return found
        if time.monotonic() + interval > end:
            raise WaitError(
                f"{what}: expected it within {limit_s / 3600:g} h, got no end of it; run "
                f"the same command again to wait on"
            )
        logger.info("waiting for %s", what)
        time.sleep(interval * random.uniform(0.8, 1.2))
        interval = min(interval * 1.5, LONGEST_S)


def pause_s(attempt: int, text: str = "") -> float:
    """Seconds before trying again: what a "Retry-After" says, or doubling, with jitter."""
    asked = re.search(r"retry.after\D{0,3}(\d+)", text, re.IGNORECASE)
    if asked:
        return min(float(asked[1]), LONGEST_S)
    return min(BACKOFF_S * 2 ** (attempt - 1), LONGEST_S) * random.uniform(0.8, 1.2)


def failure(args: Sequence[str], code: int, output: str) -> KaggleError | None:
    """The error that the client's exit code and output amount to, if they do."""
    place = shown(*args[:2])
    lost = LOST.search(output)
    if code == 0 and not lost:
        return None
    lines = [x.strip() for x in HINTS.sub("", output).splitlines() if x.strip()]
    said = lost[0].strip() if lost else lines[-1] if lines else f"exit code {code}"
    said = said if len(said) < 200 else f"{said[:200]}..."
    if "Authentication required" in output:
        return CredentialsError(
            f"{place}: expected credentials that Kaggle takes, found none; see kaggle-kit "
            f"doctor"
        )
    if "accept this competition" in output:
        return RulesError(
            f"{place}: {said} Accept them on {WEB}/c/<competition>/rules, then run the "
            f"same command again"
        )
    if CROWDED.search(output) or AWAY.search(output) or code < 0 or not lines:
        return UnreachableError(
            f"{place}: expected an answer from Kaggle, got {said!r}; run the same command "
            f"again later"
        )
    if "session count" in output or "limit" in said.lower() or "quota" in said.lower():
        return LimitError(
            f"{place}: {said}; wait until there is room, then run it again"
        )
    if re.search(r"Permission .* denied|403|404|not found", said, re.IGNORECASE):
        return RulesError(
            f"{place}: expected something that you may reach, got {said!r}; check the "
            f"name, and that you have joined the competition or own the thing"
        )
    return RefusedError(f"{place}: expected it to be done, got {said!r}")


def _run(
    command: Sequence[str],
    watch: Callable[[], None] | None,
    pass_fds: Sequence[int],
) -> tuple[int, str, str]:
    """Exit code, output and errors, without secrets; -1 after too long a silence.

    Signed addresses of uploads lie in the client's temporary folder, so it has its own,
    which nobody else may read and which does not outlive the call.
    """
    environment = {k: v for k, v in os.environ.items() if k != "VERBOSE"}
    with tempfile.TemporaryDirectory(prefix="kaggle-kit-") as folder:
        paths = [Path(folder, "output"), Path(folder, "errors")]
        with paths[0].open("wb") as output, paths[1].open("wb") as errors:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                env=environment | {"TMPDIR": folder, "PYTHONUNBUFFERED": "1"},
                pass_fds=tuple(pass_fds),
            )
            try:
                silent = _wait(process, paths, watch)
            finally:
                process.kill()
                code = process.wait()
        said, complained = (
            hidden(path.read_text("utf-8", "replace")) for path in paths
        )
    if silent:
        return -1, said, f"{complained}\nno answer for {SILENCE_S:.0f} s: timed out"
    return code, said, complained


def _pause(seconds: float, watch: Callable[[], None] | None) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if watch:
            watch()
        time.sleep(min(left, POLL_S))


def _wait(
    process: subprocess.Popen, paths: Sequence[Path], watch: Callable[[], None] | None
) -> bool:
    """Wait for the end; whether it was given up because nothing was said for too long."""
    size, heard = 0, time.monotonic()
    while True:
        try:
            process.wait(POLL_S)
            return False
        except subprocess.TimeoutExpired:
            pass
        if watch:
            watch()
        now = sum(path.stat().st_size for path in paths)
        if now != size:
            size, heard = now, time.monotonic()
        if time.monotonic() - heard > SILENCE_S:
            return True


def _quoted(text: str) -> str:
    return text if re.fullmatch(r"[\w@%+=:,./^$\\-]+", text) else f"'{text}'"
