"""From images to unit vectors: by networks, by visual words, and by several together."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kaggle_kit import config
from kaggle_kit.backends.base import INT8, Image
from kaggle_kit.errors import ArtefactError
from kaggle_kit.inference.embedder_parts import Network, Part, VisualWords
from kaggle_kit.inference.time_budget import Level, Rates
from kaggle_kit.local_features.extract import LocalReader
from kaggle_kit.local_features.vlad import Vocabulary
from kaggle_kit.progress import progress
from kaggle_kit.retrieval.whitening import Whitening, normalise


class Embeddings(NamedTuple):
    """The embeddings of images that decode.

    positions: (b,) of them among the images that were asked for.
    vectors: (b, d) float32, unit length; 0 in the place of a part that was left out.
    log_probability: (b, C) float32 class scores; C is 0 where no network has a head.
    parts: (b, p) whether each part embedded each image; all do unless time is short.
    """

    positions: NDArray[np.int64]
    vectors: NDArray[np.float32]
    log_probability: NDArray[np.float32]
    parts: NDArray[np.bool_]

    def select(self, rows: Any) -> Embeddings:
        """Some of the images: a slice, or an array of rows."""
        return Embeddings._make(values[rows] for values in self)


class Embedder:
    """The parts of a bundle as one: each whitened, then weighted and side by side.

    Each part's vector is multiplied by the root of its weight before they are joined, so
    that a cosine is the weighted mean of the parts' cosines. Class scores are averaged by
    the same weights. It may be used from several threads.

    Attributes:
        levels: ways to embed, the most expensive first; see ``levels_of``.
        rates: seconds per image of each part and view, measured all along.
    """

    def __init__(self, parts: Sequence[Part], settings: config.Recognition):
        self.parts = parts
        self.settings = settings
        self.levels = levels_of(parts, settings)
        keys = {(i, view) for i, part in enumerate(parts) for view in part.views}
        self.rates = Rates({key: settings.pixels[key[1]] for key in keys})
        self._lock = threading.Lock()
        self._reader = ThreadPoolExecutor(1)  # decodes the next batch
        self._next: dict[int, tuple[list[Image], Future[Any]]] = {}

    @property
    def weights(self) -> tuple[float, ...]:
        """The weight of each part."""
        return self.settings.weights or (1.0,) * len(self.parts)

    @property
    def widths(self) -> list[int]:
        """The numbers that each part adds to a vector."""
        return [
            p.whitening.matrix.shape[1] if p.whitening else p.width for p in self.parts
        ]

    def embed(
        self,
        images: Sequence[Image],
        level: Level | None = None,
        upcoming: Sequence[Image] = (),
    ) -> Embeddings:
        """Embed a batch.

        Args:
            level: which parts, and which of their views; None: the first of ``levels``.
            upcoming: the batch to be asked for next: it is decoded meanwhile.
        """
        return self.join(self._outputs(images, level or self.levels[0], upcoming))

    def embed_all(self, images: Sequence[Image], label: str) -> Embeddings:
        """Embed any number of images, batch by batch, with progress."""
        return concatenated([self.join(b) for b in self._batches(images, label)])

    def embed_by_part(self, images: Sequence[Image], label: str) -> list[Embeddings]:
        """What each part gives of any number of images."""
        batches = list(self._batches(images, label))
        return [concatenated([b[i] for b in batches]) for i in range(len(self.parts))]

    def join(self, by_part: Mapping[int, Embeddings]) -> Embeddings:
        """Join what some of the parts give of the same images."""
        if len(by_part) == len(self.parts):
            return joined(list(by_part.values()), self.weights)
        return self._joined_with_gaps(by_part)

    def close(self) -> None:
        """Stop the threads."""
        self._reader.shutdown()
        for part in self.parts:
            part.close()

    def _batches(
        self, images: Sequence[Image], label: str
    ) -> Iterator[dict[int, Embeddings]]:
        with progress(total=len(images), label=label) as bar:
            for start, batch, upcoming in batches(images, self.settings.batch_size):
                outputs = self._outputs(batch, self.levels[0], upcoming)
                bar.update(len(batch))
                yield {
                    i: e._replace(positions=e.positions + start)
                    for i, e in outputs.items()
                }

    def _outputs(
        self, images: Sequence[Image], level: Level, upcoming: Sequence[Image]
    ) -> dict[int, Embeddings]:
        """What each part of a level gives."""
        outputs = {}
        with self._lock:
            for i, view in level.uses:
                start = time.monotonic()
                index, inputs = self._read(i, images)
                if upcoming:
                    future = self._reader.submit(self.parts[i].read, upcoming)
                    self._next[i] = list(upcoming), future
                vectors, scores = self._embedded(i, view, inputs, len(index))
                self.rates.add((i, view), len(images), time.monotonic() - start)
                seen = np.ones((len(index), 1), np.bool_)
                raw = Embeddings(index, vectors, scores, seen)
                outputs[i] = whitened(raw, self.parts[i].whitening)
        return outputs

    def _read(self, i: int, images: Sequence[Image]) -> tuple[NDArray[np.int64], Any]:
        """A part's inputs, which are ready if the images were announced."""
        announced, future = self._next.pop(i, (None, None))
        if future is not None and announced == list(images):
            result: tuple[NDArray[np.int64], Any] = future.result()
            return result
        return self.parts[i].read(images)

    def _embedded(
        self, i: int, view: str, inputs: Any, n: int
    ) -> tuple[NDArray[np.float32], ...]:
        part = self.parts[i]
        if n:
            return part.embed(inputs, view)
        widths = part.width, part.n_classes
        return tuple(np.empty((0, width), np.float32) for width in widths)

    def _joined_with_gaps(self, by_part: Mapping[int, Embeddings]) -> Embeddings:
        """Join what some of the parts give, with 0 in the place of the others.

        A vector is so long that its product with a unit vector of all parts is the
        weighted mean of the cosines of the parts that are present::

            x_i -> sqrt(w_i) sqrt(W) / W_present x_i,   W the sum of all weights

        Without a head among them all classes are equally probable.
        """
        weights, widths = self.weights, self.widths
        present = sum(weights[i] for i in by_part) or 1.0
        first = next(iter(by_part.values()))
        n = len(first.positions)
        blocks = [
            weights[i] ** 0.5 * sum(weights) ** 0.5 / present * by_part[i].vectors
            if i in by_part
            else np.zeros((n, width), np.float32)
            for i, width in enumerate(widths)
        ]
        n_classes = max(part.n_classes for part in self.parts)
        scores = np.full((n, n_classes), -np.log(max(n_classes, 1)), np.float32)
        heads = [i for i in by_part if self.parts[i].n_classes]
        total = sum(weights[i] for i in heads)
        if total:
            logs = [weights[i] / total * by_part[i].log_probability for i in heads]
            scores = np.sum(logs, axis=0, dtype=np.float32)
        seen = np.zeros((n, len(widths)), np.bool_)
        seen[:, list(by_part)] = True
        vectors = np.concatenate(blocks, axis=1).astype(np.float32)
        return Embeddings(first.positions, vectors, scores, seen)


def batches(
    images: Sequence[Image], size: int
) -> Iterator[tuple[int, Sequence[Image], Sequence[Image]]]:
    """Where each batch begins, the batch, and the one after it."""
    for start in range(0, len(images), size):
        end = start + size
        yield start, images[start:end], images[end : end + size]


def whitened(embeddings: Embeddings, whitening: Whitening | None) -> Embeddings:
    """The same images, their vectors whitened if there is a whitening."""
    if whitening is None:
        return embeddings
    return embeddings._replace(vectors=whitening(embeddings.vectors))


def joined(by_part: Sequence[Embeddings], weights: Sequence[float]) -> Embeddings:
    """Join what all parts give of the same images; without weights they count alike."""
    weights = weights or (1.0,) * len(by_part)
    pairs = list(zip(weights, by_part, strict=True))
    vectors = normalise(np.concatenate([w**0.5 * e.vectors for w, e in pairs], axis=1))
    heads = [(w, e.log_probability) for w, e in pairs if e.log_probability.shape[1]]
    scores = np.empty((len(vectors), 0), np.float32)
    if heads:
        total = sum(w for w, _ in heads) or 1.0
        scores = np.sum([w / total * x for w, x in heads], axis=0, dtype=np.float32)
    seen = np.ones((len(vectors), len(by_part)), np.bool_)
    return Embeddings(by_part[0].positions, vectors, scores, seen)


def concatenated(embeddings: Sequence[Embeddings]) -> Embeddings:
    """Several batches as one; of no width when there are none."""
    if not embeddings:
        nothing = np.empty((0, 0), np.float32)
        return Embeddings(
            np.empty(0, np.int64), nothing, nothing, np.empty((0, 0), np.bool_)
        )
    return Embeddings._make(np.concatenate(c) for c in zip(*embeddings, strict=True))


def levels_of(parts: Sequence[Part], settings: config.Recognition) -> list[Level]:
    """Ways to embed: drop views first, then parts from the last on, then the size.

    The first part with a weight always stays, and so does the first with class scores if
    the ranking is by these.
    """
    everything = tuple((i, part.views[0]) for i, part in enumerate(parts))
    one_view = tuple(
        (i, "one" if "one" in part.views else part.views[0])
        for i, part in enumerate(parts)
    )
    levels = [Level("", everything)]
    if one_view != everything:
        levels.append(Level("views", one_view))
    levels += [
        Level("embedders", one_view[:n])
        for n in range(len(parts) - 1, _fewest(parts, settings) - 1, -1)
    ]
    small = tuple(
        (i, "small" if "small" in parts[i].views else view)
        for i, view in levels[-1].uses
    )
    if small != levels[-1].uses:
        levels.append(Level("size", small))
    return levels


def _fewest(parts: Sequence[Part], settings: config.Recognition) -> int:
    """How many of the first parts must stay."""
    weights = settings.weights or (1.0,) * len(parts)
    by_head = settings.ranking == "head"
    pairs = enumerate(zip(parts, weights, strict=True), 1)
    useful = (n for n, (part, w) in pairs if w and (part.n_classes or not by_head))
    return next(useful, len(parts))


def load_embedder(
    folder: Path, settings: config.Recognition, reader: LocalReader
) -> Embedder:
    """Load the embedder of a bundle.

    ``embedders/`` has a folder for each run: its ``config.json`` and, each with its
    whitening if it has one, the network and ``words.npy``. With ``recognition.int8`` the
    network is ``model.int8.tflite``, else the one that the engine of the reader can run.

    Raises:
        ArtefactError: a part is missing or damaged, or there are more weights than parts.
    """
    parts: list[Part] = []
    engine = reader.engine
    name = INT8 if settings.int8 else engine.network
    for run in sorted((folder / "embedders").glob("*")):
        if (run / name).exists():
            parts.append(Network(run / name, engine, settings.mixed_precision))
            parts[-1].whitening = _whitening(run / "model.whitening.npz")
        if (run / "words.npy").exists():
            words = Vocabulary.load(run / "words.npy").words
            parts.append(VisualWords(words, reader))
            parts[-1].whitening = _whitening(run / "words.whitening.npz")
    if not parts or len(settings.weights) not in (0, len(parts)):
        raise ArtefactError(
            f"{folder}: expected an embedder for each of recognition.weights "
            f"{settings.weights}, got {len(parts)}; make the bundle again"
        )
    return Embedder(parts, settings)


def _whitening(path: Path) -> Whitening | None:
    return Whitening.load(path) if path.exists() else None
