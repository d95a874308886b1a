"""Photos by Pillow and NumPy, networks by LiteRT: what the app has for TensorFlow."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.backends.base import LITE, Runner
from kaggle_kit.backends.litert import Lite
from kaggle_kit.backends.uploads import Photo
from kaggle_kit.data.resize import squashed
from kaggle_kit.errors import DataError, KitError

THREADS = 2  # for one photo; a free host has no more cores


class LightEngine:
    """An ``Engine`` without TensorFlow, which gives the same pixels.

    Photos in memory are given names, by which they are asked for as if they were files.
    """

    network = LITE

    def __init__(self) -> None:
        self._named: dict[Path, Photo] = {}
        self._n = 0

    @contextmanager
    def named(self, photo: Photo) -> Iterator[Path]:
        """A name for a photo, for as long as it is needed; never one again."""
        self._n += 1
        path = Path(f"photo {self._n}")
        self._named[path] = photo
        try:
            yield path
        finally:
            del self._named[path]

    def squashed(
        self, paths: Sequence[Path], side: int, batch_size: int
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
        """Photos as the network sees them."""
        which: list[int] = []
        seen: list[NDArray[np.uint8]] = []
        for place, pixels in self._decoded(paths, side):
            which.append(place)
            seen.append(squashed(pixels, side))
            if len(seen) == batch_size:
                yield np.array(which, np.int64), np.stack(seen)
                which, seen = [], []
        if seen:
            yield np.array(which, np.int64), np.stack(seen)

    def whole(self, paths: Sequence[Path]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Photos in their whole size."""
        return self._decoded(paths, None)

    def runner(self, path: Path, mixed_precision: bool) -> Runner:
        """What runs a network; it knows no mixed precision, which is for GPUs.

        Raises:
            ArtefactError: it is no LiteRT file.
            KitError: LiteRT is not installed.
        """
        return Lite(path, _interpreter(), 1)

    def _decoded(
        self, paths: Sequence[Path], side: int | None
    ) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        for place, path in enumerate(paths):
            try:
                photo = self._named.get(path) or Photo(path.name, path.read_bytes())
                yield place, photo.pixels(side)
            except (DataError, OSError):
                continue  # as in ``decode.readable``, a place that never comes


def _interpreter() -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:  # also if TensorFlow has been loaded before it
        raise KitError(
            f"app: expected LiteRT, got {error}; pip install 'kaggle-kit[app]'"
        ) from None
    return lambda path: Interpreter(path, num_threads=THREADS)
