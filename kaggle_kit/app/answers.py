"""The bundle behind the page: answers for uploads, without TensorFlow."""

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
    """An answer and the seconds that it took."""

    answer: Answer
    seconds: float


class Answers:
    """A bundle, ready to answer; where geometry is not possible, without it."""

    def __init__(self, bundle: Path):
        """Load a bundle.

        Raises:
            ArtefactError, ConfigError, TableError, KitError: a file is missing or
                damaged, or a package.
        """
        self.recogniser = Recogniser.load(
            bundle, LightEngine(), n_cached=0, geometry_optional=True
        )
        self._seconds: deque[float] = deque(maxlen=100)

    def answer(self, photo: CheckedImage) -> TimedAnswer:
        """Recognise an upload; one at a time, whoever asks.

        Raises:
            DataError: it does not decode.
        """
        return run_on_decode_thread(lambda: self._answer(photo))

    def _answer(self, photo: CheckedImage) -> TimedAnswer:
        start = time.monotonic()
        (answer,) = self.recogniser.recognise([photo])
        if answer.error:
            raise DataError(answer.error)
        seconds = time.monotonic() - start
        self._seconds.append(seconds)
        return TimedAnswer(answer, seconds)

    def features(
        self, photo: CheckedImage, other: CheckedImage
    ) -> tuple[Features, Features]:
        """The local features of two images as they are compared; needs OpenCV.

        As in ``answer``, one at a time: call it through ``run_on_decode_thread``.
        """
        assert self.recogniser.geometry is not None
        first, second = self.recogniser.geometry.reader.read([photo, other])
        assert first is not None and second is not None
        return first, second

    def speed(self) -> str:
        """The median seconds per image lately."""
        if not self._seconds:
            return "no photo yet"
        median = statistics.median(self._seconds)
        return f"{median:.2f} s a photo, the median of the last {len(self._seconds)}"
