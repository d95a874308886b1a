"""No stream, folder or moment ends a command with a traceback."""

import errno
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from kaggle_kit import cli

KIT = f"{sys.executable} -m kaggle_kit"
SHOW = "config show demo.yaml"
WRONG = "config show no.yaml"


def run_shell(line: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | variables,
    )


@pytest.mark.parametrize(
    ("args", "redirection", "code", "line"),
    [
        (SHOW, ">/dev/full", 1, "stdout: expected room for the result, got No space"),
        (SHOW, ">&-", 1, "stdout: expected a place for the result, got a closed"),
        ("--help", ">/dev/full", 1, "stdout: expected room"),
        (SHOW, "2>/dev/full >/dev/null", 0, ""),
        (WRONG, "2>/dev/full >/dev/null", 1, ""),
        (SHOW, "2>&- >/dev/null", 0, ""),
        (WRONG, "2>&- >/dev/null", 1, ""),
        (SHOW, "<&- >&- 2>&-", 1, ""),
        (SHOW, "| true", 0, ""),
    ],
)
def test_a_stream_that_is_full_or_closed(args, redirection, code, line):
    if "/dev/full" in redirection and not os.path.exists("/dev/full"):
        pytest.skip("this machine has no /dev/full")
    done = run_shell(f"{KIT} {args} {redirection}")
    assert done.returncode == code, done.stderr
    assert line in done.stderr and done.stderr.count("\n") == bool(line)
    assert not line or done.stderr.startswith("kaggle-kit")


def test_no_file_takes_the_place_of_a_closed_stream(competition, tmp_path):
    out = tmp_path / "index.csv"
    args = f"index --competition {competition} --out {out}"
    assert run_shell(f"{KIT} {args} >/dev/null").returncode == 0
    whole = out.read_bytes()
    assert run_shell(f"{KIT} {args} >&- 2>&-").returncode == 1
    assert out.read_bytes() == whole


def test_names_that_a_stream_cannot_encode_are_escaped(tmp_path):
    name = str(tmp_path / "Orée-ł.yaml")
    done = run_shell(f"{KIT} config show '{name}'", PYTHONIOENCODING="ascii:strict")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "Or\\xe9e" in done.stderr or "\\u0142" in done.stderr
    done = run_shell(f"{KIT} config show $'{tmp_path}/\\xff.yaml'")
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr


@pytest.mark.extended
def test_a_current_folder_that_is_gone_is_named(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    config = tmp_path / "c.yaml"
    config.write_text("name: a\n")
    line = f"cd {gone}; rmdir {gone}; {KIT}"
    done = run_shell(
        f"{line} subset --config {config} --competition {tmp_path} --out x",
        PYTHONPATH=os.getcwd(),
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (OSError(errno.EIO, "Input/output error"), 1, "Input/output error"),
        (OSError(errno.EIO, "Input/output error", "a.csv"), 1, "a.csv: Input/output"),
        (OSError(errno.ENOLCK, "No locks available", "a"), 1, "a: No locks available"),
        (FileNotFoundError(2, "No usable temporary directory"), 1, "No usable"),
        (MemoryError(), 1, "expected enough memory"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_what_a_machine_does_is_one_line(monkeypatch, capsys, error, code, line):
    def fail(args):
        raise error

    fail.__name__ = "config_show"
    command = replace(cli.COMMANDS["config show"], function=fail)
    monkeypatch.setitem(cli.COMMANDS, "config show", command)
    assert cli.main(["config", "show", "demo.yaml"]) == code
    printed = capsys.readouterr().err
    assert line in printed and printed.count("\n") == 1


@pytest.mark.extended
def test_an_interruption_while_modules_are_imported_is_one_line():
    code = (
        "import runpy, signal, sys, time\n"
        "signal.setitimer(signal.ITIMER_REAL, float(sys.argv.pop(1)))\n"
        "signal.signal(signal.SIGALRM, signal.default_int_handler)\n"
        "from kaggle_kit.__main__ import main\nsys.exit(main())"
    )
    codes = []
    for after in (0.03, 0.05, 0.07, 0.09):
        done = subprocess.run(
            [sys.executable, "-c", code, str(after), *SHOW.split()],
            capture_output=True,
            text=True,
            check=False,
        )
        codes.append(done.returncode)
        if done.returncode == 130:
            assert done.stderr.count("\n") == 1, done.stderr
    assert set(codes) <= {0, 130}, codes


@pytest.mark.parametrize("port", ["0", "-1", "70000", "abc", "9" * 5000])
def test_a_port_that_is_none_is_one_line(port, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["app", "--bundle", "b", f"--port={port}"])
    assert stop.value.code == 1
    printed = capsys.readouterr().err
    assert "--port" in printed and printed.count("\n") == 1
