"""Limits of time, memory and disk: finite numbers above 0.

A limit that is not a number is exceeded by nothing, since every comparison with it is false.
"""

import math
import sys
from numbers import Real

from kaggle_kit.errors import KitError


def is_limit(value: object) -> bool:
    """Whether a value is a finite number above 0.

    >>> is_limit(29), is_limit(0.5), is_limit(0), is_limit(float("nan")), is_limit(True)
    (True, True, False, False, False)
    """
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    return bool(0 < value <= sys.float_info.max)  # type: ignore[operator]


def require_limit(name: str, value: float | None, unit: str) -> None:
    """Check a limit, before any work; None means that there is no limit.

    Args:
        name: of the argument, for the error message.
        unit: of the value, such as GB.

    Raises:
        KitError: the value is not a finite number above 0.
    """
    if value is not None and not is_limit(value):
        raise KitError(
            f"{name}: expected a finite number of {unit} above 0, got {value!r:.40}; give "
            f"such a number"
        )


def require_stop(stop_at: float) -> None:
    """Check a time by ``time.monotonic`` at which to stop; infinity means never.

    Raises:
        KitError: it is not a number.
    """
    if math.isnan(stop_at):
        raise KitError(
            f"stop_at: expected a time by time.monotonic, got {stop_at}; give a number of "
            f"seconds"
        )
