"""Work in a process of its own, whose memory is given back when it ends."""

import logging
import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from kaggle_kit.errors import KitError


def apart(stage: Callable[..., Any], *args: Any) -> Any:
    """Call a function of a module in a new process.

    TensorFlow gives the memory of a training back only when its process ends, and that of
    whatever comes after it would come on top.

    Raises:
        KitError: the process was killed, or what the function raises.
    """
    context = multiprocessing.get_context("spawn")
    level = (logging.getLogger().level,)
    with ProcessPoolExecutor(1, context, initializer=_begin, initargs=level) as pool:
        try:
            return pool.submit(stage, *args).result()
        except BrokenProcessPool:
            raise KitError(
                f"stage {stage.__name__}: expected it to end by itself, but its process "
                f"was killed, most likely for want of memory; lower train.batch_size in "
                f"the config or free memory, and run the same command again"
            ) from None


def _begin(level: int) -> None:
    """Log as the process before does, and end when that ends, be it killed."""
    logging.basicConfig(level=level, format="%(asctime)s %(message)s")
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)  # nobody is left to say anything to
