"""Commands in processes of their own, which can be killed and disturbed at any moment.

A process that has imported TensorFlow, but not used it, is forked for each attempt: that
makes an attempt as cheap as its work. Its networks have a small backbone.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
EVENTS = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.truncate"}
HEAVY = (
    *(
        "kaggle_kit.data.shards",
        "kaggle_kit.training.trainer",
        "kaggle_kit.bundling.build",
    ),
    *("kaggle_kit.inference.predict", "kaggle_kit.report.page"),
    *(
        "kaggle_kit.report.dataset_page",
        "kaggle_kit.app.export",
        "kaggle_kit.download.competition",
        "kaggle_kit.download.public_tars",
    ),
)


@dataclass(frozen=True)
class Ended:
    """How an attempt ended."""

    code: int  # negative: the signal that killed it
    events: int  # changes of files below its folder
    seconds: float
    out: str
    err: str

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL

    def result(self) -> Any:
        """What it printed, once it ended well."""
        assert self.code == 0, self.err
        return json.loads(self.out)

    def complaint(self) -> str:
        """Its one line, once it ended with an error that a user can understand."""
        assert self.code == 1, f"{self.code}: {self.err}"
        assert "Traceback" not in self.err and self.out == "", self.err
        *_, line = self.err.splitlines()
        assert line.startswith("kaggle-kit ") and line.isprintable(), self.err
        return line


class Attempts:
    """Starts attempts; each works in a folder, by whose files it can be disturbed."""

    def __init__(self, scratch: Path):
        self._scratch = scratch
        self._n = 0
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.helpers.attempts"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        assert self._server.stdin
        self._server.stdin.close()
        self._server.wait(60)

    def _ask(self, **request: Any) -> Any:
        assert self._server.stdin and self._server.stdout
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return json.loads(self._server.stdout.readline())

    def start(self, folder: Path, *args: object, **disturbed: Any) -> "Attempt":
        """Begin a command, or a function of a module named ``module:function``.

        Args:
            folder: below which changes of files are counted.
            disturbed: kill_at, the number of the change it is killed before; room, the
                bytes that a file may have; vanish, two paths: when the first is opened
                for the first time, the second is removed; mode, "r" or "w": how it is
                opened then; env, variables.
        """
        self._n += 1
        log = self._scratch / f"{self._n}"
        words = [str(arg) for arg in args]
        start = time.monotonic()
        pid = self._ask(args=words, folder=str(folder), log=str(log), **disturbed)
        return Attempt(pid, log, start, self._ask)

    def run(self, folder: Path, *args: object, **disturbed: Any) -> Ended:
        """Begin a command and wait for its end."""
        return self.start(folder, *args, **disturbed).end()


@dataclass(frozen=True)
class Attempt:
    """A command at work."""

    pid: int
    _log: Path
    _start: float
    _ask: Callable[..., Any]

    def end(self, kill_after_s: float | None = None) -> Ended:
        """Wait for its end, after killing it at a moment if it is still there."""
        if kill_after_s is not None:
            time.sleep(kill_after_s)
            os.kill(self.pid, signal.SIGKILL)
        code, seconds = self._ask(wait=self.pid), time.monotonic() - self._start
        out, err, counted = (self._log.with_suffix(s) for s in (".out", ".err", ".n"))
        events = int(counted.read_text()) if counted.exists() else 0
        return Ended(code, events, seconds, out.read_text(), err.read_text())


@contextmanager
def disk(folder: Path, size: str) -> Iterator[Callable[[str], None]]:
    """A disk of some bytes in memory; it can be made larger, or read-only."""

    def mount(options: str) -> int:
        command = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
        return subprocess.run(command, capture_output=True, check=False).returncode

    def remount(options: str) -> None:
        assert mount(f"remount,{options}") == 0

    if os.geteuid() or mount(f"size={size}"):
        pytest.skip("a disk of its own cannot be mounted here: that takes root")
    try:
        yield remount
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def serve() -> None:
    """Fork an attempt for each request; the server of ``Attempts``."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for name in HEAVY:
        import_module(name)
    import keras

    from kaggle_kit.model import classifier as build

    def small(*_: object) -> keras.Model:
        layers = [
            keras.layers.Conv2D(8, 3, strides=4),
            keras.layers.BatchNormalization(),
        ]
        return keras.Sequential(layers, name="backbone")

    build.backbone = small
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
        else:
            answer = os.fork()
            if answer == 0:
                _attempt(request)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _attempt(request: dict[str, Any]) -> None:
    """In the process that was forked: the command, to its end."""
    code = 70
    try:
        log = Path(request["log"])
        for i, end in enumerate((".out", ".err"), 1):
            os.dup2(os.open(log.with_suffix(end), os.O_CREAT | os.O_WRONLY), i)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ |= request.get("env", {})
        counted = _watched(request)
        if room := request.get("room"):
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        code = _called(request["args"])
        log.with_suffix(".n").write_text(str(counted[0]))
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 2
    except BaseException:
        code = 1
        sys.excepthook(*sys.exc_info())
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _called(args: list[str]) -> int:
    if ":" in args[0]:
        module, function = args[0].split(":")
        getattr(import_module(module), function)(*args[1:])
        return 0
    from kaggle_kit.cli import main

    return main(args)


def _watched(request: dict[str, Any]) -> list[int]:
    """Count changes of files below the folder, and disturb when it is time."""
    counted = [0]
    folder, kill_at = request["folder"], request.get("kill_at")
    trigger, victim = request.get("vanish", (None, None))
    writing = request.get("mode", "r") == "w"

    def seen(event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(args[0], str | bytes | os.PathLike):
            path = os.fsdecode(args[0])
            changes = bool(args[2] & (os.O_WRONLY | os.O_RDWR))
            due = path == trigger and changes == writing
            if due and os.path.exists(victim):
                os.remove(victim)
        else:
            changes = event in EVENTS
            path = _place(event, args) if changes else ""
        if changes and path.startswith(folder):
            counted[0] += 1
            if counted[0] == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(seen)
    return counted


def _place(event: str, args: tuple[Any, ...]) -> str:
    """The path of a change, be it named from within its folder."""
    path = os.fsdecode(args[0])
    if event in ("os.remove", "os.rmdir") and args[1] not in (-1, None):
        return os.path.join(os.readlink(f"/proc/self/fd/{args[1]}"), path)
    return path


if __name__ == "__main__":
    serve()
