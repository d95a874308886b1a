"""Parameters of which some are tested by default, and the rest in the extended tests."""

from collections.abc import Iterable
from typing import Any

import pytest


def but_for(default: Iterable[Any], values: Iterable[Any]) -> list[Any]:
    """Mark all values except the default ones as extended tests.

    A tuple is one value for several parameters.
    """
    default = list(default)
    return [
        v
        if v in default
        else pytest.param(
            *(v if isinstance(v, tuple) else (v,)), marks=pytest.mark.extended
        )
        for v in values
    ]
