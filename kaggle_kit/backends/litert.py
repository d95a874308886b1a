"""Run LiteRT files, with the interpreter of TensorFlow or of the LiteRT package."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.backends.base import VIEWS, Outputs
from kaggle_kit.backends.litert_check import SIGNATURE, check_lite
from kaggle_kit.errors import ArtefactError


class LiteRunner:
    """A ``Runner`` of a LiteRT file: one image per thread, one interpreter per thread.

    This is the fastest way to use all cores for many images. The threads of a single
    interpreter would wait for each other in every layer.
    """

    def __init__(
        self,
        path: Path,
        interpreter: Callable[[str], Any],
        n_threads: int = os.cpu_count() or 1,
    ):
        """Load the file.

        Args:
            interpreter: creates an interpreter of the file with the given name.

        Raises:
            ArtefactError: the file is missing or damaged, or ``check_lite`` refuses it.
        """
        self._path = path
        try:
            check_lite(path)
            runners = [
                interpreter(str(path)).get_signature_runner(SIGNATURE)
                for _ in range(n_threads)
            ]
            self.side = int(runners[0].get_input_details()["images"]["shape"][1])
            outputs = runners[0].get_output_details()
            widths = {name: int(o["shape"][1]) for name, o in outputs.items()}
            self.width = widths["embedding"]
            self.n_classes = widths.get("log_probability", 0)
        except (OSError, ValueError, TypeError, RuntimeError, LookupError) as error:
            raise ArtefactError(
                f"{path}: expected a LiteRT file, got {_reason(error)}; make the bundle "
                f"again"
            ) from None
        self.views: Sequence[str] = VIEWS[:1]
        self._idle: SimpleQueue[Any] = SimpleQueue()
        for runner in runners:
            self._idle.put(runner)
        self._threads = ThreadPoolExecutor(n_threads)

    def start(
        self, pixels: NDArray[np.uint8], view: str = VIEWS[0]
    ) -> Callable[[], Outputs]:
        """See ``Runner.start``.

        Raises:
            ArtefactError: the interpreter cannot run the network. The returned function
                raises it.
        """
        images = [pixels[i : i + 1] for i in range(len(pixels))]
        futures = [self._threads.submit(self._run, image) for image in images]
        return lambda: concatenate_outputs([future.result() for future in futures])

    def close(self) -> None:
        """Stop the threads."""
        self._threads.shutdown()

    def _run(self, image: NDArray[np.uint8]) -> Outputs:
        runner = self._idle.get()
        try:
            outputs: Outputs = runner(images=image)
            return outputs
        except (ValueError, RuntimeError) as error:  # the runtime's own checks
            raise ArtefactError(
                f"{self._path}: expected a network that runs, got {_reason(error)}; do "
                f"not use this bundle"
            ) from None
        finally:
            self._idle.put(runner)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def concatenate_outputs(batches: Sequence[Outputs]) -> Outputs:
    """Concatenate the outputs of several batches."""
    if len(batches) == 1:
        return batches[0]
    return {name: np.concatenate([b[name] for b in batches]) for name in batches[0]}
