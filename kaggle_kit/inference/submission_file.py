"""The submission on disk: valid from the first moment, replaced whole as guesses come."""

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from kaggle_kit.storage import tables
from kaggle_kit.storage.tables import Guess

REFRESH_S = 60.0


class SubmissionFile:
    """``submission.csv`` and the guesses that it holds.

    Attributes:
        image_ids: its rows.
        guesses: by image id; an image without one has an empty row.
    """

    def __init__(self, path: Path, image_ids: Sequence[str]):
        """Write the file without a guess."""
        self.path = path
        self.image_ids = image_ids
        self.guesses: dict[str, Guess] = {}
        self._save({})

    @property
    def is_stale(self) -> bool:
        """Whether it was last written more than a minute ago."""
        return time.monotonic() - self._written_at > REFRESH_S

    def write(self, index: Iterable[int], guesses: Sequence[Guess | None]) -> None:
        """Add or replace guesses.

        Args:
            index: rows of the file.
        """
        pairs = zip(index, guesses, strict=True)
        self._save({self.image_ids[i]: g for i, g in pairs if g is not None})

    def _save(self, guesses: Mapping[str, Guess]) -> None:
        self.guesses |= guesses
        tables.write_submission(self.path, self.image_ids, self.guesses)
        self._written_at = time.monotonic()
