"""A mirror whose answers do not end, come in drops, or lie: one line, within a bound."""

import gzip
import time

import pytest

from kaggle_kit.download import http, responses
from tests.helpers.fuzzing import run_blocks

TAR = "train/images_000.tar"
TEXT = "md5sum/train/md5.images_000.txt"
OK = b"HTTP/1.1 200 OK\r\n"
PIECE = bytes(2**16)


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """A second for each piece, of a kilobyte."""
    monkeypatch.setattr(responses, "PIECE_S", 1.0)
    monkeypatch.setattr(http, "CHUNK", 1000)
    monkeypatch.setattr(http, "TRIES", 2)


def endless(start, piece=PIECE, pause_s=0.0):
    """Send a start, and then a piece for ever."""

    def send(out):
        out.write(start)
        while True:
            out.write(piece)
            out.flush()
            time.sleep(pause_s)

    return send


def once(content):
    def send(out):
        out.write(content)

    return send


REFUSED = {  # exit code, what the line has, answer
    "a body without an end": (7, "at most 65536 bytes", endless(OK + b"\r\n")),
    "a body of 4.5 GB": (
        7,
        "at most 65536 bytes",
        endless(OK + b"Content-Length: 4500000000\r\n\r\n"),
    ),
    "a body in drops": (
        6,
        "too little within 1 s",
        endless(OK + b"\r\n", b"x", pause_s=0.2),
    ),
    "headers in drops": (
        6,
        "too little within 1 s",
        endless(OK + b"X: ", b"x", pause_s=0.2),
    ),
    "headers without an end": (6, "headers", endless(OK, b"X: y\r\n" * 1000)),
    "a header without an end": (6, "got more than 65536", endless(OK + b"X: ")),
    "a start without an end": (6, "", endless(b"", b"x" * 1000)),
    "please continue": (
        6,
        "too little within 1 s",
        endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ),
    "a redirect to itself": (
        6,
        "more than 5 redirects",
        once(b"HTTP/1.1 302 Found\r\nLocation: /mirror/" + TEXT.encode() + b"\r\n\r\n"),
    ),
    "a redirect with a body": (
        6,
        "more than 5 redirects",
        endless(
            b"HTTP/1.1 302 Found\r\nLocation: /mirror/" + TEXT.encode() + b"\r\n\r\n"
        ),
    ),
    "a redirect to a file": (
        6,
        "file:",
        once(b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n"),
    ),
    "a busy server with a body": (
        6,
        "HTTP 503",
        endless(b"HTTP/1.1 503 Busy\r\nRetry-After: 0\r\n\r\n"),
    ),
    "an error with a body": (7, "HTTP 404", endless(b"HTTP/1.1 404 No\r\n\r\n")),
    "a compressed body": (
        7,
        "in the encoding 'gzip'",
        once(OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(bytes(10**7))),
    ),
    "no answer": (6, "", once(b"")),
    "chunks of 2^60 bytes": (
        7,
        "at most 65536 bytes",
        endless(OK + b"Transfer-Encoding: chunked\r\n\r\n1000000000000000\r\n"),
    ),
    "chunks of no size": (
        6,
        "",
        once(OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nabc\r\n"),
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_checksum_that_does_not_end_is_one_line(what, mirror, kit, tried):
    code, text, answer = REFUSED[what]
    mirror.faults[TEXT] = [{"raw": answer}] * 20

    def block(first, length, meter):
        with meter.attempt(what):
            got, line = kit(tars="0")
        assert (got, line.isprintable()) == (code, True) and text in line, line
        assert len(line) < 500 and "md5.images_000.txt" in line
        meter.counts["answers of a hostile mirror, each one line"] += 1

    run_blocks(None, 1, block, tried, seconds=4, megabytes=150)


def files(folder):
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def test_a_tar_of_unknown_size_stays_within_the_disk_limit(mirror, kit, tmp_path):
    mirror.faults[TAR] = [{"raw": endless(OK + b"\r\n", bytes(1000))}]
    code, line = kit("--disk-gb", "0.0001", tars="0")
    assert code == 1 and "--disk-gb" in line
    assert files(tmp_path / "out") < 10_000


@pytest.mark.parametrize("length", [b"-5", b"5x", b"", b"9" * 400, b"5, 5"])
def test_a_size_that_is_none_is_refused(length, mirror, kit, tmp_path):
    start = OK + b"Content-Length: " + length + b"\r\n\r\n"
    mirror.faults[TAR] = [{"raw": endless(start)}] * 9
    code, line = kit(tars="0")
    assert code in (6, 7) and "images_000.tar" in line
    assert files(tmp_path / "out") < 10_000


def test_a_tar_larger_than_any_is_refused_before_it_is_downloaded(
    mirror, kit, tmp_path
):
    start = OK + b"Content-Length: 900000000000\r\n\r\n"
    mirror.faults[TAR] = [{"raw": endless(start)}]
    code, line = kit(tars="0")
    assert code == 7 and "at most 20000000000 bytes" in line
    assert len(mirror.got(TAR)) == 1


@pytest.mark.parametrize(
    "content_range",
    [
        b"bytes 0-9/10",
        b"bytes 3000-9/10",
        b"bytes -5-9/-10",
        b"bytes 3000-9999/99999999999999999999",
        b"",
        b"bytes */*",
    ],
)
def test_a_part_of_another_place_is_not_appended(
    content_range, mirror, kit, tmp_path, monkeypatch
):
    monkeypatch.setattr(http, "TRIES", 5)
    whole = mirror.files[TAR]
    start = b"HTTP/1.1 206 Part\r\nContent-Range: " + content_range + b"\r\n\r\n"
    mirror.faults[TAR] = [{"cut": 3300}, {"raw": once(start + b"x" * 10)}]
    assert kit(tars="0")[0] == 0
    assert mirror.got(TAR)[:2][1].startswith("bytes=3") and mirror.got(TAR)[2] is None
    assert mirror.files[TAR] == whole


def test_the_rest_of_a_tar_that_does_not_end_is_dropped(mirror, kit, tmp_path):
    n = len(mirror.files[TAR])
    start = b"HTTP/1.1 206 Part\r\nContent-Range: bytes 3000-%d/%d\r\n\r\n" % (n - 1, n)
    mirror.faults[TAR] = [{"cut": 3300}, {"raw": endless(start)}]
    code, line = kit(tars="0")
    assert code == 7 and f"at most {n} bytes" in line
    assert files(tmp_path / "out") < 10_000
    assert kit(tars="0")[0] == 0  # the same command then ends


def test_a_tar_in_drops_is_resumed(mirror, kit, tmp_path, monkeypatch):
    """Growth of a piece counts: the tries begin again."""
    monkeypatch.setattr(http, "TRIES", 2)
    mirror.faults[TAR] = [{"cut": 1300}, {"cut": 1300}, {"cut": 1300}, {"cut": 1300}]
    assert kit(tars="0")[0] == 0
    mirror.faults["train/images_001.tar"] = [{"cut": 10}] * 9
    code, line = kit(tars="1")
    assert code == 6 and "again later to resume" in line
    assert len(mirror.got("train/images_001.tar")) == 2
