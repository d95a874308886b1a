"""Progress of long loops: a bar on a terminal, a line every 30 s in a log."""

import io
import logging
import sys
from typing import Any

from tqdm import tqdm

LOG_INTERVAL_S = 30.0
logger = logging.getLogger(__name__)


class _LogBar(tqdm):
    """A tqdm bar that writes log lines, for a stream that keeps every line."""

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        if self.n:  # a bar at nothing tells nothing
            logger.info("%s", self)


def progress(
    iterable: Any = None, *, total: int | None = None, label: str = "", unit: str = "it"
) -> tqdm:
    """A tqdm over ``iterable`` (or updated by hand) that suits the stream it is on.

    The ``unit`` "B" is for bytes, shown as kB, MB, GB.
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
        file=io.StringIO(),  # all is said through the logger
        bar_format="{l_bar}{n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]",
    )
