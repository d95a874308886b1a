"""The interface between the kit and what decodes images and runs networks.

A kernel has TensorFlow (``backends.tensorflow``); the app has Pillow and LiteRT
(``backends.pillow``), which take a tenth of the room. Both give the same pixels.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Outputs = dict[str, NDArray[np.float32]]
# The networks in an embedder's folder: for TensorFlow, for LiteRT, and for both.
MODEL, LITE, INT8 = "model", "model.tflite", "model.int8.tflite"
VIEWS = ("serve", "one", "small")  # functions of a SavedModel, see model.export


class MemoryImage(Protocol):
    """An image that is not a file: an upload, an array, a PIL image."""

    def pixels(self, side: int | None = None) -> NDArray[np.uint8]:
        """The pixels, (h, w, 3).

        Args:
            side: a decoder may reduce the image, but not below this height or width.

        Raises:
            DataError: the image does not decode.
        """


Image = Path | MemoryImage


class Runner(Protocol):
    """A network that runs.

    Attributes:
        side: height and width of the images that it takes, in pixels.
        width: length of an embedding.
        n_classes: number of class scores; 0 without a head.
        views: the functions of ``VIEWS`` that it has, the most expensive first.
    """

    side: int
    width: int
    n_classes: int
    views: Sequence[str]

    def start(
        self, pixels: NDArray[np.uint8], view: str = VIEWS[0]
    ) -> Callable[[], Outputs]:
        """Start on (b, side, side, 3) images; the returned function waits for outputs."""

    def close(self) -> None:
        """Stop the threads."""


class Engine(Protocol):
    """Decodes images and loads networks.

    Attributes:
        network: file name, in an embedder's folder, of a network in floats.
        n_threads: how many images to decode at the same time.
    """

    network: str
    n_threads: int

    def decode(self, image: Image, side: int | None = None) -> NDArray[np.uint8] | None:
        """Decode an image, or return None if it is missing or damaged.

        Args:
            side: resize to a square of this side; None keeps the size.
        """

    def runner(self, path: Path, mixed_precision: bool) -> Runner:
        """Load a network.

        Raises:
            ArtefactError: there is no readable network.
        """
