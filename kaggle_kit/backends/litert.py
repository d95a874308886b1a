"""Run a LiteRT file, by whichever package has an interpreter."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.backends.base import VIEWS, Outputs
from kaggle_kit.errors import ArtefactError

SIGNATURE = "serving_default"


class Lite:
    """A LiteRT file: one photo a thread, each with an interpreter of its own.

    Of the ways to use all cores for many photos this is the fastest or as fast as any:
    one interpreter with many threads has them wait for each other in every layer.
    """

    def __init__(
        self,
        path: Path,
        interpreter: Callable[[str], Any],
        n_threads: int = os.cpu_count() or 1,
    ):
        """Load the file.

        Args:
            interpreter: makes one from the file's name.

        Raises:
            ArtefactError: it is no LiteRT file.
        """
        try:
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
            reason = " ".join(str(error).split())[:200]
            raise ArtefactError(
                f"{path}: expected a LiteRT file, got {reason}; make the bundle again"
            ) from None
        self.views: Sequence[str] = VIEWS[:1]
        self._idle: SimpleQueue[Any] = SimpleQueue()
        for runner in runners:
            self._idle.put(runner)
        self._threads = ThreadPoolExecutor(n_threads)

    def start(
        self, pixels: NDArray[np.uint8], view: str = VIEWS[0]
    ) -> Callable[[], Outputs]:
        """Begin with (b, side, side, 3) photos; what is returned waits for the outputs."""
        photos = [pixels[i : i + 1] for i in range(len(pixels))]
        running = [self._threads.submit(self._run, photo) for photo in photos]
        return lambda: joined_outputs([future.result() for future in running])

    def close(self) -> None:
        """Stop the threads."""
        self._threads.shutdown()

    def _run(self, photo: NDArray[np.uint8]) -> Outputs:
        runner = self._idle.get()
        try:
            outputs: Outputs = runner(images=photo)
            return outputs
        finally:
            self._idle.put(runner)


def joined_outputs(parts: Sequence[Outputs]) -> Outputs:
    """What was said of some photos after the other, as of all of them."""
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
