"""Answer uploads with a bundle, without TensorFlow."""

from __future__ import annotations

import statistics
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kaggle_kit.backends.pillow import LightEngine
from kaggle_kit.backends.uploads import CheckedImage, run_on_decode_thread
from kaggle_kit.errors import DataError
from kaggle_kit.inference.answers import Answer
from kaggle_kit.inference.recogniser import Recogniser

if TYPE_CHECKING:
    from kaggle_kit.local_features.sift import Features


@dataclass(frozen=True)
class TimedAnswer:
    """An answer, and the seconds that it took."""

    answer: Answer
    seconds: float


class AnswerService:
    """Answers uploads with a bundle; without geometry if that is not possible.

    Attributes:
        recogniser: the loaded bundle.
    """

    def __init__(self, bundle: Path):
        """Load a bundle; its networks run in processes of their own.

        Raises:
            ArtefactError, ConfigError, TableError: a file is missing or damaged.
            KitError: a package is missing.
        """
        self.recogniser = Recogniser.load(
            bundle, LightEngine(), n_cached=0, geometry_optional=True, untrusted=True
        )
        self._seconds: deque[float] = deque(maxlen=100)

    def answer(self, image: CheckedImage) -> TimedAnswer:
        """Recognise an upload; one at a time for all sessions.

        Raises:
            DataError: the upload does not decode.
        """
        return run_on_decode_thread(lambda: self._answer(image))

    def _answer(self, image: CheckedImage) -> TimedAnswer:
        start = time.monotonic()
        (answer,) = self.recogniser.recognise([image])
        if answer.error:
            raise DataError(answer.error)
        seconds = time.monotonic() - start
        self._seconds.append(seconds)
        return TimedAnswer(answer, seconds)

    def features(
        self, image: CheckedImage, other: CheckedImage
    ) -> tuple[Features, Features]:
        """Detect the local features of two images; it needs OpenCV.

        Call it with ``run_on_decode_thread``.
        """
        assert self.recogniser.geometry is not None
        first, second = self.recogniser.geometry.reader.read([image, other])
        assert first is not None and second is not None
        return first, second

    def describe_speed(self) -> str:
        """The median seconds per image, as text."""
        if not self._seconds:
            return "no image yet"
        median = statistics.median(self._seconds)
        return f"{median:.2f} s per image, the median of the last {len(self._seconds)}"
