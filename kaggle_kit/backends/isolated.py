"""Run the networks of strangers in a process of their own, whose death is one line.

A network that passes every check may still crash its interpreter, take no end, or do what
nobody foresaw. In a process of its own it can do no more than the process may:
``confinement`` says what that is, with and without Landlock.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.backends.base import LITE, VIEWS, Engine, Image, Outputs, Runner
from kaggle_kit.backends.network_process import OUTPUTS
from kaggle_kit.errors import ArtefactError, KitError

LOAD_S, IMAGE_S = 300, 60  # limits of loading a network, and of each image
CLOSE_S = 5  # until a process that should end is killed
MAX_LINE = 65_536  # bytes of an answer without its arrays
MAX_SIDE, MAX_WIDTH = 8192, 1_000_000  # of what a network may announce
# Variables that libraries need. The others may hold what is no network's business.
KEPT = ("CUDA_", "LC_", "LD_", "NVIDIA_", "OMP_", "SYSTEMROOT", "TF_", "XLA_")
# ``-I``: neither the working folder nor variables say where modules are.
START = (
    "import sys; sys.path[:] = sys.argv[5:]; "
    "from kaggle_kit.backends.network_process import main; main(*sys.argv[1:5])"
)


class IsolatedEngine:
    """An ``Engine`` that decodes as another does, and runs networks in processes apart.

    Where a bundle has a LiteRT file of a network, that is preferred to its SavedModel.
    """

    def __init__(self, engine: Engine):
        self._engine = engine
        self.loader = engine.loader
        self.networks: Sequence[str] = tuple(dict.fromkeys((LITE, *engine.networks)))
        self.n_threads = engine.n_threads
        self.deadline = engine.deadline

    def decode(self, image: Image, side: int | None = None) -> NDArray[np.uint8] | None:
        """Decode an image; see ``Engine.decode``."""
        return self._engine.decode(image, side)

    def load_runner(self, path: Path, mixed_precision: bool) -> Runner:
        """Load a network in a process of its own; see ``Engine.load_runner``."""
        return IsolatedRunner(path, self.loader, mixed_precision)


class IsolatedRunner:
    """A ``Runner`` of a network in another process, which ends with this one."""

    def __init__(self, path: Path, loader: str, mixed_precision: bool = False):
        """Start the process, and wait until it has loaded the network.

        Args:
            path: of the network.
            loader: the function that loads it there; see ``Engine.loader``.

        Raises:
            ArtefactError: the network is missing or damaged, or its process died.
            KitError: a package is missing.
        """
        self._path = path
        self._has_expired = False
        arguments = [
            loader,
            str(path.resolve()),
            "1" if mixed_precision else "0",
            str(os.getpid()),
        ]
        self._process = subprocess.Popen(
            [sys.executable, "-IBc", START, *arguments, *filter(None, sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={k: v for k, v in os.environ.items() if k.startswith(KEPT)},
        )
        assert self._process.stdin and self._process.stdout
        self._requests, self._answers = self._process.stdin, self._process.stdout
        self._thread = ThreadPoolExecutor(1)
        try:
            with self._deadline(LOAD_S):
                self._describe(self._receive())
        except BaseException:
            self._process.kill()
            self.close()
            raise

    def start(
        self, pixels: NDArray[np.uint8], view: str = VIEWS[0]
    ) -> Callable[[], Outputs]:
        """See ``Runner.start``.

        Raises:
            ArtefactError: the process died, or takes more than ``IMAGE_S`` for each image.
                The returned function raises it.
        """
        return self._thread.submit(self._run, pixels, view).result

    def close(self) -> None:
        """End the process."""
        self._thread.shutdown()
        try:
            self._requests.close()
        except OSError:  # it died with a request unread
            pass
        try:
            self._process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._answers.close()

    def _run(self, pixels: NDArray[np.uint8], view: str) -> Outputs:
        n = len(pixels)
        with self._deadline(IMAGE_S * max(n, 1)):
            try:
                request = json.dumps({"n": n, "view": view}).encode()
                self._requests.write(request + b"\n")
                self._requests.write(np.ascontiguousarray(pixels).data)
                self._requests.flush()
            except OSError:
                self._raise_dead()
            self._receive()
            widths = [self.width, self.n_classes] if self.n_classes else [self.width]
            return {
                name: self._receive_array(n, width)
                for name, width in zip(OUTPUTS, widths, strict=False)
            }

    def _describe(self, answer: Any) -> None:
        """Take what the process says of the network, if it can be true."""
        try:
            self.side, self.width = int(answer["side"]), int(answer["width"])
            self.n_classes = int(answer["n_classes"])
            self.views: Sequence[str] = [v for v in VIEWS if v in answer["views"]]
        except (LookupError, TypeError, ValueError, OverflowError) as error:
            self._raise_wrong(repr(error)[:80])
        is_possible = 0 < self.side <= MAX_SIDE and 0 < self.width <= MAX_WIDTH
        if not is_possible or not 0 <= self.n_classes <= MAX_WIDTH or not self.views:
            self._raise_wrong(f"images of {self.side} px and {self.width} outputs")

    def _receive(self) -> Any:
        """The next line of the process.

        Raises:
            ArtefactError, KitError: what the process raised, or it died.
        """
        line = self._answers.readline(MAX_LINE)
        if not line:
            self._raise_dead()
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            self._raise_wrong(repr(line[:40]))
        if not isinstance(answer, dict):
            self._raise_wrong(repr(line[:40]))
        if "error" not in answer:
            return answer
        kind = ArtefactError if answer.get("is_artefact") else KitError
        raise kind(str(answer["error"]))

    def _receive_array(self, n: int, width: int) -> NDArray[np.float32]:
        content = self._answers.read(4 * n * width)
        if len(content) != 4 * n * width:
            self._raise_dead()
        return np.frombuffer(bytearray(content), np.float32).reshape(n, width)

    @contextmanager
    def _deadline(self, seconds: float) -> Iterator[None]:
        """Kill the process when the time is up."""
        timer = threading.Timer(seconds, self._expire)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _expire(self) -> None:
        self._has_expired = True
        self._process.kill()

    def _raise_dead(self) -> NoReturn:
        """Raise the error of a process that ended."""
        code = self._process.wait()
        if self._has_expired:
            reason = "no answer in time"
        elif code < 0:
            reason = f"a process that was killed by {signal.Signals(-code).name}"
        else:
            reason = f"a process that ended with code {code}"
        raise ArtefactError(
            f"{self._path}: expected a network that runs, got {reason}; do not use this "
            f"bundle"
        )

    def _raise_wrong(self, answer: str) -> NoReturn:
        """Raise the error of a process that answers what no network of the kit does."""
        raise ArtefactError(
            f"{self._path}: expected a network that runs, got the answer {answer}; do not "
            f"use this bundle"
        )
