"""The engine of the app: images by Pillow and NumPy, networks by LiteRT."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.backends.base import LITE, Image, Runner
from kaggle_kit.backends.images import decode_memory
from kaggle_kit.backends.litert import LiteRunner
from kaggle_kit.backends.uploads import CheckedImage
from kaggle_kit.errors import DataError, KitError

THREADS = 2  # per image; a free host has no more cores


class LightEngine:
    """An ``Engine`` without TensorFlow, which gives the same pixels."""

    networks: Sequence[str] = (LITE,)
    n_threads = 1  # a thread does not return all of its memory to the system

    def decode(self, image: Image, side: int | None = None) -> NDArray[np.uint8] | None:
        """Decode an image, or return None if it is missing or damaged."""
        if isinstance(image, Path):
            try:
                image = CheckedImage(image.name, image.read_bytes())
            except (DataError, OSError):
                return None
        return decode_memory(image, side)

    def load_runner(self, path: Path, mixed_precision: bool) -> Runner:
        """Load a network; ``mixed_precision`` is ignored, since it is for GPUs.

        Raises:
            ArtefactError: the LiteRT file is missing or damaged.
            KitError: LiteRT is not installed.
        """
        return LiteRunner(path, _load_interpreter_class(), 1)


def _load_interpreter_class() -> Any:
    """A function that creates an interpreter of the file with the given name."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:  # also if TensorFlow was imported first
        raise KitError(
            f"app: expected LiteRT, got {error}; install it with pip install "
            f"'kaggle-kit[app]'"
        ) from None
    return lambda path: Interpreter(path, num_threads=THREADS)
