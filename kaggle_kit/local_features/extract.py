"""Detect the local features of images, and cache those of the latest files."""

from __future__ import annotations

import threading
import weakref
from collections.abc import MutableMapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from kaggle_kit import config
from kaggle_kit.backends.base import Engine, Image
from kaggle_kit.data.decode_threads import DecodeThreads

if TYPE_CHECKING:
    from kaggle_kit.local_features.sift import Features

CACHED = 4096  # files; with 800 features each they take 450 MB
BLOCK = 32  # images whose features are detected, or compared, at a time


class LocalReader:
    """Detects local features, in images that the engine decodes.

    VLAD and verification of the same image share one detection: the features of the
    latest ``n_cached`` files are cached, and those of a memory image as long as it exists.
    At most one image per core is decoded at a time. Thread-safe.

    Attributes:
        settings: of the detection.
        engine: decodes the images.
    """

    def __init__(self, settings: config.Local, engine: Engine, n_cached: int = CACHED):
        self.settings = settings
        self.engine = engine
        self._n_cached = n_cached
        self._files: dict[Path, Features | None] = {}
        self._memory_images: MutableMapping[Image, Features | None] = (
            weakref.WeakKeyDictionary()
        )
        self._lock = threading.Lock()

    def read_all(self, images: Sequence[Image]) -> list[Features]:
        """The features of any number of images, without those that do not decode."""
        blocks = [
            self.read(images[i : i + BLOCK]) for i in range(0, len(images), BLOCK)
        ]
        return [
            features for block in blocks for features in block if features is not None
        ]

    def read(self, images: Sequence[Image]) -> list[Features | None]:
        """The features of one block of images; None where an image does not decode."""
        with self._lock:
            missing = [i for i in dict.fromkeys(images) if i not in self._cache(i)]
            for image, features in zip(missing, self._detect(missing), strict=True):
                if not self.engine.deadline.is_late(image):
                    self._cache(image)[image] = features
            result = [self._cache(image).get(image) for image in images]
            for path in list(self._files)[: max(0, len(self._files) - self._n_cached)]:
                del self._files[path]
            return result

    def _cache(self, image: Image) -> MutableMapping[Image, Features | None]:
        files: MutableMapping[Image, Features | None] = self._files  # type: ignore[assignment]
        return files if isinstance(image, Path) else self._memory_images

    def _detect(self, images: Sequence[Image]) -> list[Features | None]:
        """Detect features in one image per core; threads within an image gain less."""
        if not images:
            return []
        from kaggle_kit.local_features.sift import cv2  # OpenCV

        n_threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            n = 1 if len(images) == 1 else None
            threads = DecodeThreads(self.engine.deadline, n)
            with closing(threads):
                return threads.map(self._detect_one, images)
        finally:
            cv2.setNumThreads(n_threads)

    def _detect_one(self, image: Image) -> Features | None:
        from kaggle_kit.local_features.sift import detect_features, shrink  # OpenCV

        pixels = self.engine.decode(image)
        if pixels is None:
            return None
        return detect_features(shrink(pixels, self.settings.long_side), self.settings)
