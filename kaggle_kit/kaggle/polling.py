"""Polling of what takes minutes or hours on Kaggle."""

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from kaggle_kit.errors import UnreachableError, WaitError

logger = logging.getLogger(__name__)
T = TypeVar("T")
FIRST_INTERVAL_S = 10.0
MAX_INTERVAL_S = 120.0


def wait_for(check: Callable[[], T | None], timeout_s: float, what: str) -> T:
    """Call ``check`` at growing intervals until it returns something other than None.

    An ``UnreachableError`` of ``check`` is logged, and the wait continues.

    Args:
        what: what is waited for, for the log and the error message.

    Raises:
        WaitError: timed out.
    """
    end = time.monotonic() + timeout_s
    interval = FIRST_INTERVAL_S
    while True:
        try:
            result = check()
        except UnreachableError as error:
            logger.info("%s", error)
            result = None
        if result is not None:
            return result
        if time.monotonic() + interval > end:
            raise WaitError(
                f"{what}: expected it within {timeout_s / 3600:g} h, got a timeout; run "
                f"the same command again to keep waiting"
            )
        logger.info("waiting for %s", what)
        time.sleep(interval * random.uniform(0.8, 1.2))
        interval = min(interval * 1.5, MAX_INTERVAL_S)
