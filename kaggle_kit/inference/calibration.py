"""How probable it is that a guess of some confidence is right."""

import math
from pathlib import Path
from typing import NamedTuple

from kaggle_kit.errors import ArtefactError
from kaggle_kit.storage import json_files

# Of a bundle: for its ranking, and where that looks at geometry, for one without.
CALIBRATION, PLAIN_CALIBRATION = "calibration.json", "calibration.plain.json"


class Calibration(NamedTuple):
    """A logistic curve over confidence (Platt, 1999), fitted to validation photos.

    ::

        p = 1 / (1 + exp(-(slope * confidence + intercept)))

    It holds for photos of which as many show a landmark as of those it was fitted to.

    Attributes:
        n: how many photos it was fitted to.
        n_landmarks: of these, how many show a landmark that can be named.
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

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json_files.json_text(self._asdict()), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Calibration | None":
        """Read it back; None where there is none.

        Raises:
            ArtefactError: the file is damaged.
        """
        if not path.exists():
            return None
        try:
            values = json_files.read_json(path)
            found = cls(**values)
            if all(math.isfinite(value) for value in found):
                return found
            reason = "a number that is not finite"
        except (*json_files.DAMAGE, TypeError, OverflowError) as error:
            reason = str(error)
        raise ArtefactError(
            f"{path}: expected slope, intercept, n and n_landmarks, got {reason}; make "
            f"the bundle again"
        )
