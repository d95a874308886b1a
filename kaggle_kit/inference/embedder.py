"""Photos to unit vectors: by networks, by visual words, and by several together."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from kaggle_kit import config
from kaggle_kit.backends.base import INT8, WAYS, Engine, Outputs
from kaggle_kit.errors import ArtefactError
from kaggle_kit.inference.reduced_embedding import levels_of, partly_joined
from kaggle_kit.inference.time_budget import Rates
from kaggle_kit.local_features.extract import LocalReader
from kaggle_kit.local_features.vlad import Vocabulary, vlad
from kaggle_kit.progress import progress
from kaggle_kit.retrieval.whitening import Whitening, unit


class Embedded(NamedTuple):
    """What is known of some photos.

    which: (b,) places among the photos asked for; one that does not decode is absent.
    vectors: (b, d) float32, unit length; but see ``partial`` where time was short.
    log_probability: (b, C) float32; C is 0 where no network has a head.
    """

    which: NDArray[np.int64]
    vectors: NDArray[np.float32]
    log_probability: NDArray[np.float32]


class Part(Protocol):
    """One way of embedding; all parts give the same photos, in batches of one size."""

    whitening: Whitening | None
    has_head: bool
    views: str  # which of ``ways`` the next batch is embedded in
    ways: Sequence[str]  # from the most work to the least

    def stream(self, paths: Sequence[Path], batch_size: int) -> Iterator[Embedded]:
        """Embed photos, batch by batch, in order, without whitening."""


class Network:
    """A network that left training, as a SavedModel or as a LiteRT file.

    Attributes:
        side: that of the photos it takes, in pixels.
        ways: its functions, of those that ``model.export`` makes.
        views: which of them the next batch goes through.
    """

    def __init__(self, path: Path, engine: Engine, mixed_precision: bool = False):
        """Load the network.

        Args:
            engine: what decodes its photos and runs it.

        Raises:
            ArtefactError: there is no readable network.
        """
        self.engine = engine
        self.runner = engine.runner(path, mixed_precision)
        self.side = self.runner.side
        self.has_head = self.runner.has_head
        self.whitening: Whitening | None = None
        self.ways = self.runner.ways
        self.views = self.ways[0]

    def stream(self, paths: Sequence[Path], batch_size: int) -> Iterator[Embedded]:
        """Embed photos, batch by batch, in order, without whitening.

        The next batch is begun before one is given, so that the network does not wait
        for what becomes of it.
        """
        begun: list[tuple[NDArray[np.int64], Callable[[], Outputs]]] = []
        for which, pixels in self.engine.squashed(paths, self.side, batch_size):
            begun.append((which, self.runner.start(pixels, self.views)))
            if len(begun) > 1:
                yield _embedded(*begun.pop(0))
        for which, outputs in begun:
            yield _embedded(which, outputs)


def _embedded(which: NDArray[np.int64], outputs: Callable[[], Outputs]) -> Embedded:
    found = outputs()
    none = np.empty((len(which), 0), np.float32)
    return Embedded(which, found["embedding"], found.get("log_probability", none))


class Words:
    """VLAD of local features, by a vocabulary."""

    def __init__(self, vocabulary: NDArray[np.float32], reader: LocalReader):
        self.vocabulary = vocabulary
        self.reader = reader
        self.whitening: Whitening | None = None
        self.has_head = False
        self.ways: Sequence[str] = WAYS[:1]
        self.views = self.ways[0]

    def stream(self, paths: Sequence[Path], batch_size: int) -> Iterator[Embedded]:
        """Embed photos, batch by batch, in order, without whitening."""
        for which, found in self.reader.stream(paths, batch_size):
            vectors = np.stack([vlad(f.descriptors, self.vocabulary) for f in found])
            yield Embedded(which, vectors, np.empty((len(which), 0), np.float32))


class Embedder:
    """The parts of a bundle as one: each whitened, then weighted and side by side.

    Each part's vector is multiplied by the root of its weight before they are joined, so
    that a cosine is the weighted mean of the parts' cosines. Heads are averaged by the
    same weights.

    Attributes:
        levels: ways of embedding, from the most work to the least.
        uses: of the level that the next batch is embedded on; may be set at any time.
        rates: the seconds that each embedder takes.
        shapes: (d, C) of each part, once it has seen photos.
        partial: whether any photo was seen by some of the parts only.
    """

    def __init__(self, parts: Sequence[Part], settings: config.Recognition):
        self.parts = parts
        self.settings = settings
        self.levels = levels_of(parts, settings)
        self.uses = self.levels[0].uses
        keys = {(i, views) for i, part in enumerate(parts) for views in part.ways}
        self.rates = Rates({key: settings.pixels[key[1]] for key in keys})
        self.shapes: dict[int, tuple[int, int]] = {}
        self.partial = False

    def stream(self, paths: Sequence[Path], label: str) -> Generator[Embedded]:
        """Embed photos, batch by batch, in order."""
        for found in self._apart(paths, label):
            if len(found) == len(self.parts):
                yield joined(list(found.values()), self.settings.weights)
            else:
                self.partial = True
                yield partly_joined(found, self.shapes, self.settings.weights)

    def embed(self, paths: Sequence[Path], label: str) -> Embedded:
        """Embed photos and hold all of the result."""
        return concatenated(list(self.stream(paths, label)))

    def embed_apart(self, paths: Sequence[Path], label: str) -> list[Embedded]:
        """What each part gives, to be joined by several weights."""
        found = list(self._apart(paths, label))
        return [
            concatenated([batch[i] for batch in found]) for i in range(len(self.parts))
        ]

    def _apart(
        self, paths: Sequence[Path], label: str
    ) -> Iterator[dict[int, Embedded]]:
        """What each part gives that is in use; one may pause, and come back, in between."""
        streams: dict[int, Iterator[Embedded]] = {}
        done = 0
        with progress(total=len(paths), label=label) as bar:
            while True:
                streams = {i: streams[i] for i, _ in self.uses if i in streams}
                found = {}
                for i, views in self.uses:
                    if i not in streams:
                        streams[i] = _from(self.parts[i], paths, done, self.settings)
                    batch = self._next(i, views, streams[i])
                    if batch is not None:
                        found[i] = batch
                if not found:
                    return
                yield found
                which = found[min(found)].which
                done = int(which[-1]) + 1
                bar.update(len(which))

    def _next(self, i: int, views: str, stream: Iterator[Embedded]) -> Embedded | None:
        part = self.parts[i]
        part.views = views
        start = time.monotonic()
        found = next(stream, None)
        if found is None:
            return None
        found = whitened(found, part.whitening)
        self.rates.add((i, views), len(found.which), time.monotonic() - start)
        self.shapes[i] = found.vectors.shape[1], found.log_probability.shape[1]
        return found


def _from(
    part: Part, paths: Sequence[Path], start: int, settings: config.Recognition
) -> Iterator[Embedded]:
    """A part's stream over the photos from one on, their places being among all."""
    for found in part.stream(paths[start:], settings.batch_size):
        yield found._replace(which=found.which + start)


def whitened(found: Embedded, whitening: Whitening | None) -> Embedded:
    """The same photos, their vectors whitened if there is a whitening."""
    if whitening is None or not len(found.vectors):
        return found
    return found._replace(vectors=whitening(found.vectors))


def joined(found: Sequence[Embedded], weights: Sequence[float]) -> Embedded:
    """What several parts say of the same photos as one; without weights, alike."""
    weights = weights or (1.0,) * len(found)
    pairs = list(zip(weights, found, strict=True))
    vectors = unit(np.concatenate([w**0.5 * f.vectors for w, f in pairs], axis=1))
    heads = [(w, f.log_probability) for w, f in pairs if f.log_probability.shape[1]]
    head = np.empty((len(vectors), 0), np.float32)
    if heads:
        total = sum(w for w, _ in heads) or 1.0
        head = np.sum([w / total * logs for w, logs in heads], axis=0, dtype=np.float32)
    return Embedded(found[0].which, vectors, head)


def concatenated(parts: Sequence[Embedded]) -> Embedded:
    """Several results as one; of no width when there are none."""
    if not parts:
        return Embedded(
            np.empty(0, np.int64),
            np.empty((0, 0), np.float32),
            np.empty((0, 0), np.float32),
        )
    which, vectors, heads = zip(*parts, strict=True)
    return Embedded(
        np.concatenate(which), np.concatenate(vectors), np.concatenate(heads)
    )


def load_embedder(
    folder: Path, settings: config.Recognition, reader: LocalReader
) -> Embedder:
    """The embedder of a bundle.

    ``embedders/`` has a folder for each run: its ``config.json`` and, each with its
    whitening if it has one, the network and ``words.npy``. With ``recognition.int8`` the
    network is ``model.int8.tflite``, else the one that the engine of the reader can run.

    Raises:
        ArtefactError: a part is missing or damaged, or there are more weights than parts.
    """
    parts: list[Part] = []
    engine = reader.engine
    name = INT8 if settings.int8 else engine.network
    for place in sorted((folder / "embedders").glob("*")):
        if (place / name).exists():
            parts.append(Network(place / name, engine, settings.mixed_precision))
            parts[-1].whitening = _whitening(place / "model.whitening.npz")
        if (place / "words.npy").exists():
            words = Vocabulary.load(place / "words.npy").words
            parts.append(Words(words, reader))
            parts[-1].whitening = _whitening(place / "words.whitening.npz")
    if not parts or len(settings.weights) not in (0, len(parts)):
        raise ArtefactError(
            f"{folder}: expected an embedder for each of recognition.weights "
            f"{settings.weights}, got {len(parts)}; make the bundle again"
        )
    return Embedder(parts, settings)


def _whitening(path: Path) -> Whitening | None:
    return Whitening.load(path) if path.exists() else None
