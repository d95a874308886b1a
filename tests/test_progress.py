"""Progress: a bar on a terminal, few lines in a log."""

import fcntl
import logging
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest

from kaggle_kit import progress as progressing
from kaggle_kit.progress import progress

LOOP = "from kaggle_kit.progress import progress\nfor _ in progress(range(9), label='x'): pass"


def test_a_log_has_one_line_at_the_end_of_a_short_loop(caplog):
    with caplog.at_level(logging.INFO):
        assert list(progress(range(5), label="images")) == [0, 1, 2, 3, 4]
    (record,) = caplog.records
    assert "images: 100%" in record.getMessage() and "5/5" in record.getMessage()


def test_a_log_has_a_line_per_interval_of_a_long_loop(caplog, monkeypatch):
    monkeypatch.setattr(progressing, "LOG_INTERVAL_S", 0)
    with caplog.at_level(logging.INFO):
        for _ in progress(range(5), label="images"):
            pass
    assert len(caplog.records) >= 5


def test_a_loop_over_nothing_says_nothing(caplog):
    with caplog.at_level(logging.INFO):
        assert list(progress([], label="images")) == []
    assert not caplog.records


def test_a_terminal_has_a_bar():
    main, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    subprocess.run([sys.executable, "-c", LOOP], stderr=other, check=True)
    os.close(other)
    shown = os.read(main, 10_000).decode()
    assert "x: 100%" in shown and "9/9" in shown and "\r" in shown


def test_a_bar_moved_by_hand_counts_as_one_that_is_iterated(caplog):
    with caplog.at_level(logging.INFO), progress(total=6, label="bytes") as bar:
        for _ in range(3):
            bar.update(2)
    (record,) = caplog.records
    assert "bytes: 100%" in record.getMessage() and "6/6" in record.getMessage()


def test_a_loop_that_fails_keeps_its_error(caplog):
    def broken():
        yield 1
        raise ValueError("torn")

    with caplog.at_level(logging.INFO), pytest.raises(ValueError, match="torn"):
        list(progress(broken(), total=5, label="images"))
    assert "1/5" in caplog.records[-1].getMessage()


def test_nothing_but_the_log_is_written_without_a_terminal():
    done = subprocess.run([sys.executable, "-c", LOOP], capture_output=True, check=True)
    assert done.stdout == done.stderr == b""  # no logging is set up, so no lines


def test_a_log_line_ends_where_it_began(caplog, monkeypatch):
    """No carriage returns, which a file would keep."""
    monkeypatch.setattr(progressing, "LOG_INTERVAL_S", 0)
    with caplog.at_level(logging.INFO):
        for _ in progress(range(20), label="images"):
            pass
    lines = [record.getMessage() for record in caplog.records]
    counts = [int(re.search(r"(\d+)/20", line)[1]) for line in lines]
    assert counts == sorted(counts) and counts[-1] == 20
    assert not any(c in line for line in lines for c in "\r\n\x1b")
