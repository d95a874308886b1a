"""A preview says what would be sent; it needs neither an account nor a connection."""

import socket
import time

import pytest

from kaggle_kit.kaggle import client
from kaggle_kit.kaggle.dataset import plan_publish
from kaggle_kit.kaggle.kernel import plan_push
from kaggle_kit.kaggle.ship import plan_ship
from kaggle_kit.kaggle.submit import plan_submit
from tests.helpers.kaggle_names import DATASET, KERNEL, SLUG

VARIABLES = ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_CONFIG_DIR")


@pytest.fixture(
    params=[
        "no account",
        "no client",
        *(
            pytest.param(x, marks=pytest.mark.extended)
            for x in ("no connection", "silence")
        ),
    ]
)
def offline(request, tmp_path, monkeypatch):
    """A machine on which Kaggle cannot be asked."""
    for name in (*VARIABLES, "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    if request.param == "no account":
        monkeypatch.setattr(client, "_run", None)  # it is not even asked
        yield
        return
    monkeypatch.setenv("KAGGLE_USERNAME", "somebody")
    monkeypatch.setenv("KAGGLE_KEY", "0123456789abcdef")
    if request.param == "no client":
        monkeypatch.setattr(client.sys, "executable", str(tmp_path / "python"))
        monkeypatch.setenv("PATH", "")
        yield
        return
    monkeypatch.setattr(client, "PREVIEW_TIMEOUT_S", 3)
    with socket.socket() as silent:
        silent.bind(("localhost", 0))
        if request.param == "silence":
            silent.listen()
        address = f"http://localhost:{silent.getsockname()[1]}"
        monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
        for name in ("http_proxy", "https_proxy"):  # nothing leaves the machine
            monkeypatch.setenv(name, address)
        yield


def test_a_preview_needs_no_answer(offline, small_bundle, kernel_dir, tmp_path):
    start = time.monotonic()
    create, version = plan_publish(small_bundle, "m").commands
    assert create.startswith("kaggle datasets create -p")
    assert version.endswith("-r zip -m m") and " version " in version
    assert time.monotonic() - start < 30
    plan = plan_submit(SLUG, "m", KERNEL, 1)
    assert (plan.submitted, plan.left_today) == (None, None)
    assert plan.commands[0].startswith(f"kaggle competitions submit {SLUG} -k {KERNEL}")
    assert plan_push(kernel_dir, dataset=DATASET).metadata.id == KERNEL
    assert plan_ship(small_bundle, kernel_dir, SLUG, "m").dataset.dataset == DATASET
