"""Threads that decode images, and are left behind where an image takes too long.

An image may never be decoded: the network drive with its file is gone, or a decoder has an
unknown mistake. A thread cannot be ended, but it can be left behind: it is a daemon, so that
it does not keep the process from ending. A process for each decoder could be killed, but
would have to import TensorFlow, and to send its pixels.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

logger = logging.getLogger(__name__)
MOST_LEFT_BEHIND = 256  # threads; then no other takes the place of one
T = TypeVar("T")
R = TypeVar("R")


class Deadline:
    """How long the threads of an engine wait for an image, and for which it was too long.

    Attributes:
        patience_s: the seconds to wait for the next image; None: as long as it takes.
        late: images that took longer. They are not tried again while they are here.
        waited_s: seconds that were waited for them, all together.
        n_left_behind: threads that still work for them.
    """

    def __init__(self) -> None:
        self.patience_s: Callable[[], float] | None = None
        self.late: set[Any] = set()
        self.waited_s = 0.0
        self.n_left_behind = 0
        self.lock = threading.Lock()

    def is_late(self, image: object) -> bool:
        """Whether an image was late, of any type."""
        return bool(self.late) and image in self.late


class DecodeThreads:
    """Some threads, each of which decodes an image at a time.

    Args:
        deadline: of the engine that decodes.
        n: number of threads; None: one for each core.
    """

    def __init__(self, deadline: Deadline, n: int | None = None):
        self._deadline = deadline
        self._n = n or os.cpu_count() or 1
        self._n_started = 0
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()

    def map(
        self, function: Callable[[T], R | None], images: Sequence[T]
    ) -> list[R | None]:
        """Call a function for each image; None for an image that is late.

        All together may be late by twice the patience: it is halved for each.
        """
        deadline = self._deadline
        if deadline.patience_s is None and self._n == 1:
            return [function(image) for image in images]
        while self._n_started < self._n:
            self._start_thread()
        jobs = {}
        for i, image in enumerate(images):
            if not deadline.is_late(image):
                jobs[i] = _Job(partial(function, image))
                self._queue.put(jobs[i])
        seconds = deadline.patience_s() if deadline.patience_s else None
        results: list[R | None] = [None] * len(images)
        for i, job in jobs.items():
            if job.done.wait(seconds) or not self._leave(job, images[i], seconds or 0):
                results[i] = job.result()
            elif seconds is not None:
                seconds /= 2
        return results

    def close(self) -> None:
        """End the threads as soon as they are done."""
        for _ in range(self._n_started):
            self._queue.put(None)

    def _leave(self, job: _Job, image: object, seconds: float) -> bool:
        """Leave a job that is late; False if it has ended just now."""
        deadline = self._deadline
        with deadline.lock:
            if job.done.is_set():
                return False
            job.is_left = True
            deadline.late.add(image)
            deadline.waited_s += seconds
            if job.is_started:
                deadline.n_left_behind += 1
        logger.warning("%s: not decoded within %.1f s", image, seconds)
        if job.is_started and deadline.n_left_behind <= MOST_LEFT_BEHIND:
            self._start_thread()
        return True

    def _start_thread(self) -> None:
        self._n_started += 1
        threading.Thread(target=self._work, name="decode", daemon=True).start()

    def _work(self) -> None:
        deadline = self._deadline
        while (job := self._queue.get()) is not None:
            with deadline.lock:
                if job.is_left:
                    continue
                job.is_started = True
            with job:
                job.value = job.call()
            with deadline.lock:
                if job.is_left:  # another thread has taken the place of this one
                    deadline.n_left_behind -= 1
                    return


class _Job:
    """A call in a thread. As a context it ends, and keeps an error for ``result``."""

    def __init__(self, call: Callable[[], Any]):
        self.call = call
        self.value: Any = None
        self.is_started = self.is_left = False
        self.done = threading.Event()
        self._error: BaseException | None = None

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        self._error = error
        self.done.set()
        return True

    def result(self) -> Any:
        """What the call returned; its error is raised."""
        if self._error is not None:
            raise self._error
        return self.value
