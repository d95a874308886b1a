"""Work in a process of its own, whose memory is given back when it ends."""

import logging
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any

from kaggle_kit.errors import KitError


def apart(stage: Callable[..., Any], *args: Any) -> Any:
    """Call a function of a module in a new process.

    TensorFlow gives the memory of a training back only when its process ends, and that of
    whatever comes after it would come on top.

    Raises:
        KitError: the process was killed, or what the function raises.
    """
    log = partial(
        logging.basicConfig,
        level=logging.getLogger().level,
        format="%(asctime)s %(message)s",
    )
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, initializer=log) as pool:
        try:
            return pool.submit(stage, *args).result()
        except BrokenProcessPool:
            raise KitError(
                f"stage {stage.__name__}: expected it to end by itself, but its process "
                f"was killed, most likely for want of memory; lower train.batch_size in "
                f"the config or free memory, and run the same command again"
            ) from None
