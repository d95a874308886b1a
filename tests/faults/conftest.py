"""Stages that can be disturbed."""

import pytest

from tests.helpers.attempts import Attempts
from tests.helpers.stages import Made


@pytest.fixture(scope="session")
def attempts(tmp_path_factory):
    """Starts commands in processes that can be disturbed."""
    attempts = Attempts(tmp_path_factory.mktemp("attempts"))
    yield attempts
    attempts.close()


@pytest.fixture(scope="session")
def made(attempts, competition, tmp_path_factory):
    """What undisturbed stages make."""
    return Made(tmp_path_factory.mktemp("made"), competition, attempts)


@pytest.fixture
def here(tmp_path):
    """An empty folder, for what a stage writes."""
    folder = tmp_path / "here"
    folder.mkdir()
    return folder
