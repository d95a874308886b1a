"""Thousands of attempts in blocks of seeds, in processes with limits; it can be resumed.

Each block runs in a process of its own, whose memory and time are bounded. With the
environment variable ``KAGGLE_KIT_FUZZ``, a folder, each block that has ended is a line of
``NAME.jsonl`` there, and the same command does not repeat it.
"""

import gc
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.helpers.memory import peak_mb

FOLDER = "KAGGLE_KIT_FUZZ"
BUSY = 10
HANG_S = 600  # a block that takes longer hangs


@dataclass
class Meter:
    """What one block counts, and the most that an attempt took of a core and of the clock."""

    counts: Counter[str] = field(default_factory=Counter)
    cpu_s: float = 0.0
    wall_s: float = 0.0
    current: object = None

    @contextmanager
    def attempt(self, what: object) -> Iterator[None]:
        """Time an attempt; ``what`` is told if the process does not survive it."""
        self.current = what
        cpu, wall = time.process_time(), time.perf_counter()
        yield
        self.cpu_s = max(self.cpu_s, time.process_time() - cpu)
        self.wall_s = max(self.wall_s, time.perf_counter() - wall)


Block = Callable[[int, int, Meter], None]


def run_blocks(
    name: str | None,
    n: int,
    block: Block,
    tried: Counter[str],
    *,
    size: int = 500,
    seconds: float = 5.0,
    megabytes: int = 300,
) -> Counter[str]:
    """Run ``block(first, n, meter)`` for the seeds 0 to n - 1 in blocks of ``size``.

    Args:
        name: of the file of what is done; None: nothing is recorded.
        tried: gets all counts.
        seconds: the most that an attempt may take of a core; of the clock, ``BUSY`` times
            that, because others may be at work.
        megabytes: the most memory that a block may need more than this process has.

    Returns:
        The counts of all blocks, also of those that an earlier call ran.
    """
    done = _read_progress(name)
    total: Counter[str] = Counter()
    for first in range(0, n, size):
        length = min(size, n - first)
        result = done.get((first, length))
        if result is None:
            result = _run_child(block, first, length, megabytes)
            assert "error" not in result, f"{name}, from {first}: {result['error']}"
            assert result["cpu_s"] <= seconds, result
            assert result["wall_s"] <= BUSY * seconds, result
            assert result["more_mb"] <= megabytes, result
            _append_progress(name, {"first": first, "n": length, **result})
        total.update(result["counts"])
    tried.update(total)
    return total


def _run_child(block: Block, first: int, n: int, megabytes: int) -> dict[str, Any]:
    """The result of a block in a forked process; "error" says how it failed."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _work(block, first, n, megabytes, writing)
    os.close(writing)
    end = time.monotonic() + HANG_S
    try:
        with os.fdopen(reading, "rb") as pipe:
            os.set_blocking(pipe.fileno(), False)
            content = b""
            while time.monotonic() < end:
                piece = pipe.read()
                if piece == b"":
                    break
                content += piece or b""
                time.sleep(0.005)
            else:
                os.kill(pid, signal.SIGKILL)
    finally:
        _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    *_, last = content.splitlines() or [b"{}"]
    result: dict[str, Any] = json.loads(last)
    if code or "counts" not in result:
        return {"error": f"exit code {code}; {result.get('error', 'no result')}"}
    return result


def _work(block: Block, first: int, n: int, megabytes: int, writing: int) -> None:
    """In the forked process: the block, to its end."""
    gc.freeze()  # else it may collect what waits for threads that it does not have
    meter = Meter()
    before = peak_mb()
    try:
        room = _address_space() + megabytes * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (room, room))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        block(first, n, meter)
        result: dict[str, Any] = {
            "counts": dict(meter.counts),
            "cpu_s": round(meter.cpu_s, 3),
            "wall_s": round(meter.wall_s, 3),
            "more_mb": round(peak_mb() - before, 1),
        }
    except BaseException:  # noqa: BLE001 (the parent process tells it)
        lines = "".join(traceback.format_exception(*sys.exc_info()))[-3000:]
        result = {"error": f"{meter.current!r:.300}: {lines}"}
    os.write(writing, json.dumps(result).encode())
    os._exit(0)


def _address_space() -> int:
    """The bytes of address space that this process has."""
    pages = int(Path("/proc/self/statm").read_text("utf-8").split()[0])
    return pages * resource.getpagesize()


def _progress_path(name: str | None) -> Path | None:
    folder = os.environ.get(FOLDER)
    return Path(folder) / f"{name}.jsonl" if folder and name else None


def _read_progress(name: str | None) -> dict[tuple[int, int], dict[str, Any]]:
    path = _progress_path(name)
    if path is None or not path.exists():
        return {}
    done = {}
    for line in path.read_text("utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:  # a killed run may leave half a line
            continue
        done[row["first"], row["n"]] = row
    return done


def _append_progress(name: str | None, row: dict[str, Any]) -> None:
    path = _progress_path(name)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
