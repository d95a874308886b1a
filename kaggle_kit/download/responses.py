"""Responses of a web server whose headers and pieces arrive within a time.

A response is read in a thread, which is left behind if it takes too long. Timeouts of
sockets do not suffice: a server that sends a byte every ten seconds keeps to all of them.
"""

import queue
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from typing import Any
from urllib.parse import urljoin

import requests
from urllib3.exceptions import HTTPError

PIECE_S = 60.0  # for the headers, and for each piece of the body
TIMEOUT_S = (30.0, 60.0)  # to connect, and between bytes
MOST_REDIRECTS = 5
WAITING = 4  # pieces that wait until they are written
ERRORS = (requests.RequestException, HTTPError, HTTPException)  # of the network


class Session(requests.Session):
    """A session that leaves redirects to ``open_response``.

    ``requests`` reads the body of a redirect to its end, if it has one.
    """

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None: no redirect is followed."""
        return


@dataclass(frozen=True, slots=True)
class Answer:
    """A response.

    Attributes:
        status, reason: of its first line.
        headers: by name, in any case.
        pieces: of its body; reading one raises one of ``ERRORS`` if it does not arrive.
    """

    status: int
    reason: str
    headers: Mapping[str, str]
    pieces: Iterator[bytes]


class _Left(Exception):
    """Nobody reads the response any more."""


@contextmanager
def open_response(
    session: Session, url: str, headers: Mapping[str, str], piece_bytes: int
) -> Iterator[Answer]:
    """Request a file; follow a few redirects.

    Args:
        piece_bytes: the size of a piece of the body; the last one may be smaller.

    Raises:
        ERRORS: there is no answer in time.
    """
    pieces: queue.Queue[Any] = queue.Queue(WAITING)
    left = threading.Event()

    def put(piece: Any) -> None:
        while not left.is_set():
            with suppress(queue.Full):
                pieces.put(piece, timeout=1.0)
                return
        raise _Left

    def read() -> None:
        try:
            with _request(session, url, headers) as response:
                put(response)
                for piece in response.iter_content(piece_bytes):
                    put(piece)
            put(None)
        except _Left:
            return
        except Exception as error:  # noqa: BLE001 - it is raised where pieces are read
            if isinstance(error, ValueError) and not isinstance(error, ERRORS):
                error = HTTPException(f"a malformed answer ({error})")
            with suppress(_Left):
                put(error)

    threading.Thread(target=read, name=f"read {url}", daemon=True).start()
    try:
        response: requests.Response = _next_piece(pieces)
        yield Answer(
            response.status_code,
            str(response.reason),
            response.headers,
            iter(partial(_next_piece, pieces), None),
        )
    finally:
        left.set()


def _next_piece(pieces: queue.Queue[Any]) -> Any:
    try:
        piece = pieces.get(timeout=PIECE_S)
    except queue.Empty:
        raise requests.Timeout(f"too little within {PIECE_S:.0f} s") from None
    if isinstance(piece, Exception):
        raise piece
    return piece


def _request(
    session: Session, url: str, headers: Mapping[str, str]
) -> requests.Response:
    for _ in range(MOST_REDIRECTS + 1):
        response = session.get(url, headers=headers, stream=True, timeout=TIMEOUT_S)
        if not response.is_redirect:
            return response
        response.close()
        url = urljoin(url, response.headers["Location"])
    raise requests.TooManyRedirects(f"more than {MOST_REDIRECTS} redirects")
