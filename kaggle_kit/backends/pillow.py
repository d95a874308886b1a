"""Images by Pillow and NumPy, networks by LiteRT: what the app has for TensorFlow."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.backends.base import LITE, Image, Runner
from kaggle_kit.backends.images import decode_memory
from kaggle_kit.backends.litert import Lite
from kaggle_kit.backends.uploads import Photo
from kaggle_kit.errors import DataError, KitError

THREADS = 2  # for one image; a free host has no more cores


class LightEngine:
    """An ``Engine`` without TensorFlow, which gives the same pixels."""

    network = LITE
    n_threads = 1  # each thread keeps some of the memory that it has used

    def decode(self, image: Image, side: int | None = None) -> NDArray[np.uint8] | None:
        """Decode an image, or return None if it is missing or damaged."""
        if isinstance(image, Path):
            try:
                image = Photo(image.name, image.read_bytes())
            except (DataError, OSError):
                return None
        return decode_memory(image, side)

    def runner(self, path: Path, mixed_precision: bool) -> Runner:
        """Load a network; mixed precision is for GPUs and means nothing here.

        Raises:
            ArtefactError: it is no LiteRT file.
            KitError: LiteRT is not installed.
        """
        return Lite(path, _interpreter(), 1)


def _interpreter() -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:  # also if TensorFlow has been loaded before it
        raise KitError(
            f"app: expected LiteRT, got {error}; pip install 'kaggle-kit[app]'"
        ) from None
    return lambda path: Interpreter(path, num_threads=THREADS)
