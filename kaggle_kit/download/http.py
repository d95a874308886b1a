"""Download files from a web server; resume interrupted downloads, and retry errors."""

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from kaggle_kit.credentials import redact
from kaggle_kit.errors import RefusedError, UnreachableError
from kaggle_kit.progress import progress
from kaggle_kit.storage.json_files import read_json, write_json

logger = logging.getLogger(__name__)
TRIES = 6  # in a row without a new byte
BACKOFF_S = 1.0
MAX_BACKOFF_S = 120.0
TIMEOUT_S = (30.0, 60.0)  # to connect, and between bytes
RETRY_STATUSES = (429, 500, 502, 503, 504)
CHUNK = 1 << 20


class _BoundedRetry(Retry):
    """urllib3's retries, with an upper bound for the server's Retry-After."""

    def get_retry_after(self, response: Any) -> float | None:
        seconds = super().get_retry_after(response)
        return None if seconds is None else min(seconds, MAX_BACKOFF_S)


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
        self.path.unlink(missing_ok=True)
        self.sidecar.unlink(missing_ok=True)
        return 0, ""

    def write_sidecar(self, response: requests.Response, size: int | None) -> None:
        """Record the version; without a validator, the download cannot be resumed."""
        etag = response.headers.get("ETag", "")
        modified = response.headers.get("Last-Modified")
        validator = etag if etag.startswith('"') else modified
        if validator and size is not None:
            write_json({"validator": validator, "size": size}, self.sidecar)
        else:
            self.sidecar.unlink(missing_ok=True)


def open_session() -> requests.Session:
    """A session that retries temporary errors with exponential backoff."""
    retry = _BoundedRetry(
        total=TRIES,
        backoff_factor=BACKOFF_S,
        backoff_max=MAX_BACKOFF_S,
        status_forcelist=RETRY_STATUSES,
        raise_on_status=False,
    )
    session = requests.Session()
    session.headers["Accept-Encoding"] = "identity"  # no compression: sizes are exact
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    return session


def fetch_text(session: requests.Session, url: str) -> str:
    """Download a small text.

    Raises:
        UnreachableError: no answer after several tries.
        RefusedError: the server answered with an error.
    """
    try:
        response = session.get(url, timeout=TIMEOUT_S)
    except requests.RequestException as error:
        raise _unreachable(url, error) from None
    _require_success(url, response)
    return response.text


def fetch_file(
    session: requests.Session,
    url: str,
    path: Path,
    check_space: Callable[[int, int], None],
) -> None:
    """Download a file; resume what an earlier call left, if the file has not changed.

    Args:
        check_space: called with the file's size and the bytes that exist, before the
            rest is downloaded. An exception from it ends the call.

    Raises:
        UnreachableError: no answer, or no new bytes, after several tries.
        RefusedError: the server answered with an error.
    """
    partial = _PartialFile(path.with_name(f"{path.name}.part"))
    failures = 0
    while True:
        offset, validator = partial.read()
        headers = {"Range": f"bytes={offset}-", "If-Range": validator} if offset else {}
        try:
            response = session.get(url, headers=headers, stream=True, timeout=TIMEOUT_S)
        except requests.RequestException as error:
            raise _unreachable(url, error) from None
        with response:
            failure = _save(url, response, partial, offset, check_space)
        if failure is None:
            partial.path.replace(path)
            partial.sidecar.unlink(missing_ok=True)
            return
        has_grown = partial.path.exists() and partial.path.stat().st_size > offset
        failures = 1 if has_grown else failures + 1
        if failures == TRIES:
            raise _unreachable(url, failure)
        pause = min(BACKOFF_S * 2**failures, MAX_BACKOFF_S)
        logger.info("%s: %s; resuming in %.0f s", url, failure, pause)
        time.sleep(pause)


def _save(
    url: str,
    response: requests.Response,
    partial: _PartialFile,
    offset: int,
    check_space: Callable[[int, int], None],
) -> Exception | None:
    """Save a response; return what interrupted it, or None when the file is complete."""
    if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        size = _number(r"bytes \*/(\d+)", response.headers.get("Content-Range", ""))
        if offset and size == offset:
            return None
        partial.path.unlink(missing_ok=True)
        return ValueError("the file on the server has become shorter")
    _require_success(url, response)
    if response.status_code == HTTPStatus.PARTIAL_CONTENT:
        content_range = response.headers.get("Content-Range", "")
        if _number(r"bytes (\d+)-", content_range) != offset:
            partial.path.unlink(missing_ok=True)
            return ValueError(f"expected bytes from {offset}, got {content_range!r}")
        size = _number(r"/(\d+)$", content_range)
    else:
        offset = 0
        size = _number(r"(\d+)", response.headers.get("Content-Length", ""))
        partial.write_sidecar(response, size)
    check_space(size or 0, offset)
    with (
        partial.path.open("ab" if offset else "wb") as file,
        progress(total=size, label=url.rsplit("/", 1)[-1], unit="B") as bar,
    ):
        bar.initial = bar.n = offset
        try:
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
        except requests.RequestException as error:
            return error
        if size is not None and file.tell() != size:
            return ValueError(f"expected {size} bytes, got {file.tell()}")
    return None


def _require_success(url: str, response: requests.Response) -> None:
    status = response.status_code
    if status in RETRY_STATUSES:
        raise _unreachable(url, ValueError(f"HTTP {status}"))
    if status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        raise RefusedError(
            f"{url}: expected a file, got HTTP {status} {response.reason}; check --url"
        )


def _number(pattern: str, text: str) -> int | None:
    match = re.search(pattern, text)
    return int(match[1]) if match else None


def _unreachable(url: str, error: Exception) -> UnreachableError:
    return UnreachableError(
        f"{url}: expected an answer, got {redact(str(error))[:200]}; run the same command "
        f"again later to resume"
    )
