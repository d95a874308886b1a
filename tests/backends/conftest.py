"""Networks as LiteRT files."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def exports(settings, shared) -> Path:
    """A folder with both LiteRT files of a small network with a head and GeM. Read only."""
    from tests.helpers.lite_exports import write_exports

    return shared.make("exports", lambda out: write_exports("gem", settings, out))[0]
