"""The submission on disk: always a valid file, replaced atomically when guesses change."""

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from kaggle_kit.storage import tables
from kaggle_kit.storage.tables import Guess

REFRESH_S = 60.0  # age from which the file is stale


class SubmissionFile:
    """``submission.csv`` and its guesses.

    Attributes:
        image_ids: of the rows of the file.
        guesses: by image id; the row of an image without a guess is empty.
    """

    def __init__(self, path: Path, image_ids: Sequence[str]):
        """Write the file without guesses."""
        self.path = path
        self.image_ids = image_ids
        self.guesses: dict[str, Guess] = {}
        self._save({})

    @property
    def is_stale(self) -> bool:
        """Whether the file was last written more than ``REFRESH_S`` ago."""
        return time.monotonic() - self._write_time > REFRESH_S

    def write(self, rows: Iterable[int], guesses: Sequence[Guess | None]) -> None:
        """Add or replace guesses; a guess of None does not replace another.

        Args:
            rows: row numbers of the guesses.
        """
        pairs = zip(rows, guesses, strict=True)
        self._save({self.image_ids[i]: g for i, g in pairs if g is not None})

    def _save(self, guesses: Mapping[str, Guess]) -> None:
        self.guesses |= guesses
        tables.write_submission(self.path, self.image_ids, self.guesses)
        self._write_time = time.monotonic()
