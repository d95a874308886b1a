"""A stand-in for Kaggle with a small competition, for downloads by the real client."""

import importlib.util
import os

import pytest

from kaggle_kit.kaggle import client
from tests.helpers.small_competition import SLUG, competition_files
from tests.helpers.standin import Kaggle

N_TRAIN = 6


@pytest.fixture
def kaggle(tmp_path_factory, monkeypatch):
    """The stand-in; the environment points this process and its clients at it."""
    if importlib.util.find_spec("kaggle") is None:
        pytest.skip("Kaggle's client is not installed: pip install '.[kaggle]'")
    for name in [n for n in os.environ if n.startswith("KAGGLE_")]:
        monkeypatch.delenv(name)
    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(client, "BACKOFF_S", 0.01)
    with Kaggle() as server:
        for name, value in server.env(tmp_path_factory.mktemp("home")).items():
            monkeypatch.setenv(name, value)
        server.add_competition(SLUG, competition_files(N_TRAIN))
        yield server
    assert not server.leaks and not server.strays
