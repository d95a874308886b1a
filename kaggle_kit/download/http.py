"""Download files from a web server; resume interrupted downloads, and retry errors.

Every response has a bound for its bytes and for its time: each piece of 262 kB has a
minute to arrive, so a download that goes on has at least 4.4 kB/s.
"""

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar

from kaggle_kit.credentials import redact
from kaggle_kit.download.responses import ERRORS, Answer, Session, open_response
from kaggle_kit.errors import KitError, RefusedError, UnreachableError
from kaggle_kit.progress import progress
from kaggle_kit.storage.json_files import read_json, write_json

logger = logging.getLogger(__name__)
TRIES = 6  # in a row without a new piece
BACKOFF_S = 1.0
MAX_BACKOFF_S = 120.0
RETRY_STATUSES = (429, 500, 502, 503, 504)
SUCCESS = (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT)
CHUNK = 1 << 18
LARGEST_FILE = 20 * 10**9  # bytes; the tars of the data set have about 1 GB
LARGEST_TEXT = 2**16
T = TypeVar("T")


class _InterruptedError(Exception):
    """A download has to be resumed, after a pause that the server may ask for."""

    def __init__(self, reason: object, pause_s: float = 0.0):
        super().__init__(str(reason))
        self.pause_s = pause_s


@dataclass(frozen=True, slots=True)
class _PartialFile:
    """An unfinished download, with a sidecar that identifies the version on the server."""

    path: Path

    @property
    def sidecar(self) -> Path:
        """A JSON file with the server's validator and the final size."""
        return self.path.with_name(f"{self.path.name}.json")

    def read(self) -> tuple[int, str]:
        """The bytes of an earlier call that can be resumed, and their validator."""
        try:
            version = read_json(self.sidecar)
            size = self.path.stat().st_size
            if size <= version["size"]:
                return size, str(version["validator"])
        except (OSError, ValueError, KeyError, TypeError):
            pass
        self.delete()
        return 0, ""

    def count_bytes(self) -> int:
        """The bytes that exist."""
        return self.path.stat().st_size if self.path.exists() else 0

    def delete(self) -> None:
        """Delete the download and its sidecar."""
        self.path.unlink(missing_ok=True)
        self.sidecar.unlink(missing_ok=True)

    def write_sidecar(self, headers: Mapping[str, str], size: int | None) -> None:
        """Record the version; without a validator, the download cannot be resumed."""
        etag = headers.get("ETag", "")
        modified = headers.get("Last-Modified")
        validator = etag if etag.startswith('"') else modified
        if validator and size is not None:
            write_json({"validator": validator, "size": size}, self.sidecar)
        else:
            self.sidecar.unlink(missing_ok=True)


def open_session() -> Session:
    """A session for the functions of this module."""
    session = Session()
    session.headers["Accept-Encoding"] = "identity"  # no compression: sizes are exact
    return session


def fetch_text(session: Session, url: str) -> str:
    """Download a small text.

    Raises:
        UnreachableError: no answer after several tries.
        RefusedError: the server answered with an error, or with more than
            ``LARGEST_TEXT`` bytes.
    """

    def fetch() -> str:
        content = b""
        with _open(session, url, {}) as answer:
            _require_success(url, answer)
            for chunk in _chunks(answer):
                content += chunk
                if len(content) > LARGEST_TEXT:
                    raise _too_large(url, LARGEST_TEXT)
        return content.decode("utf-8", "replace")

    return _retry(url, fetch, lambda: 0)


def fetch_file(
    session: Session,
    url: str,
    path: Path,
    check_space: Callable[[int, int], None],
) -> None:
    """Download a file; resume what an earlier call left, if the file has not changed.

    Args:
        check_space: called with the file's size and the bytes that exist, before the
            rest is downloaded; if the server does not tell the size, before each piece. An
            exception from it ends the call.

    Raises:
        UnreachableError: no answer, or too few new bytes, after several tries.
        RefusedError: the server answered with an error, or with more than
            ``LARGEST_FILE`` bytes.
    """
    partial = _PartialFile(path.with_name(f"{path.name}.part"))

    def fetch() -> None:
        offset, validator = partial.read()
        headers = {"Range": f"bytes={offset}-", "If-Range": validator} if offset else {}
        with _open(session, url, headers) as answer:
            _save(url, answer, partial, offset, check_space)

    try:
        _retry(url, fetch, partial.count_bytes)
    except KitError:
        if not partial.sidecar.exists():  # it could not be resumed
            partial.delete()
        raise
    partial.path.replace(path)
    partial.sidecar.unlink(missing_ok=True)


def _retry(url: str, fetch: Callable[[], T], count_bytes: Callable[[], int]) -> T:
    """Call a function until it is not interrupted, with exponential backoff.

    Args:
        count_bytes: of what is there already; the tries count from its last growth.
    """
    failures = 0
    while True:
        before = count_bytes()
        try:
            return fetch()
        except _InterruptedError as error:
            has_grown = count_bytes() - before >= CHUNK
            failures = 1 if has_grown else failures + 1
            if failures >= TRIES:
                raise _unreachable(url, error) from None
            pause = min(max(error.pause_s, BACKOFF_S * 2**failures), MAX_BACKOFF_S)
            logger.info("%s: %s; resuming in %.0f s", url, error, pause)
        time.sleep(pause)


@contextmanager
def _open(session: Session, url: str, headers: Mapping[str, str]) -> Iterator[Answer]:
    """Open a response, which is none of a temporary error.

    Raises:
        _InterruptedError: there is no answer, or a temporary error.
    """
    try:
        response = open_response(session, url, headers, CHUNK)
        answer = response.__enter__()
    except ERRORS as error:
        raise _InterruptedError(error) from None
    try:
        if answer.status in RETRY_STATUSES:
            pause = _number(r"(\d{1,9})", answer.headers.get("Retry-After", ""))
            raise _InterruptedError(f"HTTP {answer.status}", pause or 0)
        yield answer
    finally:
        response.__exit__(None, None, None)


def _chunks(answer: Answer) -> Iterator[bytes]:
    """The pieces of a response.

    Raises:
        _InterruptedError: one did not arrive.
    """
    while True:
        try:
            chunk = next(answer.pieces, None)
        except ERRORS as error:
            raise _InterruptedError(error) from None
        if chunk is None:
            return
        yield chunk


def _save(
    url: str,
    answer: Answer,
    partial: _PartialFile,
    offset: int,
    check_space: Callable[[int, int], None],
) -> None:
    """Save a response.

    Raises:
        _InterruptedError: the file is not complete.
    """
    if answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        content_range = answer.headers.get("Content-Range", "")
        if offset and _number(r"bytes \*/(\d{1,15})", content_range) == offset:
            return
        partial.delete()
        raise _InterruptedError("the file on the server has become shorter")
    _require_success(url, answer)
    if answer.status == HTTPStatus.PARTIAL_CONTENT:
        content_range = answer.headers.get("Content-Range", "")
        size = _number(rf"bytes {offset}-\d{{1,15}}/(\d{{1,15}})", content_range)
        if not offset or size is None or size < offset:
            partial.delete()
            raise _InterruptedError(
                f"expected bytes from {offset}, got {content_range[:80]!r}"
            )
    else:
        offset, size = 0, _content_length(url, answer)
        partial.write_sidecar(answer.headers, size)
    if (size or 0) > LARGEST_FILE:
        raise _too_large(url, LARGEST_FILE)
    check_space(size or 0, offset)
    with (
        partial.path.open("ab" if offset else "wb") as file,
        progress(total=size, label=url.rsplit("/", 1)[-1], unit="B") as bar,
    ):
        bar.initial = bar.n = offset
        for chunk in _chunks(answer):
            done = file.tell() + len(chunk)
            if size is None:
                check_space(done, file.tell())
            if done > (LARGEST_FILE if size is None else size):
                partial.delete()
                raise _too_large(url, LARGEST_FILE if size is None else size)
            file.write(chunk)
            bar.update(len(chunk))
        if size is not None and file.tell() != size:
            raise _InterruptedError(f"expected {size} bytes, got {file.tell()}")


def _content_length(url: str, answer: Answer) -> int | None:
    """The bytes of a response; None if it does not tell them.

    Raises:
        RefusedError: it tells something else than a number of bytes.
    """
    text = answer.headers.get("Content-Length")
    size = None if text is None else _number(r"(\d{1,15})", text)
    if text is not None and size is None:
        raise RefusedError(
            f"{url}: expected the size of a file, got Content-Length {text[:80]!r}; check "
            f"--url"
        )
    return size


def _require_success(url: str, answer: Answer) -> None:
    if answer.status not in SUCCESS:
        raise RefusedError(
            f"{url}: expected a file, got HTTP {answer.status} {answer.reason[:80]}; "
            f"check --url"
        )
    encoding = answer.headers.get("Content-Encoding", "identity")
    if encoding != "identity":  # a few bytes could become gigabytes
        raise RefusedError(
            f"{url}: expected a file as it is, got one in the encoding "
            f"{encoding[:80]!r}; check --url"
        )


def _number(pattern: str, text: str) -> int | None:
    match = re.fullmatch(pattern, text, re.ASCII)
    return int(match[1]) if match else None


def _too_large(url: str, n_bytes: int) -> RefusedError:
    return RefusedError(
        f"{url}: expected a file of at most {n_bytes} bytes, got more; check --url"
    )


def _unreachable(url: str, error: Exception) -> UnreachableError:
    return UnreachableError(
        f"{url}: expected an answer, got {redact(str(error))[:200]}; run the same command "
        f"again later to resume"
    )
