"""The passes over a competition's photos, within a budget, and the file they improve."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from kaggle_kit.data.layout import image_path
from kaggle_kit.inference.embedder import Embedded, concatenated
from kaggle_kit.inference.recogniser import Recogniser
from kaggle_kit.inference.time_budget import Budget
from kaggle_kit.local_features.extract import TOGETHER
from kaggle_kit.retrieval.gallery import Gallery, gallery_from
from kaggle_kit.retrieval.ranking import Evidence, gallery_guesses
from kaggle_kit.storage import tables
from kaggle_kit.storage.tables import Guess, Label

Rank = Callable[[Embedded], list[Guess | None]]
REFRESH_S = 60.0
PROBE = 8  # photos verified early on, to learn how long that takes


class Submission:
    """The file: valid from the first moment, and replaced whole as guesses come in."""

    def __init__(self, path: Path, image_ids: Sequence[str]):
        self.path = path
        self.image_ids = image_ids
        self.guesses: dict[str, Guess] = {}
        self.write_guesses({})

    @property
    def stale(self) -> bool:
        """Whether it was last written more than a minute ago."""
        return time.monotonic() - self.written_at > REFRESH_S

    def write(self, test: Embedded, guesses: Sequence[Guess | None]) -> None:
        """Add or replace the guesses for some photos."""
        pairs = zip(test.which.tolist(), guesses, strict=True)
        self.write_guesses({self.image_ids[i]: g for i, g in pairs if g is not None})

    def write_guesses(self, guesses: Mapping[str, Guess]) -> None:
        """Add or replace guesses by image id."""
        self.guesses |= guesses
        tables.write_submission(self.path, self.image_ids, self.guesses)
        self.written_at = time.monotonic()


class Passes:
    """What is done with the photos, one pass after the other, as far as time allows.

    Attributes:
        gallery: of the landmarks that may be guessed; ``new_photos`` adds to it.
        reached: how many test photos the first pass came to, whether they decode or not.
    """

    def __init__(
        self,
        recogniser: Recogniser,
        gallery: Gallery,
        submission: Submission,
        budget: Budget,
    ):
        self.recogniser = recogniser
        self.gallery = gallery
        self.submission = submission
        self.budget = budget
        self.reached = 0

    def test_photos(self, paths: Sequence[Path], rank: Rank) -> Embedded:
        """Embed the test photos in order, and let the file on disk keep up."""
        parts: list[Embedded] = []
        n_ranked = 0

        def keep_up() -> None:
            nonlocal n_ranked
            fresh = concatenated(parts[n_ranked:])
            start = time.monotonic()
            self.submission.write(fresh, rank(fresh))
            self.budget.rates.add("rank", len(fresh.which), time.monotonic() - start)
            self.budget.ranked()
            n_ranked = len(parts)

        for part in self._stream(paths, "test"):
            parts.append(part)
            if len(parts) == 1 or self.submission.stale:
                keep_up()
            if len(parts) == 1 and self.budget.limited:
                self._probe(paths, part)
        if n_ranked < len(parts):
            keep_up()
        return concatenated(parts)

    def new_photos(self, train_dir: Path, labels: Sequence[Label]) -> None:
        """Add photos to the gallery, as many as there is time for, in their order."""
        paths = [image_path(train_dir, label.image_id) for label in labels]
        found = concatenated(list(self._stream(paths, "new")))
        if not len(found.which):
            return
        kept = [labels[i] for i in found.which]
        settings = self.recogniser.settings.recognition
        pool = self.gallery.non_landmarks
        added = gallery_from(kept, found.vectors, pool, settings)
        self.gallery = self.gallery.joined(added)

    def rank_again(self, test: Embedded, paths: Sequence[Path]) -> None:
        """Rank all photos against the whole gallery, with their geometry if asked for.

        Geometry begins with the surest guesses, since it makes right guesses surer still
        and wrong ones are overtaken: where it stops for want of time, those that were not
        looked at are those that are below the others anyway.

        Args:
            paths: of the photos in ``test``.
        """
        settings = self.recogniser.settings.recognition
        gallery = self.gallery
        self.budget.at_most(len(paths))
        if not len(paths) or not self.budget.room("again"):
            return
        known = self.recogniser.evidence(test, gallery)
        start = time.monotonic()
        guesses = gallery_guesses(known, gallery, settings)
        self.submission.write(test, guesses)
        self.budget.reserve_s = 1.5 * (time.monotonic() - start)
        self.budget.did("again", len(test.which))
        seen = known
        for seen in self._verified(known, paths, guesses):
            if self.submission.stale:
                self.submission.write(test, gallery_guesses(seen, gallery, settings))
        if seen is not known:
            self.submission.write(test, gallery_guesses(seen, gallery, settings))

    def _verified(
        self, known: Evidence, paths: Sequence[Path], guesses: Sequence[Guess | None]
    ) -> Iterator[Evidence]:
        """What is known of the photos, with the geometry of more and more of them."""
        geometry = self.recogniser.geometry
        verification = self.recogniser.settings.recognition.verification
        if not geometry or not verification or None in guesses:
            return
        order = np.argsort([-g.confidence for g in guesses if g], kind="stable")
        steps = geometry.verified(
            known, paths, self.gallery, verification, order.tolist()
        )
        with closing(steps):
            next(steps)  # without any
            while self.budget.room("verify", TOGETHER):
                n = min(TOGETHER, self.budget.work.verify)
                start = time.monotonic()
                known = next(steps)
                self.budget.rates.add("verify", n, time.monotonic() - start)
                self.budget.did("verify", n)
                yield known

    def _probe(self, paths: Sequence[Path], part: Embedded) -> None:
        """Learn how long geometry takes, on a few photos."""
        verification = self.recogniser.settings.recognition.verification
        if not self.recogniser.geometry or not verification:
            return
        few = Embedded._make(values[:PROBE] for values in part)
        known = self.recogniser.evidence(few, self.gallery)
        some = [paths[i] for i in few.which]
        start = time.monotonic()
        for _ in self.recogniser.geometry.verified(
            known, some, self.gallery, verification
        ):
            pass
        self.budget.rates.add("verify", len(some), time.monotonic() - start)

    def _stream(self, paths: Sequence[Path], kind: str) -> Iterator[Embedded]:
        """Embed photos on the level that the budget says, until it says no more."""
        embedder, budget = self.recogniser.embedder, self.budget
        label = {"test": "test photos", "new": "gallery"}[kind]
        size = embedder.settings.batch_size
        done = 0
        with closing(embedder.stream(paths, label)) as stream:
            while budget.room(kind, size):
                embedder.uses = budget.levels[budget.level].uses
                found = next(stream, None)
                n = (int(found.which[-1]) + 1 if found else len(paths)) - done
                budget.did(kind, n)
                done += n
                if kind == "test":
                    self.reached = done
                if found is None:
                    return
                yield found
