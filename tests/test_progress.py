"""Progress: a bar on a terminal, few lines in a log."""

import fcntl
import logging
import os
import pty
import struct
import subprocess
import sys
import termios

from kaggle_kit import progress as progressing
from kaggle_kit.progress import progress

LOOP = "from kaggle_kit.progress import progress\nfor _ in progress(range(9), label='x'): pass"


def test_a_log_has_one_line_at_the_end_of_a_short_loop(caplog):
    with caplog.at_level(logging.INFO):
        assert list(progress(range(5), label="photos")) == [0, 1, 2, 3, 4]
    (record,) = caplog.records
    assert "photos: 100%" in record.getMessage() and "5/5" in record.getMessage()


def test_a_log_has_a_line_per_interval_of_a_long_loop(caplog, monkeypatch):
    monkeypatch.setattr(progressing, "LOG_INTERVAL_S", 0)
    with caplog.at_level(logging.INFO):
        for _ in progress(range(5), label="photos"):
            pass
    assert len(caplog.records) >= 5


def test_a_loop_over_nothing_says_nothing(caplog):
    with caplog.at_level(logging.INFO):
        assert list(progress([], label="photos")) == []
    assert not caplog.records


def test_a_terminal_has_a_bar():
    main, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    subprocess.run([sys.executable, "-c", LOOP], stderr=other, check=True)
    os.close(other)
    shown = os.read(main, 10_000).decode()
    assert "x: 100%" in shown and "9/9" in shown and "\r" in shown
