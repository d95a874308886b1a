"""From images to unit vectors, by one or several networks or visual words."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kaggle_kit import config
from kaggle_kit.backends.base import Image
from kaggle_kit.data.decode_threads import Deadline
from kaggle_kit.errors import ArtefactError
from kaggle_kit.inference.embedder_parts import Part, load_parts
from kaggle_kit.inference.levels import build_levels
from kaggle_kit.inference.time_budget import Level, Rates
from kaggle_kit.local_features.extract import LocalReader
from kaggle_kit.progress import progress
from kaggle_kit.retrieval.whitening import Whitening, normalise
from kaggle_kit.storage.manifest import upload_names


class Embeddings(NamedTuple):
    """The embeddings of the images that decode.

    positions: (b,) of these images in the input.
    vectors: (b, d) float32, unit length; the columns of a part that did not run are 0.
    log_probability: (b, C) float32 class scores; C is 0 if no network has a head.
    parts: (b, p) whether each part embedded each image; False only when time is short.
    """

    positions: NDArray[np.int64]
    vectors: NDArray[np.float32]
    log_probability: NDArray[np.float32]
    parts: NDArray[np.bool_]

    def select(self, rows: Any) -> Embeddings:
        """The embeddings of some images.

        Args:
            rows: a slice, or an array of row numbers.
        """
        return Embeddings._make(values[rows] for values in self)


class Embedder:
    """Embeds images with all parts of a bundle, and joins the results to one vector.

    The vector of a part is whitened and multiplied by the square root of the part's
    weight. All are concatenated, so a cosine is the weighted mean of the cosines of the
    parts. Class scores are averaged with the same weights. Thread-safe.

    Attributes:
        levels: ways to embed, the most expensive first; see ``build_levels``.
        rates: measured seconds per image of each part and view.
        deadline: for decoding an image, of the engine.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        settings: config.Recognition,
        deadline: Deadline | None = None,
    ):
        self.parts = parts
        self.deadline = deadline or Deadline()
        self.settings = settings
        self.levels = build_levels(parts, settings)
        keys = {(i, view) for i, part in enumerate(parts) for view in part.views}
        self.rates = Rates({key: settings.pixels[key[1]] for key in keys})
        self._lock = threading.Lock()
        self._reader = ThreadPoolExecutor(1)  # decodes the next batch
        self._upcoming: dict[int, tuple[list[Image], Future[Any]]] = {}

    @property
    def weights(self) -> tuple[float, ...]:
        """The weight of each part."""
        return self.settings.weights or (1.0,) * len(self.parts)

    @property
    def widths(self) -> list[int]:
        """The number of dimensions that each part adds to a vector."""
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
            level: the parts and views to use; None: the first of ``levels``.
            upcoming: the next batch; it is decoded in the background.
        """
        return self.join(self._embed_level(images, level or self.levels[0], upcoming))

    def embed_all(self, images: Sequence[Image], label: str) -> Embeddings:
        """Embed any number of images, in batches, with a progress bar."""
        return concatenate([self.join(b) for b in self._embed_batches(images, label)])

    def embed_by_part(self, images: Sequence[Image], label: str) -> list[Embeddings]:
        """Embed any number of images, and return the embeddings of each part."""
        batches = list(self._embed_batches(images, label))
        return [concatenate([b[i] for b in batches]) for i in range(len(self.parts))]

    def join(self, by_part: Mapping[int, Embeddings]) -> Embeddings:
        """Join the embeddings of some parts, by index, of the same images."""
        if len(by_part) == len(self.parts):
            return join_parts(list(by_part.values()), self.weights)
        return self._join_with_gaps(by_part)

    def close(self) -> None:
        """Stop the threads."""
        self._reader.shutdown()
        for part in self.parts:
            part.close()

    def _embed_batches(
        self, images: Sequence[Image], label: str
    ) -> Iterator[dict[int, Embeddings]]:
        """Yield the embeddings of each batch by part; positions are those in ``images``."""
        size = self.settings.batch_size
        with progress(total=len(images), label=label) as bar:
            for start, batch, upcoming in split_batches(images, size):
                by_part = self._embed_level(batch, self.levels[0], upcoming)
                bar.update(len(batch))
                yield {
                    i: e._replace(positions=e.positions + start)
                    for i, e in by_part.items()
                }

    def _embed_level(
        self, images: Sequence[Image], level: Level, upcoming: Sequence[Image]
    ) -> dict[int, Embeddings]:
        """The whitened embeddings of each part of a level."""
        by_part = {}
        with self._lock:
            for i, view in level.uses:
                start = time.monotonic()
                (positions, inputs), waited_s = self._read(i, images)
                start += min(waited_s, time.monotonic() - start)
                if upcoming:
                    future = self._reader.submit(self._read_now, i, upcoming)
                    self._upcoming[i] = list(upcoming), future
                vectors, scores = self._run_part(i, view, inputs, len(positions))
                self.rates.add((i, view), len(images), time.monotonic() - start)
                is_embedded = np.ones((len(positions), 1), np.bool_)
                raw = Embeddings(positions, vectors, scores, is_embedded)
                by_part[i] = apply_whitening(raw, self.parts[i].whitening)
        return select_common(by_part)

    def _read(self, i: int, images: Sequence[Image]) -> tuple[Any, float]:
        """``_read_now``, or what the background thread read, if it read these images."""
        upcoming, future = self._upcoming.pop(i, (None, None))
        if future is not None and upcoming == list(images):
            result: tuple[Any, float] = future.result()
            return result
        return self._read_now(i, images)

    def _read_now(self, i: int, images: Sequence[Image]) -> tuple[Any, float]:
        """What part i reads, and the seconds waited for images that are late."""
        before_s = self.deadline.waited_s
        result = self.parts[i].read(images)
        return result, self.deadline.waited_s - before_s

    def _run_part(
        self, i: int, view: str, inputs: Any, n: int
    ) -> tuple[NDArray[np.float32], ...]:
        part = self.parts[i]
        if n:
            return part.embed(inputs, view)
        widths = part.width, part.n_classes
        return tuple(np.empty((0, width), np.float32) for width in widths)

    def _join_with_gaps(self, by_part: Mapping[int, Embeddings]) -> Embeddings:
        """Join the embeddings of some parts, with 0 in the columns of the others.

        Vectors are scaled so that the product with a unit vector of all parts is the
        weighted mean of the cosines of the parts that are present::

            x_i -> sqrt(w_i) sqrt(W) / W_present x_i,   W the sum of all weights

        If no part with a head is present, all classes are equally probable.
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
        is_embedded = np.zeros((n, len(widths)), np.bool_)
        is_embedded[:, list(by_part)] = True
        vectors = np.concatenate(blocks, axis=1).astype(np.float32)
        return Embeddings(first.positions, vectors, scores, is_embedded)


def split_batches(
    images: Sequence[Image], size: int
) -> Iterator[tuple[int, Sequence[Image], Sequence[Image]]]:
    """Yield the start of each batch, the batch, and the next batch."""
    for start in range(0, len(images), size):
        end = start + size
        yield start, images[start:end], images[end : end + size]


def select_common(by_part: dict[int, Embeddings]) -> dict[int, Embeddings]:
    """The embeddings of the images that all parts read: one may be late for some alone."""
    first, *others = (e.positions for e in by_part.values())
    if all(np.array_equal(first, other) for other in others):
        return by_part
    common = functools.reduce(np.intersect1d, others, first)
    return {i: e.select(np.isin(e.positions, common)) for i, e in by_part.items()}


def apply_whitening(embeddings: Embeddings, whitening: Whitening | None) -> Embeddings:
    """Whiten the vectors, unless ``whitening`` is None."""
    if whitening is None:
        return embeddings
    return embeddings._replace(vectors=whitening(embeddings.vectors))


def join_parts(by_part: Sequence[Embeddings], weights: Sequence[float]) -> Embeddings:
    """Join the embeddings of all parts; empty ``weights`` mean equal weights."""
    weights = weights or (1.0,) * len(by_part)
    pairs = list(zip(weights, by_part, strict=True))
    vectors = normalise(np.concatenate([w**0.5 * e.vectors for w, e in pairs], axis=1))
    heads = [(w, e.log_probability) for w, e in pairs if e.log_probability.shape[1]]
    scores = np.empty((len(vectors), 0), np.float32)
    if heads:
        total = sum(w for w, _ in heads) or 1.0
        scores = np.sum([w / total * x for w, x in heads], axis=0, dtype=np.float32)
    is_embedded = np.ones((len(vectors), len(by_part)), np.bool_)
    return Embeddings(by_part[0].positions, vectors, scores, is_embedded)


def concatenate(batches: Sequence[Embeddings]) -> Embeddings:
    """Concatenate the embeddings of batches; without any, all widths are 0."""
    if not batches:
        empty = np.empty((0, 0), np.float32)
        return Embeddings(
            np.empty(0, np.int64), empty, empty, np.empty((0, 0), np.bool_)
        )
    return Embeddings._make(np.concatenate(c) for c in zip(*batches, strict=True))


def load_embedder(
    folder: Path,
    settings: config.Recognition,
    reader: LocalReader,
    names: Collection[str] | None = None,
) -> Embedder:
    """Load the embedder of a bundle.

    Args:
        names: the files of the bundle, as its manifest lists them; None: all in the
            folder, for a bundle that has no manifest yet.

    Raises:
        ArtefactError: a part is missing or damaged, the number of weights is wrong, or
            the folder of a SavedModel has a file that is not of the bundle.
    """
    names = upload_names(folder) if names is None else names
    parts = load_parts(folder, settings, reader, names)
    if not parts or len(settings.weights) not in (0, len(parts)):
        raise ArtefactError(
            f"{folder}: expected an embedder for each of recognition.weights "
            f"{settings.weights}, got {len(parts)}; make the bundle again"
        )
    return Embedder(parts, settings, reader.engine.deadline)
