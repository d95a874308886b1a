"""The app on a small bundle, in a process of its own."""

import pytest

from tests.helpers.served_app import app


@pytest.fixture(scope="session")
def served(bundle_dir, competition, tmp_path_factory):
    """The app on the drawn competition's bundle: (server, its folder)."""
    folder = tmp_path_factory.mktemp("served")
    with app(bundle_dir, folder, "--photos", competition) as server:
        yield server, folder
