"""Calibration: from the confidence of a guess to the probability that it is right."""

import math
from pathlib import Path
from typing import NamedTuple

from kaggle_kit.errors import ArtefactError
from kaggle_kit.storage import json_files

# Files of a bundle: for its ranking, and for that ranking without geometry.
CALIBRATION, PLAIN_CALIBRATION = "calibration.json", "calibration.plain.json"
LARGEST = 1e15  # of slope and intercept; steeper, a curve would not be one any more


class Calibration(NamedTuple):
    """Logistic calibration (Platt scaling, 1999), fitted to validation images.

    ::

        p = 1 / (1 + exp(-(slope * confidence + intercept)))

    It is valid for images with the same share of landmark images as the validation images.

    Attributes:
        n: number of images in the fit.
        n_landmarks: number of these images that show a landmark of the gallery.
    """

    slope: float
    intercept: float
    n: int
    n_landmarks: int

    def __call__(self, confidence: float) -> float:
        """The probability that a guess is right.

        >>> Calibration(2.0, -1.0, 10, 5)(0.5)
        0.5
        """
        x = self.slope * confidence + self.intercept
        return 1 / (1 + math.exp(-x)) if x > -700 else 0.0

    @property
    def is_valid(self) -> bool:
        """Whether the curve is finite and rises, and the counts are possible."""
        types = [type(value) for value in self]
        if set(types) - {int, float} or set(types[2:]) != {int}:
            return False
        in_range = 0 < self.slope <= LARGEST and abs(self.intercept) <= LARGEST
        return in_range and 0 <= self.n_landmarks <= self.n and self.n > 0

    def save(self, path: Path) -> None:
        """Write it as JSON.

        Raises:
            ArtefactError: it is not valid; nothing is written.
        """
        if not self.is_valid:
            raise ArtefactError(
                f"{path}: expected a calibration that rises, got {self}; check the images"
            )
        path.write_text(json_files.json_text(self._asdict()), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Calibration | None":
        """Read a calibration from its JSON file; None if the file is missing.

        Raises:
            ArtefactError: the file is damaged.
        """
        if not path.exists():
            return None
        try:
            values = json_files.read_json(path)
            calibration = cls(**values)
            if calibration.is_valid:
                return calibration
            reason = f"{calibration}"[:200]
        except (*json_files.DAMAGE, TypeError) as error:
            reason = str(error)
        raise ArtefactError(
            f"{path}: expected slope, intercept, n and n_landmarks, got {reason}; make "
            f"the bundle again"
        )
