"""The engine of the app: images by Pillow and NumPy, networks by LiteRT."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.backends.base import LITE, Image, Runner
from kaggle_kit.backends.images import decode_memory
from kaggle_kit.backends.litert_package import load_runner
from kaggle_kit.backends.uploads import read_upload
from kaggle_kit.data.decode_threads import Deadline
from kaggle_kit.errors import DataError


class LightEngine:
    """An ``Engine`` without TensorFlow, which gives the same pixels."""

    networks: Sequence[str] = (LITE,)
    loader = "kaggle_kit.backends.litert_package:load_runner"
    n_threads = 1  # a thread does not return all of its memory to the system

    def __init__(self) -> None:
        self.deadline = Deadline()

    def decode(self, image: Image, side: int | None = None) -> NDArray[np.uint8] | None:
        """Decode an image, or return None if it is missing or damaged."""
        if isinstance(image, Path):
            try:
                image = read_upload(image)
            except (DataError, OSError):
                return None
        return decode_memory(image, side)

    def load_runner(self, path: Path, mixed_precision: bool) -> Runner:
        """Load a network; see ``litert_package.load_runner``."""
        return load_runner(path)
