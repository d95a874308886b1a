"""The parts of an embedder: networks, and visual words of local features."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.backends.base import VIEWS, Engine, Image
from kaggle_kit.local_features.extract import LocalReader
from kaggle_kit.local_features.vlad import vlad
from kaggle_kit.retrieval.whitening import Whitening


class Part(Protocol):
    """One way to embed an image.

    Attributes:
        whitening: what its vectors go through, or None.
        width: length of its vectors before that.
        n_classes: number of class scores; 0 without a head.
        views: ways to look at an image, the most expensive first.
    """

    whitening: Whitening | None
    width: int
    n_classes: int
    views: Sequence[str]

    def read(self, images: Sequence[Image]) -> tuple[NDArray[np.int64], Any]:
        """Decode images: positions of those that decode, and what ``embed`` takes."""

    def embed(self, inputs: Any, view: str) -> tuple[NDArray[np.float32], ...]:
        """Vectors and class scores, (b, d) and (b, C), before whitening."""

    def close(self) -> None:
        """Stop the threads."""


class Network:
    """A network that left training, as a SavedModel or as a LiteRT file; a ``Part``.

    Attributes:
        side: height and width of the images that it takes, in pixels.
    """

    def __init__(self, path: Path, engine: Engine, mixed_precision: bool = False):
        """Load the network.

        Args:
            engine: decodes its images and runs it.

        Raises:
            ArtefactError: the network is missing or damaged.
        """
        self.engine = engine
        self.runner = engine.load_runner(path, mixed_precision)
        self.side = self.runner.side
        self.width, self.n_classes = self.runner.width, self.runner.n_classes
        self.whitening: Whitening | None = None
        self.views = self.runner.views
        self._decoders: ThreadPoolExecutor | None = None
        if engine.n_threads > 1:
            self._decoders = ThreadPoolExecutor(engine.n_threads)

    def read(self, images: Sequence[Image]) -> tuple[NDArray[np.int64], Any]:
        """Decode images to (b, side, side, 3)."""
        many = self._decoders.map if self._decoders else map
        decoded = list(many(lambda image: self.engine.decode(image, self.side), images))
        index = [i for i, pixels in enumerate(decoded) if pixels is not None]
        pixels = np.empty((len(index), self.side, self.side, 3), np.uint8)
        for row, i in enumerate(index):
            pixels[row] = decoded[i]
        return np.array(index, np.int64), pixels

    def embed(self, inputs: Any, view: str) -> tuple[NDArray[np.float32], ...]:
        """Run the network."""
        outputs = self.runner.start(inputs, view)()
        no_scores = np.empty((len(inputs), 0), np.float32)
        return outputs["embedding"], outputs.get("log_probability", no_scores)

    def close(self) -> None:
        """Stop the threads."""
        if self._decoders:
            self._decoders.shutdown()
        self.runner.close()


class VisualWords:
    """VLAD of local features, by a vocabulary; a ``Part``."""

    def __init__(self, vocabulary: NDArray[np.float32], reader: LocalReader):
        self.vocabulary = vocabulary
        self.reader = reader
        self.whitening: Whitening | None = None
        self.width, self.n_classes = vocabulary.size, 0
        self.views: Sequence[str] = VIEWS[:1]

    def read(self, images: Sequence[Image]) -> tuple[NDArray[np.int64], Any]:
        """Detect the local features of images."""
        features = self.reader.read(images)
        index = [i for i, one in enumerate(features) if one is not None]
        return np.array(index, np.int64), [one for one in features if one is not None]

    def embed(self, inputs: Any, view: str) -> tuple[NDArray[np.float32], ...]:
        """Gather the features of each image into one vector."""
        vectors = [vlad(features.descriptors, self.vocabulary) for features in inputs]
        return np.stack(vectors), np.empty((len(vectors), 0), np.float32)

    def close(self) -> None:
        """Nothing was started."""
