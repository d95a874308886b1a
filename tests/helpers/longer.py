"""Parameters of which a few are tried by default, and the others when there is time."""

from collections.abc import Iterable
from typing import Any

import pytest


def but_for(default: Iterable[Any], values: Iterable[Any]) -> list[Any]:
    """The values, of which all but the default ones are of the extended tests.

    A value that is a tuple is for as many parameters.
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
