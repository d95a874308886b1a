"""A parallel map for work that releases Python's lock, as reading and decoding do."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

QUEUE = 512  # values queued for the threads, which bounds memory
T = TypeVar("T")
R = TypeVar("R")


def parallel_map(function: Callable[[T], R], values: Iterable[T]) -> Iterator[R]:
    """As ``map``, with threads and a bounded queue."""
    iterator = iter(values)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while chunk := list(islice(iterator, QUEUE)):
            yield from pool.map(function, chunk)
