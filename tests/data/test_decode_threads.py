"""Threads that decode: whoever waits for them goes on, whatever one of them does."""

import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kaggle_kit.data import decode_threads
from kaggle_kit.data.decode_threads import Deadline, DecodeThreads

ROOT = Path(__file__).parents[2]


class Decoder:
    """A function of numbers: it doubles them, but never ends for some."""

    def __init__(self, *endless):
        self.endless = set(endless)
        self.go_on = threading.Event()

    def __call__(self, number):
        if number in self.endless:
            self.go_on.wait()
        return 2 * number


def patient(seconds):
    """A deadline of some seconds for an image."""
    deadline = Deadline()
    deadline.patience_s = lambda: seconds
    return deadline


@pytest.mark.parametrize("n", [1, 2, 8])
@pytest.mark.parametrize("deadline", [Deadline(), patient(60)])
def test_results_are_in_order(n, deadline):
    threads = DecodeThreads(deadline, n)
    for _ in range(3):
        assert threads.map(Decoder(), range(100)) == list(range(0, 200, 2))
    assert not deadline.late and deadline.waited_s == 0


@pytest.mark.parametrize("n", [1, 2, 3])
def test_all_others_are_decoded_and_the_late_ones_named(n, caplog):
    deadline = patient(0.2)
    threads = DecodeThreads(deadline, n)
    decoder = Decoder(3, 4, 5, 30)
    start = time.monotonic()
    with caplog.at_level(logging.WARNING):
        found = threads.map(decoder, range(31))
    assert 0.35 < time.monotonic() - start < 2  # 0.2 + 0.1 + 0.05 + 0.025
    assert found == [None if i in decoder.endless else 2 * i for i in range(31)]
    assert deadline.late == decoder.endless
    assert deadline.n_left_behind == len(decoder.endless)
    assert deadline.waited_s == pytest.approx(0.375)
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "3: not decoded within 0.2 s" and len(lines) == 4
    decoder.go_on.set()


def test_a_late_image_is_tried_again_only_once_it_is_forgiven():
    deadline = patient(0.1)
    threads = DecodeThreads(deadline, 1)
    decoder = Decoder(1)
    assert threads.map(decoder, [0, 1, 2]) == [0, None, 4]
    decoder.go_on.set()
    assert threads.map(decoder, [0, 1, 2]) == [0, None, 4]
    deadline.late.clear()
    assert threads.map(decoder, [0, 1, 2]) == [0, 2, 4]


def n_new(before):
    """How many threads there are that were not there before."""
    return len(set(threading.enumerate()) - before)


def test_a_thread_whose_place_was_taken_ends():
    deadline = patient(0.1)
    threads = DecodeThreads(deadline, 2)
    before = set(threading.enumerate())
    decoder = Decoder(0, 1, 2)
    threads.map(decoder, range(9))
    assert n_new(before) == 2 + 3
    decoder.go_on.set()
    for _ in range(100):
        time.sleep(0.05)
        if deadline.n_left_behind == 0:
            break
    assert threads.map(Decoder(), range(20, 25)) == [40, 42, 44, 46, 48]
    threads.close()
    for _ in range(100):
        if n_new(before) == 0:
            break
        time.sleep(0.05)
    assert n_new(before) == 0


def test_threads_left_behind_are_not_without_number(monkeypatch):
    """A network drive is gone: the batches end all the same, each after twice the patience."""
    monkeypatch.setattr(decode_threads, "MOST_LEFT_BEHIND", 3)
    deadline = patient(0.1)
    threads = DecodeThreads(deadline, 2)
    before = set(threading.enumerate())
    decoder = Decoder(*range(100))
    start = time.monotonic()
    assert threads.map(decoder, range(100)) == [None] * 100
    assert time.monotonic() - start < 2
    assert n_new(before) <= 2 + 3
    decoder.go_on.set()


@pytest.mark.parametrize("deadline", [Deadline(), patient(60)])
def test_an_error_is_raised_where_the_result_is_used(deadline):
    threads = DecodeThreads(deadline, 2)
    with pytest.raises(ZeroDivisionError):
        threads.map(lambda x: 1 / x, [1, 0])
    with pytest.raises(TimeoutError):  # no lateness, but an error of its own
        threads.map(lambda _: os.waitpid(-1, raise_timeout()), [1])
    assert threads.map(lambda x: x, [1, 2, 3]) == [1, 2, 3]


def raise_timeout():
    raise TimeoutError


END = """
import os, time
from kaggle_kit.data.decode_threads import Deadline, DecodeThreads
deadline = Deadline()
deadline.patience_s = lambda: 0.2
wait = {"read": lambda _: os.read(os.pipe()[0], 1), "sleep": lambda _: time.sleep(99)}
print(DecodeThreads(deadline, 2).map(wait[%r], range(5)))
"""


@pytest.mark.parametrize("what", ["read", "sleep"])
def test_a_thread_left_behind_does_not_keep_the_process_from_ending(what):
    done = subprocess.run(
        [sys.executable, "-c", END % what],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str([None] * 5)
