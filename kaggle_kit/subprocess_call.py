"""Run a function in a new process, so that its memory is freed when it returns."""

import logging
import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from kaggle_kit.errors import KitError
from kaggle_kit.log import set_up_logging


def run_in_subprocess(stage: Callable[..., Any], *args: Any) -> Any:
    """Call a module-level function in a new process and return its result.

    TensorFlow frees the memory of a training only when its process ends. Without this,
    the next stage would need its memory on top of that.

    Raises:
        KitError: the process was killed. Errors of the function itself are raised as
            they are.
    """
    context = multiprocessing.get_context("spawn")
    level = (logging.getLogger().level,)
    with ProcessPoolExecutor(1, context, initializer=_set_up, initargs=level) as pool:
        try:
            return pool.submit(stage, *args).result()
        except BrokenProcessPool:
            raise KitError(
                f"stage {stage.__name__}: expected its process to finish, got one that "
                f"was killed, probably for lack of memory; free memory or lower "
                f"train.batch_size in the config, then run the same command again"
            ) from None


def _set_up(level: int) -> None:
    """Log at the parent's level, and exit when the parent exits or is killed."""
    set_up_logging(level)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)
