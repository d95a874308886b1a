"""What a confined process cannot do, tried in a process of its own."""

import json
import subprocess
import sys
import threading
from pathlib import Path
from socketserver import BaseRequestHandler, TCPServer

import pytest

from kaggle_kit.backends import confinement
from kaggle_kit.backends.confinement import landlock_version

ATTEMPTS = """
import json, os, socket, subprocess, sys, tempfile
from pathlib import Path
from kaggle_kit.backends import confinement
folder, allowed, port, is_without = Path(sys.argv[1]), *sys.argv[2:]
if is_without == "without":
    confinement.landlock_version = lambda: 0
is_confined = confinement.confine([Path(allowed)])
attempts = {
    "write a file": lambda: (folder / "new").write_text("x"),
    "add to a file": lambda: (folder / "old").open("a").write("x"),
    "empty a file": lambda: (folder / "old").open("w"),
    "remove a file": lambda: (folder / "old").unlink(),
    "rename a file": lambda: (folder / "old").rename(folder / "renamed"),
    "make a folder": lambda: (folder / "folder").mkdir(),
    "make a link": lambda: (folder / "link").symlink_to("/"),
    "write a temporary file": lambda: tempfile.TemporaryFile().write(b"x"),
    "read a file": lambda: (folder / "old").read_text(),
    "list a folder": lambda: os.listdir(folder),
    "read of another process": lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
    "start a program": lambda: subprocess.run(["/bin/true"], check=True),
    "connect": lambda: socket.create_connection(("127.0.0.1", int(port)), 5),
    "send a signal": lambda: os.kill(os.getppid(), 0),
}
done = []
for name, attempt in attempts.items():
    try:
        attempt()
    except OSError:
        continue
    done.append(name)
content = Path(allowed).read_text()
import decimal, sqlite3  # a module, and a library of the system
print(json.dumps({"confined": is_confined, "done": done, "content": content}))
"""


@pytest.fixture
def server():
    """A server on this machine."""
    with TCPServer(("127.0.0.1", 0), BaseRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def attempt(tmp_path, port, mode):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "old").write_text("old")
    (tmp_path / "network").write_text("weights")
    command = [sys.executable, "-Bc", ATTEMPTS, folder, tmp_path / "network", str(port)]
    done = subprocess.run(
        [*command, mode], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout), folder


def test_with_landlock_a_process_reads_what_it_needs_and_no_more(tmp_path, server):
    version = landlock_version()
    if not version:
        pytest.skip("this kernel has no Landlock")
    output, folder = attempt(tmp_path, server, "with")
    # What a kernel does not prevent yet, by the version from which on it does.
    later = {"empty a file": 3, "connect": 4, "send a signal": 6}
    allowed = [name for name, first in later.items() if version < first]
    assert output == {"confined": True, "done": allowed, "content": "weights"}
    assert [path.name for path in folder.iterdir()] == ["old"]
    if version >= later["empty a file"]:
        assert (folder / "old").read_text() == "old"


def test_without_landlock_nothing_is_written_into_files(tmp_path, server):
    output, folder = attempt(tmp_path, server, "without")
    assert output["confined"] is False and output["content"] == "weights"
    for name in ("write a file", "write a temporary file"):
        assert name not in output["done"]
    assert all(not path.stat().st_size for path in folder.iterdir() if path.is_file())


def test_a_process_with_threads_is_not_confined_in_part():
    if not landlock_version():
        pytest.skip("this kernel has no Landlock")
    code = (
        "import threading, time; from kaggle_kit.backends.confinement import confine\n"
        "threading.Thread(target=time.sleep, args=(9,), daemon=True).start(); confine([])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert "RuntimeError: confine: expected one thread" in done.stderr


def test_a_kernel_that_has_landlock_and_refuses_it_is_an_error(monkeypatch):
    monkeypatch.setattr(confinement, "_limit_files", lambda: None)
    monkeypatch.setattr(confinement, "landlock_version", lambda: 1)
    monkeypatch.setattr(confinement, "_call", lambda *_: -1)
    monkeypatch.setattr(confinement.os, "listdir", lambda _: ["this"])
    with pytest.raises(OSError, match="Landlock"):
        confinement.confine([Path("/")])
