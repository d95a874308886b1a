"""The parts of an embedder: networks, and visual words of local features."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kaggle_kit import config
from kaggle_kit.backends.base import INT8, VIEWS, Engine, Image
from kaggle_kit.data.decode_threads import DecodeThreads
from kaggle_kit.errors import ArtefactError
from kaggle_kit.local_features.extract import LocalReader
from kaggle_kit.local_features.vlad import Vocabulary, vlad
from kaggle_kit.retrieval.whitening import Whitening
from kaggle_kit.storage.arrays import require_lengths, require_range
from kaggle_kit.storage.manifest import MANIFEST

logger = logging.getLogger(__name__)
# Range of a network's outputs. Embeddings have unit length, in float16 about that; zero is
# an image without any feature. Class scores are logarithms of probabilities.
LONGEST = 1.1
LOG_PROBABILITY = -1e6, 0.1


class Part(Protocol):
    """One way to embed an image.

    Attributes:
        whitening: applied to its vectors by the embedder, or None.
        width: length of its vectors before whitening.
        n_classes: number of class scores; 0 without a head.
        views: the functions of ``VIEWS`` that it has, the most expensive first.
    """

    whitening: Whitening | None
    width: int
    n_classes: int
    views: Sequence[str]

    def read(self, images: Sequence[Image]) -> tuple[NDArray[np.int64], Any]:
        """Decode images.

        Returns:
            (b,) positions of the images that decode, and the inputs of ``embed``.
        """

    def embed(self, inputs: Any, view: str) -> tuple[NDArray[np.float32], ...]:
        """Compute vectors before whitening, (b, d), and class scores, (b, C)."""

    def close(self) -> None:
        """Stop the threads."""


class Network:
    """A ``Part`` that is an exported network, a SavedModel or a LiteRT file.

    Attributes:
        path: the file or folder that it was read from.
        side: height and width of its input images, in pixels.
    """

    def __init__(self, path: Path, engine: Engine, mixed_precision: bool = False):
        """Load the network.

        Args:
            engine: decodes images and runs the network.

        Raises:
            ArtefactError: the network is missing or damaged.
        """
        self.path = path
        self.engine = engine
        self.runner = engine.load_runner(path, mixed_precision)
        self.side = self.runner.side
        self.width, self.n_classes = self.runner.width, self.runner.n_classes
        self.whitening: Whitening | None = None
        self.views = self.runner.views
        self._decoders = DecodeThreads(engine.deadline, engine.n_threads)

    def read(self, images: Sequence[Image]) -> tuple[NDArray[np.int64], Any]:
        """Decode images to (b, side, side, 3) uint8."""
        results = self._decoders.map(
            lambda image: self.engine.decode(image, self.side), images
        )
        positions = [i for i, pixels in enumerate(results) if pixels is not None]
        pixels = np.empty((len(positions), self.side, self.side, 3), np.uint8)
        for row, i in enumerate(positions):
            pixels[row] = results[i]
        return np.array(positions, np.int64), pixels

    def embed(self, inputs: Any, view: str) -> tuple[NDArray[np.float32], ...]:
        """Run the network.

        An image whose outputs are not finite or out of range, as where float16 overflows,
        gets a vector of zeros, as one without any feature, and even class scores.

        Raises:
            ArtefactError: all images have such outputs, so the weights are damaged, or the
                training has diverged.
        """
        outputs = self.runner.start(inputs, view)()
        no_scores = np.empty((len(inputs), 0), np.float32)
        vectors, scores = (
            outputs["embedding"],
            outputs.get("log_probability", no_scores),
        )
        try:
            require_lengths("embedding", vectors, 0, LONGEST)
            require_range("log_probability", scores, *LOG_PROBABILITY)
        except ValueError as error:
            is_bad = ~_are_right(vectors, scores)
            if is_bad.all():
                raise ArtefactError(
                    f"{self.path}: expected a network with embeddings of unit length and "
                    f"finite class scores, got {error}; check its training, and make the "
                    f"bundle again"
                ) from None
            logger.warning("%s: no embedding of %d images", self.path, is_bad.sum())
            vectors = np.where(is_bad[:, None], np.float32(0), vectors)
            even = np.float32(-math.log(max(1, self.n_classes)))
            scores = np.where(is_bad[:, None], even, scores)
        return vectors, scores

    def close(self) -> None:
        """Stop the threads."""
        self._decoders.close()
        self.runner.close()


def _are_right(
    vectors: NDArray[np.float32], scores: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Whether the outputs of each image are finite and in range, (b,)."""
    low, high = LOG_PROBABILITY
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    is_in_range = ((scores >= low) & (scores <= high)).all(axis=1)
    return (lengths <= LONGEST) & is_in_range


class VisualWords:
    """A ``Part`` that computes VLAD vectors of local features, with a vocabulary."""

    def __init__(self, vocabulary: NDArray[np.float32], reader: LocalReader):
        self.vocabulary = vocabulary
        self.reader = reader
        self.whitening: Whitening | None = None
        self.width, self.n_classes = vocabulary.size, 0
        self.views: Sequence[str] = VIEWS[:1]

    def read(self, images: Sequence[Image]) -> tuple[NDArray[np.int64], Any]:
        """Detect the local features of images."""
        results = self.reader.read(images)
        positions = [i for i, features in enumerate(results) if features is not None]
        return np.array(positions, np.int64), [results[i] for i in positions]

    def embed(self, inputs: Any, view: str) -> tuple[NDArray[np.float32], ...]:
        """Aggregate the features of each image into one vector."""
        vectors = [vlad(features.descriptors, self.vocabulary) for features in inputs]
        return np.stack(vectors), np.empty((len(vectors), 0), np.float32)

    def close(self) -> None:
        """Do nothing: there are no threads."""


def load_parts(
    folder: Path,
    settings: config.Recognition,
    reader: LocalReader,
    names: Collection[str],
) -> list[Part]:
    """Load the parts of a bundle's embedder.

    ``embedders/`` has a folder for each run with its ``config.json``, its network and its
    ``words.npy``; the last two may be absent, and each may have a whitening. With
    ``recognition.int8``, the network is ``model.int8.tflite``, otherwise the first of those
    of the reader's engine.

    Args:
        names: the files of the bundle; no other file is read.

    Raises:
        ArtefactError: a part is damaged, or the folder of a SavedModel has a file that is
            not of the bundle.
    """
    parts: list[Part] = []
    engine = reader.engine
    networks = (INT8,) if settings.int8 else engine.networks
    for run, entries in _list_runs(names).items():
        place = folder / "embedders" / run
        network = next((name for name in networks if name in entries), None)
        if network:
            _check_network(place / network, folder, names)
            whitening = _load_whitening(place, "model", entries, settings.whiten)
            # The network last, since loading it takes seconds
            parts.append(Network(place / network, engine, settings.mixed_precision))
            _set_whitening(parts[-1], whitening, place)
        if "words.npy" in entries:
            words = Vocabulary.load(place / "words.npy").words
            parts.append(VisualWords(words, reader))
            whitening = _load_whitening(place, "words", entries, settings.whiten)
            _set_whitening(parts[-1], whitening, place)
    return parts


def _load_whitening(
    place: Path, kind: str, entries: Collection[str], dimensions: int | None
) -> Whitening | None:
    """The whitening of a network or of visual words, if the bundle has it."""
    name = f"{kind}.whitening.npz"
    return Whitening.load(place / name, dimensions) if name in entries else None


def _set_whitening(part: Part, whitening: Whitening | None, place: Path) -> None:
    """Set the whitening of a part, if it is one of vectors of that width."""
    if whitening and len(whitening.mean) != part.width:
        raise ArtefactError(
            f"{place}: expected a whitening of {part.width} dimensions, as the embedding "
            f"has, got one of {len(whitening.mean)}; make the bundle again"
        )
    part.whitening = whitening


def _list_runs(names: Iterable[str]) -> dict[str, set[str]]:
    """The files and folders in each folder of ``embedders/``, by its name, in order.

    >>> _list_runs(["embedders/0/model/saved_model.pb", "config.json"])
    {'0': {'model'}}
    """
    runs: dict[str, set[str]] = {}
    for name in names:
        top, _, rest = name.partition("/")
        run, _, entry = rest.partition("/")
        if top == "embedders" and entry:
            runs.setdefault(run, set()).add(entry.partition("/")[0])
    return {run: runs[run] for run in sorted(runs)}


def _check_network(path: Path, folder: Path, names: Collection[str]) -> None:
    """Refuse a SavedModel with files that are not of the bundle.

    TensorFlow itself chooses what it reads in the folder of a SavedModel.
    """
    for file in sorted(path.rglob("*")):
        if file.is_file() and file.relative_to(folder).as_posix() not in names:
            raise ArtefactError(
                f"{file}: expected only files of the bundle in the folder of a network, "
                f"got one that {MANIFEST} does not list; remove it"
            )
