"""From a bundle and a competition folder to ``submission.csv``; the kernel's whole work."""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.inference.embedder import Embeddings, batches, concatenated
from kaggle_kit.inference.recogniser import Recogniser
from kaggle_kit.inference.submission_file import SubmissionFile
from kaggle_kit.inference.time_budget import Budget, Drop, Work
from kaggle_kit.local_features.extract import BLOCK
from kaggle_kit.progress import progress
from kaggle_kit.retrieval.gallery import build_gallery, sort_rarest_first
from kaggle_kit.retrieval.ranking import Evidence
from kaggle_kit.storage import tables
from kaggle_kit.storage.columns import Columns
from kaggle_kit.storage.tables import Guess, Label

logger = logging.getLogger(__name__)
PROBE = 8  # images verified early on, to learn how long that takes


@dataclass(frozen=True)
class Prediction:
    """What a submission holds.

    Attributes:
        images: rows of the submission.
        guesses: rows with a guess.
        unreadable: images that are missing or do not decode.
        dropped: what was left out for want of time.
    """

    images: int
    guesses: int
    unreadable: int
    dropped: list[Drop]


def predict(
    bundle: str | Path,
    competition: str | Path,
    out: str | Path,
    time_limit_s: float | None = None,
    began: float | None = None,
) -> Prediction:
    """Write a guess for every image of ``sample_submission.csv``, in its order.

    A valid file without guesses exists before the model is loaded. It is replaced whole,
    at most a minute apart, as guesses come in; none is taken back. Only landmarks that the
    competition's ``train.csv`` names are guessed, since a rerun may have another one than
    the bundle was made with. Its images that the bundle's gallery lacks are embedded after
    the test images, if they are few enough, those of the rarest landmarks first; then all
    is ranked again. Geometry, if it is part of the ranking, comes last.

    With a time limit, work that does not fit is dropped before it is too late, in the order
    that ``inference.time_budget`` states, by rates that are measured all along. The guesses
    depend on the clock then. Work that fits gives the same bytes as without a limit.

    An image that is missing, does not decode or was not reached has a row without a guess.
    A guess that knows nothing of the image is not made up: below all others it could not
    lower GAP, but the commonest landmark of all is right for about one image in a thousand,
    so what it adds is below the fourth digit, and the row would hide what happened.

    Args:
        time_limit_s: seconds until the process must have ended; 4% and 5 s of it are kept
            as a margin. The kernel gives the 12 hours of a rerun. None: no limit.
        began: the time by ``time.monotonic`` that the limit counts from; None: now.

    Raises:
        DataError, TableError, ArtefactError: a folder is not what it should be.
    """
    began = time.monotonic() if began is None else began
    files = Competition(Path(competition)).require(
        "sample_submission.csv", "train.csv", "test"
    )
    image_ids = tables.read_sample(files.sample_csv)
    submission = SubmissionFile(Path(out), image_ids)
    labels = tables.read_labels(files.train_csv)
    with Recogniser.load(bundle, train_dir=files.train_dir) as recogniser:
        embedder = recogniser.embedder
        budget = Budget(embedder.levels, embedder.rates, time_limit_s, began)
        run = _Run(recogniser, files, labels, submission, budget)
        run.predict()
    if run.unreadable:
        logger.warning("%d images are missing or do not decode", run.unreadable)
    n, n_guesses = len(image_ids), len(submission.guesses)
    logger.info("%d guesses for %d images in %s", n_guesses, n, out)
    return Prediction(n, n_guesses, run.unreadable, budget.dropped())


class _Run:
    """One pass after the other over a competition's images, as far as time allows.

    Attributes:
        recogniser: its gallery holds the landmarks that may be guessed; ``add_new_images``
            adds to it.
        unreadable: test images that were reached and do not decode.
    """

    def __init__(
        self,
        recogniser: Recogniser,
        files: Competition,
        labels: Columns[Label],
        submission: SubmissionFile,
        budget: Budget,
    ):
        self.landmarks = set(labels.column("landmark_id").tolist())
        self.new = _new_labels(labels, recogniser)
        gallery = recogniser.gallery.select_landmarks(self.landmarks)
        self.recogniser = recogniser.with_gallery(gallery)
        self.files = files
        self.submission = submission
        self.budget = budget
        self.paths = [image_path(files.test_dir, i) for i in submission.image_ids]
        self.unreadable = 0

    def predict(self) -> None:
        """Do all passes."""
        self.budget.start(_work(self.recogniser, len(self.paths), self.new))
        test = self.embed_test_images()
        self.budget.at_most(len(test.positions))
        if self.recogniser.ranking.ranking == "head":
            if self.budget.room("again"):
                self.submission.write(test.positions, self.rank(test))
            return
        self.add_new_images()
        if len(test.positions) and self.budget.room("again"):
            self.rank_again(test)

    def embed_test_images(self) -> Embeddings:
        """Embed the test images in order, while the file on disk keeps up."""
        parts: list[Embeddings] = []
        n_ranked = n_reached = 0
        for n_reached, embeddings in self._embedded("test", self.paths):
            parts.append(embeddings)
            if len(parts) == 1 or self.submission.is_stale:
                self._rank_first(concatenated(parts[n_ranked:]))
                n_ranked = len(parts)
            if len(parts) == 1 and self.budget.limited:
                self._probe(embeddings)
        if n_ranked < len(parts):
            self._rank_first(concatenated(parts[n_ranked:]))
        test = concatenated(parts)
        self.unreadable = n_reached - len(test.positions)
        return test

    def add_new_images(self) -> None:
        """Add new images to the gallery, as many as there is time for, in their order."""
        paths = [image_path(self.files.train_dir, x.image_id) for x in self.new]
        found = concatenated([part for _, part in self._embedded("new", paths)])
        if not len(found.positions):
            return
        labels = [self.new[i] for i in found.positions]
        gallery = self.recogniser.gallery
        added = build_gallery(
            labels, found.vectors, gallery.non_landmarks, self.recogniser.ranking
        )
        self.recogniser = self.recogniser.with_gallery(gallery.concatenate(added))

    def rank(self, test: Embeddings) -> list[Guess | None]:
        """Guess by what the embeddings alone say."""
        if not len(test.positions):
            return []
        evidence = None
        if self.recogniser.ranking.ranking != "head":
            evidence = self.recogniser.search(test)
        return self.recogniser.guesses(test, evidence, self.landmarks)

    def rank_again(self, test: Embeddings) -> None:
        """Rank all images against the whole gallery, then by their geometry too."""
        evidence = self.recogniser.search(test)
        start = time.monotonic()
        guesses = self._write(test, evidence)
        self.budget.reserve_s = 1.5 * (time.monotonic() - start)
        self.budget.did("again", len(test.positions))
        if self.recogniser.geometry and None not in guesses:
            confidence = [guess.confidence for guess in guesses if guess]
            self.verify(
                test, evidence, np.argsort(-np.array(confidence), kind="stable")
            )

    def verify(
        self, test: Embeddings, evidence: Evidence, order: NDArray[np.intp]
    ) -> None:
        """Add inliers to the evidence, block by block, and rank by them too.

        Args:
            order: rows of ``evidence``. The most confident guesses come first, since
                geometry makes right guesses more confident still, and wrong ones are
                overtaken: what is left for want of time ranks below the others anyway.
        """
        n_done = 0
        with progress(total=len(order), label="geometry") as bar:
            while self.budget.room("verify", BLOCK):
                block = order[n_done : n_done + BLOCK]
                start = time.monotonic()
                paths = [self.paths[i] for i in test.positions[block]]
                evidence.inliers[block] = self.recogniser.count_inliers(
                    evidence.select(block), paths
                )
                n_done += len(block)
                self.budget.rates.add("verify", len(block), time.monotonic() - start)
                self.budget.did("verify", len(block))
                bar.update(len(block))
                if self.submission.is_stale:
                    self._write(test, evidence)
        if n_done:
            self._write(test, evidence)

    def _embedded(
        self, kind: str, paths: Sequence[Path]
    ) -> Iterator[tuple[int, Embeddings]]:
        """Embed images on the level that the budget says, until it says no more.

        Yields:
            How many were reached, and the embeddings of the last batch.
        """
        embedder, budget = self.recogniser.embedder, self.budget
        label = {"test": "test images", "new": "gallery"}[kind]
        size = embedder.settings.batch_size
        with progress(total=len(paths), label=label) as bar:
            for start, batch, upcoming in batches(paths, size):
                if not budget.room(kind, size):
                    return
                level = budget.levels[budget.level]
                part = embedder.embed(batch, level, upcoming)
                budget.did(kind, len(batch))
                bar.update(len(batch))
                yield (
                    start + len(batch),
                    part._replace(positions=part.positions + start),
                )

    def _rank_first(self, test: Embeddings) -> None:
        start = time.monotonic()
        self.submission.write(test.positions, self.rank(test))
        self.budget.rates.add("rank", len(test.positions), time.monotonic() - start)
        self.budget.ranked()

    def _write(self, test: Embeddings, evidence: Evidence) -> list[Guess | None]:
        guesses = self.recogniser.guesses(test, evidence, self.landmarks)
        self.submission.write(test.positions, guesses)
        return guesses

    def _probe(self, embeddings: Embeddings) -> None:
        """Learn how long geometry takes, on a few images."""
        if not self.recogniser.geometry:
            return
        few = embeddings.select(slice(PROBE))
        evidence = self.recogniser.search(few)
        start = time.monotonic()
        self.recogniser.verify(evidence, [self.paths[i] for i in few.positions])
        self.budget.rates.add("verify", len(few.positions), time.monotonic() - start)


def _work(recogniser: Recogniser, n: int, new: Sequence[Label]) -> Work:
    """What there is to do for n test images; a larger gallery takes longer to rank by."""
    size = len(recogniser.gallery.image_ids)
    again = n * (size + len(new)) / max(size, 1)
    looks = recogniser.geometry and recogniser.ranking.ranking != "head"
    return Work(n, 0, again, len(new), n if looks else 0)


def _new_labels(labels: Columns[Label], recogniser: Recogniser) -> list[Label]:
    """The images of ``train.csv`` that are to join the gallery, in ``sort_rarest_first``."""
    gallery, settings = recogniser.gallery, recogniser.ranking
    if settings.ranking == "head":
        return []
    old = set(gallery.image_ids)
    new = [label for label in labels if label.image_id not in old]
    if len(new) > settings.new_gallery_limit:
        logger.warning(
            "%d images of train.csv are not in the bundle, more than "
            "recognition.new_gallery_limit = %d: left out",
            len(new),
            settings.new_gallery_limit,
        )
        return []
    return sort_rarest_first(new, gallery.landmark_ids.tolist())
