"""The interface of engines, which decode images and run networks.

A kernel uses TensorFlow (``backends.tensorflow``); the app uses Pillow and LiteRT
(``backends.pillow``), which take a tenth of the disk space. Both give the same pixels.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.data.decode_threads import Deadline

Outputs = dict[str, NDArray[np.float32]]
# Networks in an embedder's folder: a SavedModel for TensorFlow, a LiteRT file in floats
# for the app, and a LiteRT file in 8-bit integers for both.
MODEL, LITE, INT8 = "model", "model.tflite", "model.int8.tflite"
VIEWS = ("serve", "one", "small")  # functions of a SavedModel, see model.export


class MemoryImage(Protocol):
    """An image in memory: an upload, an array or a PIL image."""

    def pixels(self, side: int | None = None) -> NDArray[np.uint8]:
        """Decode the image, (h, w, 3).

        Args:
            side: the image may be reduced, but not below this height or width.

        Raises:
            DataError: the image does not decode.
        """


Image = Path | MemoryImage


class Runner(Protocol):
    """A network that is loaded and ready to run.

    Attributes:
        side: height and width of its input images, in pixels.
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
        """Start inference for (b, side, side, 3) images.

        Returns:
            A function that waits for the outputs and returns them.
        """

    def close(self) -> None:
        """Stop the threads."""


class Engine(Protocol):
    """Decodes images and loads networks.

    Attributes:
        networks: names of the network in floats in an embedder's folder; the first that is
            there is taken.
        loader: the function that loads a network without the engine, as
            ``module:function``; its arguments are those of ``load_runner``.
        n_threads: how many images to decode at the same time.
        deadline: how long whoever calls ``decode`` in a thread waits for it.
    """

    networks: Sequence[str]
    loader: str
    n_threads: int
    deadline: Deadline

    def decode(self, image: Image, side: int | None = None) -> NDArray[np.uint8] | None:
        """Decode an image, or return None if it is missing or damaged.

        Args:
            side: resize to a square of this side; None keeps the size.
        """

    def load_runner(self, path: Path, mixed_precision: bool) -> Runner:
        """Load a network.

        Args:
            mixed_precision: compute in float16 on GPUs where it is safe.

        Raises:
            ArtefactError: the network is missing or damaged.
        """
