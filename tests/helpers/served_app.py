"""Run the app in its own process."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUN = "import sys; from kaggle_kit.cli import main; sys.exit(main(sys.argv[1:]))"


class Server:
    """A running app: its URL, its process and its log."""

    def __init__(self, port, process, log):
        self.url = f"http://localhost:{port}"
        self.process = process
        self.log = log

    def wait(self, seconds=60):
        """Wait until the server answers."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=5):
                    return
            except OSError:
                time.sleep(0.05)
        raise AssertionError(self.log.read_text("utf-8")[-2000:])


@contextmanager
def serve_command(command, folder, cwd=None, env=None):
    """Run a command that serves a page; "PORT" in it is replaced by a free port."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    command = [str(part).replace("PORT", str(port)) for part in command]
    log = folder / f"{port}.log"
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, cwd=cwd, env=env)
    server = Server(port, process, log)
    try:
        server.wait()
        yield server
    finally:
        process.terminate()
        process.wait(20)


def serve_app(bundle, folder, *options):
    """Run ``kaggle-kit app`` with its temporary files in ``folder``."""
    if not find_spec("streamlit") or not find_spec("ai_edge_litert"):
        pytest.skip("the extra 'app' is not installed")
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    (folder / "tmp").mkdir(exist_ok=True)
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "TMPDIR": str(folder / "tmp"),
    }
    command = [sys.executable, "-c", RUN, "app", "--bundle", bundle, "--port", "PORT"]
    return serve_command([*command, *options], folder, folder, env)
