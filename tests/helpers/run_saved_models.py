"""Load and run SavedModels, each in a process of its own: ``python -m`` with their folders.

Prints a line of JSON for each, with its folder and what became of it. TensorFlow is
imported once, and each process is forked from there.
"""

import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import NoReturn

import numpy as np

from kaggle_kit.backends.tensorflow import SavedModelRunner
from kaggle_kit.errors import ArtefactError

MAX_MEMORY = 6 * 2**30  # bytes of addresses; TensorFlow alone needs some
MAX_SECONDS = 60
OUTCOMES = {0: "ran", 3: "refused", 4: "traceback"}


def main(folders: list[str]) -> None:
    """Run each network, and print what became of it."""
    for folder in folders:
        child = os.fork()
        if not child:
            _run_and_exit(Path(folder))
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        outcome = OUTCOMES.get(code) or signal.Signals(-code).name
        print(json.dumps({"folder": folder, "outcome": outcome}), flush=True)


def _run_and_exit(folder: Path) -> NoReturn:
    _limit()
    code = 4
    try:
        code = _run(folder)
    finally:
        if code == 4:
            print(json.dumps({"says": repr(sys.exc_info()[1])}), flush=True)
        os._exit(code)


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(MAX_SECONDS)


def _run(folder: Path) -> int:
    """Call every view of a network; 0, or 3 where the kit refuses it with one line."""
    try:
        runner = SavedModelRunner(folder)
        for view in runner.views:
            shape = (2, runner.side, runner.side, 3)
            runner.start(np.full(shape, 7, np.uint8), view)()
    except ArtefactError as error:
        print(json.dumps({"says": str(error)}), flush=True)
        return 3
    return 0


if __name__ == "__main__":
    main(sys.argv[1:])
