"""What decodes photos and runs networks, so that what is made of both is the same.

A kernel has TensorFlow (``backends.tensorflow``); the app has Pillow and LiteRT
(``backends.pillow``), which take a tenth of the room.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Outputs = dict[str, NDArray[np.float32]]
# The networks of an embedder's folder: for TensorFlow, for LiteRT, and for both.
MODEL, LITE, INT8 = "model", "model.tflite", "model.int8.tflite"
WAYS = ("serve", "one", "small")  # functions of a SavedModel, see model.export


class Runner(Protocol):
    """A network that runs.

    Attributes:
        side: that of the photos it takes, in pixels.
        has_head: whether its outputs have ``log_probability``.
        ways: of ``WAYS``, the functions it has, from the most work to the least.
    """

    side: int
    has_head: bool
    ways: Sequence[str]

    def start(
        self, pixels: NDArray[np.uint8], way: str = WAYS[0]
    ) -> Callable[[], Outputs]:
        """Begin with (b, side, side, 3) photos; what is returned waits for the outputs."""


class Engine(Protocol):
    """Photos as pixels, and networks that run.

    Attributes:
        network: the name, in an embedder's folder, of a network in floats.
    """

    network: str

    def squashed(
        self, paths: Sequence[Path], side: int, batch_size: int
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
        """As ``decode.photos``: ((b,) places, (b, side, side, 3)) that decode, in order."""

    def whole(
        self, paths: Sequence[Path]
    ) -> Iterator[tuple[int | np.integer, NDArray[np.uint8]]]:
        """(place, (h, w, 3)) of the photos that decode, in order."""

    def runner(self, path: Path, mixed_precision: bool) -> Runner:
        """What runs a network.

        Raises:
            ArtefactError: there is no readable network.
        """
