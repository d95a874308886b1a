"""A stand-in for Kaggle, used by the real client, and a small bundle to publish."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from kaggle_kit.kaggle import client, polling
from kaggle_kit.kernel import INTERFACE
from tests.helpers.kaggle_names import DATASET, SAMPLE, SLUG
from tests.helpers.signed_bundles import sign
from tests.helpers.standin import Kaggle


@pytest.fixture
def kaggle(tmp_path, monkeypatch):
    """The stand-in; the environment points this process and its clients at it."""
    if not Path(sys.executable).with_name("kaggle").exists() and not shutil.which(
        "kaggle"
    ):
        pytest.skip("Kaggle's client is not installed")
    with Kaggle() as server:
        server.add_competition(
            SLUG, {"sample_submission.csv": SAMPLE.encode()}, code=True
        )
        for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        for name, value in server.env(tmp_path / "home").items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(client, "BACKOFF_S", 0.05)
        monkeypatch.setattr(polling, "FIRST_INTERVAL_S", 0.05)
        monkeypatch.chdir(tmp_path)
        yield server
        assert not server.leaks  # no credentials for the storage host


@pytest.fixture
def small_bundle(tmp_path):
    """A bundle with all that publishing needs."""
    folder = tmp_path / "bundle"
    (folder / "kaggle_kit" / "deep").mkdir(parents=True)
    (folder / "gallery").mkdir()
    (folder / "kaggle_kit" / "__init__.py").write_text('"""A library."""\n')
    (folder / "kaggle_kit" / "kernel.py").write_text(f"INTERFACE = {INTERFACE}\n")
    (folder / "kaggle_kit" / "deep" / "gap.py").write_text("GAP = 1\n")
    (folder / "gallery" / "vectors.npy").write_bytes(bytes(range(256)) * 400)
    (folder / "config.json").write_text("{}\n")
    sign(folder)
    metadata = {
        "id": DATASET,
        "title": "Landmark kit",
        "licenses": [{"name": "CC-BY-4.0"}],
    }
    (folder / "dataset-metadata.json").write_text(json.dumps(metadata))
    return folder


@pytest.fixture
def kernel_dir(tmp_path):
    """A copy of the kit's inference kernel."""
    return Path(
        shutil.copytree(
            Path(__file__).parents[2] / "kernels" / "inference", tmp_path / "kernel"
        )
    )
