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


def medians(
    ours: Callable[[], object], theirs: Callable[[], object], repeats: int
) -> tuple[float, float]:
    """Median seconds of both, run in turns so that both meet the same machine."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for run, taken in zip((ours, theirs), seconds, strict=True):
            start = time.perf_counter()
            run()
            taken.append(time.perf_counter() - start)
    return statistics.median(seconds[0]), statistics.median(seconds[1])
