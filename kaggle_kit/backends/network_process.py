"""The process in which a network runs apart; ``isolated`` starts it and talks to it.

It reads requests from its standard input and writes answers to its standard output: a line
of JSON, and the bytes of arrays. The answers are for a process that does not trust this one:
they hold numbers and text, and no objects.

Until it is confined, it imports no package: NumPy starts threads, which would stay free.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from kaggle_kit.backends.confinement import confine
from kaggle_kit.errors import ArtefactError, KitError

if TYPE_CHECKING:
    from kaggle_kit.backends.base import Runner

OUTPUTS = ("embedding", "log_probability")  # in the order in which they are sent


def main(loader: str, network: str, mixed_precision: str, parent: str) -> None:
    """Load a network, and run it until the parent closes the pipe or dies.

    Args:
        loader: see ``Engine.loader``.
        network: the path of a file or folder.
        mixed_precision: "1" or "0"; see ``Engine.load_runner``.
        parent: the id of the process that started this one.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says when to stop
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)  # libraries may print
    path = Path(network)
    confine([path])
    _go_without_folders()
    threading.Thread(target=_watch, args=(requests, int(parent)), daemon=True).start()
    try:
        module, _, name = loader.partition(":")
        load: Callable[[Path, bool], Runner] = getattr(import_module(module), name)
        runner = load(path, mixed_precision == "1")
        views = list(runner.views)
        _send(
            answers,
            side=runner.side,
            width=runner.width,
            views=views,
            n_classes=runner.n_classes,
        )
        while line := requests.readline():
            _answer(runner, json.loads(line), requests, answers)
    except KitError as error:
        is_artefact = isinstance(error, ArtefactError)
        _send(answers, error=str(error), is_artefact=is_artefact)
    except Exception as error:  # noqa: BLE001 - what a stranger's network raises
        text = (
            f"{path}: expected a network that runs, got {error!r:.200}; do not use this "
            f"bundle"
        )
        _send(answers, error=text, is_artefact=True)


def _go_without_folders() -> None:
    """Let libraries find no settings, and not try where they can write."""
    nowhere = os.path.join(os.sep, "nowhere")
    os.environ["HOME"] = os.environ["KERAS_HOME"] = tempfile.tempdir = nowhere
    sys.modules["matplotlib"] = None  # type: ignore[assignment] # Keras can do without


def _answer(
    runner: Runner, request: Any, requests: BinaryIO, answers: BinaryIO
) -> None:
    """Run the network on a batch, and send its outputs."""
    import numpy as np  # see above

    shape = request["n"], runner.side, runner.side, 3
    pixels = np.frombuffer(requests.read(int(np.prod(shape))), np.uint8)
    outputs = runner.start(pixels.reshape(shape), request["view"])()
    _send(answers)
    sent = [outputs[name] for name in OUTPUTS[: 2 if runner.n_classes else 1]]
    answers.writelines(np.ascontiguousarray(v, np.float32).data for v in sent)
    answers.flush()


def _send(answers: BinaryIO, **values: object) -> None:
    answers.write(json.dumps(values).encode() + b"\n")
    answers.flush()


def _watch(requests: BinaryIO, parent: int) -> None:
    """End this process, whatever it does, when its parent has closed the pipe or died."""
    poll = select.poll()
    poll.register(requests, 0)  # only that it is closed
    while not poll.poll(1000) and os.getppid() == parent:
        pass
    os._exit(0)
