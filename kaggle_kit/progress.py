"""Progress of long loops: a bar on a terminal, a log line every 30 seconds elsewhere."""

import io
import logging
import sys
from typing import Any

from tqdm import tqdm

LOG_INTERVAL_S = 30.0
logger = logging.getLogger(__name__)


class _LogBar(tqdm):
    """A tqdm bar that writes log lines, for output that is not a terminal."""

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        if self.n:  # no line before the first step
            logger.info("%s", self)


def progress(
    iterable: Any = None, *, total: int | None = None, label: str = "", unit: str = "it"
) -> tqdm:
    """Wrap ``iterable`` in a progress bar that suits stderr.

    Without an iterable, the caller moves the bar with ``update``.

    Args:
        total: the number of steps, if ``iterable`` has no length.
        unit: the name of a step; "B" means bytes, shown as kB, MB or GB.
    """
    scaled = unit == "B"
    if sys.stderr.isatty():
        return tqdm(
            iterable,
            total=total,
            desc=label,
            dynamic_ncols=True,
            unit=unit,
            unit_scale=scaled,
        )
    return _LogBar(
        iterable,
        total=total,
        desc=label,
        unit=unit,
        unit_scale=scaled,
        mininterval=LOG_INTERVAL_S,
        maxinterval=LOG_INTERVAL_S,
        file=io.StringIO(),  # the logger writes the lines instead
        bar_format="{l_bar}{n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]",
    )
