"""Read photos for their local features, the latest of which are kept."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kaggle_kit import config
from kaggle_kit.backends.base import Engine

if TYPE_CHECKING:
    from kaggle_kit.local_features.sift import Features

KEPT = 4096  # photos; of 800 features each they take 450 MB
TOGETHER = 32  # photos decoded, or verified, before what was found is passed on


class LocalReader:
    """Local features of photos, decoded as for the network.

    The features of the latest photos are kept, so that VLAD and verification of the same
    photo compute them once. Memory is bounded by ``kept``, ``TOGETHER`` and the few photos
    that the engine decodes at a time.

    Attributes:
        engine: what decodes the photos.
    """

    def __init__(self, settings: config.Local, engine: Engine, kept: int = KEPT):
        self.settings = settings
        self.engine = engine
        self._n_kept = kept
        self._kept: dict[Path, Features | None] = {}

    def stream(
        self, paths: Sequence[Path], batch_size: int
    ) -> Iterator[tuple[NDArray[np.int64], list[Features]]]:
        """Yield (which, features) in batches of photos that decode, in order."""
        which: list[int] = []
        found: list[Features] = []
        for start in range(0, len(paths), TOGETHER):
            read = self.read(paths[start : start + TOGETHER])
            for i, features in enumerate(read, start):
                if features is None:
                    continue
                which.append(i)
                found.append(features)
                if len(which) == batch_size:
                    yield np.array(which, np.int64), found
                    which, found = [], []
        if which:
            yield np.array(which, np.int64), found

    def read(self, paths: Sequence[Path]) -> list[Features | None]:
        """The features of a few photos; None of one that does not decode."""
        missing = [path for path in dict.fromkeys(paths) if path not in self._kept]
        self._kept.update(dict.fromkeys(missing))
        self._kept.update(self._computed(missing))
        found = [self._kept[path] for path in paths]
        for path in list(self._kept)[: max(0, len(self._kept) - self._n_kept)]:
            del self._kept[path]
        return found

    def _computed(self, paths: Sequence[Path]) -> dict[Path, Features]:
        from kaggle_kit.local_features.sift import cv2, features, shrunk  # OpenCV

        def compute(grey: NDArray[np.uint8]) -> Features:
            return features(grey, self.settings)

        if not paths:
            return {}
        # shrunk as they come: of 40 megapixels, one in its whole size takes 120 MB
        long_side = self.settings.long_side
        photos = {
            paths[int(i)]: shrunk(pixels, long_side)
            for i, pixels in self.engine.whole(paths)
        }
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)  # a photo per core: within one, OpenCV gains less
        try:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                found = list(pool.map(compute, photos.values()))
        finally:
            cv2.setNumThreads(threads)
        return dict(zip(photos, found, strict=True))
