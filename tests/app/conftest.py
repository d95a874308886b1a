"""The app with a small bundle, in its own process."""

import pytest

from tests.helpers.served_app import serve_app


@pytest.fixture(scope="session")
def served(bundle_dir, competition, tmp_path_factory):
    """The app with the bundle of the drawn competition: (server, its folder)."""
    folder = tmp_path_factory.mktemp("served")
    with serve_app(bundle_dir, folder, "--photos", competition) as server:
        yield server, folder
