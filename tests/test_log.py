"""What reaches a terminal from anywhere: no secret, nothing that steers it."""

import re
import subprocess
import sys

from kaggle_kit.cli import main

HOSTILE = (
    "\x1b[2J\u202e\r KAGGLE_KEY=abcdefgh-01 /x?X-Goog-Signature=0123\n2026-01-01 forged"
)
CODE = f"""
import logging, threading
from kaggle_kit.log import set_up_logging
hostile = {HOSTILE!r}
set_up_logging()
logging.getLogger("x").warning("%s", hostile)
try:
    raise ValueError(hostile)
except ValueError:
    logging.getLogger("x").exception("caught")
def fail(): raise KeyError(hostile)
thread = threading.Thread(target=fail)
thread.start()
thread.join()
print("on")
raise OSError(hostile)
"""


def test_logs_and_tracebacks_are_clean():
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "on\n")
    lines = done.stderr.splitlines()
    assert all(line.isprintable() for line in lines)
    assert "abcdefgh" not in done.stderr and "0123" not in done.stderr
    assert done.stderr.count("[hidden]") == done.stderr.count("/x?...") == 4
    assert done.stderr.count("Traceback") == 3
    stamped = [line for line in lines if re.match(r"\d{4}-\d\d-\d\d ", line)]
    assert len(stamped) == 2 + 1  # the last line of the last traceback is no log line
    assert stamped[-1] == "2026-01-01 forged" == lines[-1]


def test_errors_of_commands_are_clean(tmp_path, capsys):
    """Of the kit, of the operating system, and of the arguments."""
    place = tmp_path / "a\x1b[2J KAGGLE_KEY=abcdefgh-01"
    for command in (
        ["validate", str(place), "--sample", str(tmp_path / "none")],
        ["config", "show", "demo.yaml", "--set", f"x={place.name}"],
    ):
        assert main(command) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.isprintable() and "abcdefgh" not in line, line


def test_text_that_a_command_prints_is_clean(tmp_path, capsys):
    path = tmp_path / "config.yaml"
    path.write_text('name: "my KAGGLE_KEY=abcdefgh-01"\n')
    assert main(["config", "show", str(path)]) == 0
    text = capsys.readouterr().out
    assert "name: my KAGGLE_KEY=[hidden]\n" in text and "recognition:" in text
