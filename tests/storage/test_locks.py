"""One process at a time writes, also where the file system has no locks."""

import errno
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kaggle_kit.errors import ArtefactError
from kaggle_kit.storage.files import atomic_write
from kaggle_kit.storage.locks import lock
from tests.helpers.mounts import open_folder, run_as_user

WITHOUT = """
import fcntl, os
def refuse(*_): raise OSError({number}, os.strerror({number}))
fcntl.flock = refuse
"""
NO_FCNTL = "import sys; sys.modules['fcntl'] = None\n"
HOLD = """
import sys, time
from pathlib import Path
from kaggle_kit.storage.locks import lock
with lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""
NUMBERS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


@pytest.fixture(params=[None, *NUMBERS], ids=lambda n: errno.errorcode.get(n, "flock"))
def without(request, monkeypatch):
    """Python code that breaks the locks of the system, which are broken here too."""
    if request.param is None:
        return ""
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)
    return WITHOUT.format(number=request.param)


def hold(path: Path, code: str) -> subprocess.Popen:
    """Start a process that holds a lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", code + HOLD, path], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout and process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_until_the_first_is_killed(without, tmp_path):
    path = tmp_path / "out"
    process = hold(path, without)
    try:
        with (
            pytest.raises(ArtefactError, match="found one at work") as refused,
            lock(path),
        ):
            pass
        if without:
            assert f"(process {process.pid} on {socket.gethostname()})" in str(
                refused.value
            )
            assert f"delete {path}.kit.soft if it has" in str(refused.value)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert os.listdir(tmp_path) != []
    with lock(path), lock(path):  # reentrant
        pass
    assert os.listdir(tmp_path) == []


def test_a_second_process_waits(without, tmp_path):
    path = tmp_path / "out"
    process = hold(path, without)
    code = without + "from tests.storage.test_locks import say; say()"
    waiting = subprocess.Popen(
        [sys.executable, "-c", code, path], stdout=subprocess.PIPE, text=True
    )
    time.sleep(0.5)
    assert waiting.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert waiting.communicate(timeout=20)[0] == "mine\n"


def say() -> None:
    """Say when the lock is held; called in a process of its own."""
    with lock(Path(sys.argv[1]), wait=True):
        print("mine", flush=True)


def test_many_that_wait_take_turns(tmp_path):
    """Nobody holds a lock file that another has removed."""
    code = (
        "import sys; from pathlib import Path\n"
        "from kaggle_kit.storage.locks import lock\n"
        "path = Path(sys.argv[1])\n"
        "for _ in range(20):\n"
        "    with lock(path, wait=True):\n"
        "        path.write_text(str(int(path.read_text()) + 1))\n"
    )
    path = tmp_path / "number"
    path.write_text("0")
    command = [sys.executable, "-c", code, path]
    for process in [subprocess.Popen(command) for _ in range(3)]:
        assert process.wait(60) == 0
    assert path.read_text() == "60" and os.listdir(tmp_path) == ["number"]


def test_without_fcntl_files_are_written_too(tmp_path):
    """As on Windows."""
    code = NO_FCNTL + (
        "from pathlib import Path; from kaggle_kit.storage.files import atomic_write\n"
        "with atomic_write(Path(sys.argv[1])) as part: part.write_text('x')\n"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "x"], check=True)
    assert os.listdir(tmp_path) == ["x"]


def test_a_lock_file_of_another_user_is_one_line():
    def write() -> None:
        with atomic_write(Path("x.csv")):
            pass

    with open_folder() as folder:
        (folder / "x.csv.kit.lock").touch(mode=0o400)
        folder.chmod(0o1777)
        error = run_as_user(folder, write)
    if os.geteuid() == 0:
        line = r"ArtefactError: .*x\.csv\.kit\.lock: expected to lock x\.csv there, got: .*"
        assert re.fullmatch(line, error)


def test_a_lock_is_released_after_an_error(tmp_path):
    with pytest.raises(KeyError, match="half"), lock(tmp_path / "out"):
        raise KeyError("half")
    with lock(tmp_path / "out"):
        pass
    assert os.listdir(tmp_path) == []
