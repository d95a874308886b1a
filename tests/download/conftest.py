"""Servers to download from: a stand-in for Kaggle, and a mirror of the public data set."""

import importlib.util
import json
import os
from contextlib import contextmanager

import pytest

from kaggle_kit import cli
from kaggle_kit.download import http
from kaggle_kit.download.staging import StagingFolder
from kaggle_kit.errors import IncompleteError
from kaggle_kit.kaggle import client
from tests.helpers.public_mirror import public_mirror
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


@pytest.fixture
def mirror(monkeypatch):
    """The public data set, on this machine."""
    monkeypatch.setattr(http, "BACKOFF_S", 0.01)
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with public_mirror() as server:
        yield server


@pytest.fixture
def kit(mirror, tmp_path, capsys):
    """Run the command; return its exit code, and its result or last line on stderr."""

    def run(*more, tars="0-1", out=tmp_path / "out"):
        args = ["--out", out, "--url", mirror.url, *more]
        args += [] if tars is None else ["--tars", tars]
        code = cli.main(["download", *map(str, args)])
        shown = capsys.readouterr()
        if code:
            assert shown.out == ""
            return code, shown.err.splitlines()[-1]
        return code, json.loads(shown.out)

    return run


@pytest.fixture
def stopped_after(monkeypatch):
    """A context in which a run fails once it has installed n images."""

    @contextmanager
    def stop(n):
        install, left = StagingFolder.install, iter(range(n))

        def install_or_fail(self, path, name):
            if name.endswith(".jpg") and next(left, None) is None:
                raise IncompleteError("here: expected all images, got n; go on")
            install(self, path, name)

        with monkeypatch.context() as patch:
            patch.setattr(StagingFolder, "install", install_or_fail)
            yield

    return stop
