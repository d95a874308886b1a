"""Measured comparisons: ours against what people would do otherwise, in one run.

A module here is one benchmark: ``measure()`` returns its rows. Both sides run in turns,
several times, and the medians are compared.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of the table.

    ``ours`` and ``theirs`` are texts with a unit; ``ratio`` is of what they mean, above 1
    where ours is better; ``floor`` is the least ratio that was promised, if any.
    """

    measure: str
    ours: str
    theirs: str
    ratio: float | None
    floor: float | None


def medians(repeats: int, *runs: Callable[[], object]) -> list[float]:
    """Median seconds of each, run in turns so that all meet the same machine."""
    seconds: list[list[float]] = [[] for _ in runs]
    for _ in range(repeats):
        for run, taken in zip(runs, seconds, strict=True):
            start = time.perf_counter()
            run()
            taken.append(time.perf_counter() - start)
    return list(map(statistics.median, seconds))
