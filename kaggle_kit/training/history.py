"""What the epochs of a run say: which was best, and whether they suffice."""

import math
from typing import Any

from kaggle_kit.config import Config, image_size

History = list[dict[str, Any]]  # a row for each whole epoch


def best_epoch(history: History, settings: Config) -> int:
    """The place in the history of the best monitor at the last image size.

    Of equals it is the last, and without a monitor the last of all. A smaller size says
    nothing of how good the network is at the size it is used at.
    """
    last, monitor = len(history) - 1, settings.train.monitor
    if monitor not in history[last]:
        return last
    sign = -1 if monitor == "val_loss" else 1

    def rank(epoch: int) -> tuple[float, int]:
        value = sign * history[epoch][monitor]
        return value if math.isfinite(value) else -math.inf, epoch

    size = image_size(last, settings)
    same = [i for i in range(len(history)) if image_size(i, settings) == size]
    return max(same, key=rank)


def finished(history: History, settings: Config) -> bool:
    """Whether nothing is left to train after these epochs."""
    if not history:
        return not settings.train.epochs
    since_best = len(history) - 1 - best_epoch(history, settings)
    patience = settings.train.patience
    stale = patience is not None and since_best >= patience
    return stale or len(history) >= settings.train.epochs
