"""Files from a plain web server: resumed where they were cut, patient with its errors."""

import json
import logging
import re
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from kaggle_kit.errors import RefusedError, UnreachableError
from kaggle_kit.kaggle import client
from kaggle_kit.progress import progress
from kaggle_kit.storage.files import atomic_write
from kaggle_kit.storage.json_files import read_json

logger = logging.getLogger(__name__)
TRIES = 6  # without a byte of progress
BACKOFF_S = 1.0
LONGEST_S = 120.0
TIMEOUT_S = (30.0, 60.0)  # to connect, to wait for the next bytes
LATER = (429, 500, 502, 503, 504)
CHUNK = 1 << 20


class _Retry(Retry):
    """urllib3's, with an upper bound to what a server may ask one to wait."""

    def get_retry_after(self, response: Any) -> float | None:
        asked = super().get_retry_after(response)
        return None if asked is None else min(asked, LONGEST_S)


def session() -> requests.Session:
    """A session that asks again, with growing pauses, when a server says "later"."""
    retry = _Retry(
        total=TRIES,
        backoff_factor=BACKOFF_S,
        backoff_max=LONGEST_S,
        status_forcelist=LATER,
        raise_on_status=False,
    )
    made = requests.Session()
    made.headers["Accept-Encoding"] = "identity"  # sizes are those of the file
    for scheme in ("http://", "https://"):
        made.mount(scheme, HTTPAdapter(max_retries=retry))
    return made


def text(web: requests.Session, url: str) -> str:
    """A small text.

    Raises:
        UnreachableError: no answer after several tries.
        RefusedError: any other answer than the text.
    """
    try:
        response = web.get(url, timeout=TIMEOUT_S)
    except requests.RequestException as error:
        raise _unreachable(url, error) from None
    _require_ok(url, response)
    return response.text


def fetch(
    web: requests.Session, url: str, path: Path, room: Callable[[int, int], None]
) -> None:
    """Fetch a file; what an earlier call left of it is gone on with, if it is the same.

    Args:
        room: called with the file's size and the bytes that are here already, before
            the rest is fetched; what it raises ends the call.

    Raises:
        UnreachableError: no answer, or nothing new after several tries.
        RefusedError: any other answer than the file.
    """
    part = path.with_name(f"{path.name}.part")
    note = path.with_name(f"{path.name}.part.json")
    failures = 0
    while True:
        have, validator = _left(part, note)
        headers = {"Range": f"bytes={have}-", "If-Range": validator} if have else {}
        try:
            response = web.get(url, headers=headers, stream=True, timeout=TIMEOUT_S)
        except requests.RequestException as error:
            raise _unreachable(url, error) from None
        with response:
            cut = _save(url, response, part, note, have, room)
        if cut is None:
            part.replace(path)
            note.unlink(missing_ok=True)
            return
        grown = part.exists() and part.stat().st_size > have
        failures = 1 if grown else failures + 1
        if failures == TRIES:
            raise _unreachable(url, cut)
        pause = min(BACKOFF_S * 2**failures, LONGEST_S)
        logger.info("%s: %s; going on in %.0f s", url, cut, pause)
        time.sleep(pause)


def _left(part: Path, note: Path) -> tuple[int, str]:
    """The bytes that an earlier call left, and what names the file they are of."""
    try:
        noted = read_json(note)
        have = part.stat().st_size
        if have <= noted["size"]:
            return have, str(noted["validator"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    part.unlink(missing_ok=True)
    note.unlink(missing_ok=True)
    return 0, ""


def _save(
    url: str,
    response: requests.Response,
    part: Path,
    note: Path,
    have: int,
    room: Callable[[int, int], None],
) -> Exception | None:
    """Append the answer to ``part``; what cut it off, or None once it is whole."""
    if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        size = _number(r"bytes \*/(\d+)", response.headers.get("Content-Range", ""))
        if have and size == have:
            return None
        part.unlink(missing_ok=True)
        return ValueError("the file has become shorter")
    _require_ok(url, response)
    if response.status_code == HTTPStatus.PARTIAL_CONTENT:
        where = response.headers.get("Content-Range", "")
        if _number(r"bytes (\d+)-", where) != have:
            part.unlink(missing_ok=True)
            return ValueError(f"expected bytes from {have}, got {where!r}")
        size = _number(r"/(\d+)$", where)
    else:
        size, have = _number(r"(\d+)", response.headers.get("Content-Length", "")), 0
        _write_note(note, response, size)
    room(size or 0, have)
    with (
        part.open("ab" if have else "wb") as file,
        progress(total=size, label=url.rsplit("/", 1)[-1], unit="B") as bar,
    ):
        bar.initial = bar.n = have
        try:
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
        except requests.RequestException as error:
            return error
        if size is not None and file.tell() != size:
            return ValueError(f"expected {size} bytes, got {file.tell()}")
    return None


def _write_note(note: Path, response: requests.Response, size: int | None) -> None:
    """Say what ``part`` is a part of; without a name for it, it cannot be gone on with."""
    etag = response.headers.get("ETag", "")
    validator = etag if etag.startswith('"') else response.headers.get("Last-Modified")
    if validator and size is not None:
        with atomic_write(note) as beside:
            beside.write_text(json.dumps({"validator": validator, "size": size}))
    else:
        note.unlink(missing_ok=True)


def _require_ok(url: str, response: requests.Response) -> None:
    status = response.status_code
    if status in LATER:
        raise _unreachable(url, ValueError(f"HTTP {status}"))
    if status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        raise RefusedError(
            f"{url}: expected a file, got HTTP {status} {response.reason}; check --tars "
            f"and --url"
        )


def _number(pattern: str, text: str) -> int | None:
    found = re.search(pattern, text)
    return int(found[1]) if found else None


def _unreachable(url: str, error: Exception) -> UnreachableError:
    return UnreachableError(
        f"{url}: expected an answer, got {client.hidden(str(error))[:200]}; run the same "
        f"command again later, it goes on where it was"
    )
