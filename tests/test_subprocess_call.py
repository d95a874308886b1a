"""A function in a process of its own: its result, its errors, its end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kaggle_kit.errors import KitError, TableError
from kaggle_kit.subprocess_call import run_in_subprocess

ROOT = Path(__file__).parents[1]
SCRIPT = """
from pathlib import Path
from kaggle_kit.subprocess_call import run_in_subprocess
with open("times", "a") as file:
    file.write("x")
print(run_in_subprocess(Path.exists, Path("times")))
"""


class Unpicklable(Exception):
    def __init__(self, a, b):
        super().__init__(f"{a} {b}")


def process_id(*_):
    return os.getpid()


def fail(kind):
    raise {"kit": TableError("a.csv: b"), "bug": Unpicklable(1, 2)}[kind]


def end(how):
    print("what it prints is no answer", flush=True)
    if how == "exit":
        os._exit(3)
    os.kill(os.getpid(), how)
    time.sleep(60)


def wait(path):
    Path(path).write_text(str(os.getpid()))
    try:
        time.sleep(60)
    finally:
        Path(path).unlink()


def test_a_script_without_a_main_guard_runs_once(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "True\n", done.stderr
    assert (tmp_path / "times").read_text() == "x"


def test_the_result_comes_from_another_process():
    assert run_in_subprocess(process_id, "x" * 10**6) != os.getpid()


def test_an_error_is_raised_as_it_is_with_its_traceback():
    with pytest.raises(TableError) as error:
        run_in_subprocess(fail, "kit")
    assert str(error.value) == "a.csv: b"
    assert "in fail" in error.value.__notes__[0]
    with pytest.raises(RuntimeError, match="Unpicklable: 1 2"):
        run_in_subprocess(fail, "bug")


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (signal.SIGKILL, "was killed, probably for lack of memory"),
        (signal.SIGSEGV, "was ended by SIGSEGV"),
        ("exit", "ended with exit code 3"),
    ],
)
def test_the_reason_of_an_early_end_is_the_true_one(how, reason):
    with pytest.raises(KitError, match=reason) as error:
        run_in_subprocess(end, how)
    assert "\n" not in str(error.value)


def test_an_interruption_lets_it_clean_up(tmp_path):
    """As Ctrl-C in a terminal, which both processes get."""
    code = "import sys; from tests import test_subprocess_call as t;"
    code += "t.run_in_subprocess(t.wait, sys.argv[1])"
    process = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "pid"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    assert b"KeyboardInterrupt" in process.communicate(timeout=60)[1]
    assert not (tmp_path / "pid").exists()
