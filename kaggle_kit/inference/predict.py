"""From a bundle and a competition folder to ``submission.csv``; kernels run this."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.errors import ArtefactError
from kaggle_kit.inference.embedder import Embeddings, concatenate
from kaggle_kit.inference.recogniser import Recogniser
from kaggle_kit.inference.submission_file import SubmissionFile
from kaggle_kit.inference.time_budget import Budget, Drop, Work
from kaggle_kit.inference.timely_batches import embed_in_time
from kaggle_kit.limits import require_limit
from kaggle_kit.local_features.extract import BLOCK
from kaggle_kit.progress import progress
from kaggle_kit.retrieval.gallery import build_gallery, sort_rarest_first
from kaggle_kit.retrieval.ranking import Evidence
from kaggle_kit.storage import tables
from kaggle_kit.storage.columns import Columns
from kaggle_kit.storage.tables import Guess, Label

logger = logging.getLogger(__name__)
NAMED = 100  # unreadable images in the log
PROBE = 8  # images verified after the first batch, to measure the rate


@dataclass(frozen=True)
class Prediction:
    """Counts of a submission.

    Attributes:
        images: rows of the submission.
        guesses: rows with a guess.
        unreadable: images that are missing or do not decode.
        dropped: work that did not fit into the time limit.
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
    untrusted: bool = False,
) -> Prediction:
    """Write a guess for every image of ``sample_submission.csv``, in its order.

    The passes, in order: embed and rank the test images; embed images of ``train.csv`` that
    the gallery lacks, those of the rarest landmarks first, unless there are too many; rank
    all test images again; verify geometrically, if it is part of the ranking. Only
    landmarks in ``train.csv`` are guessed, since a rerun on Kaggle may have another
    ``train.csv`` than the one that the bundle was built with.

    A valid file without guesses is written before the model is loaded. It is replaced
    atomically about once a minute. A row that has a guess always keeps one.

    With a time limit, work that does not fit is dropped early, in the order that
    ``inference.time_budget`` states, by measured rates. The guesses then depend on the
    clock. If all work fits, the file is identical to one without a limit.

    An image that is missing, does not decode or was not reached has a row without a guess.
    A default guess could not lower GAP, but would hardly raise it: the most frequent
    landmark is right for about one image in a thousand. And it would hide the failure.

    Args:
        time_limit_s: seconds until the process must end, including a margin of 4% and 5 s.
            The kernel passes the 12 hours of a rerun. None: no limit.
        began: start of the limit, by ``time.monotonic``; None: now.
        untrusted: the bundle is a stranger's; see ``Recogniser.load``.

    Raises:
        DataError, TableError, ArtefactError: a folder is incomplete or damaged, or a
            network's embeddings are not finite, or zero for every image.
        KitError: the limit is not a finite number above 0.
    """
    require_limit("time_limit_s", time_limit_s, "seconds")
    began = time.monotonic() if began is None else began
    files = Competition(Path(competition)).require(
        "sample_submission.csv", "train.csv", "test", images=False
    )
    image_ids = tables.read_sample(files.sample_csv)
    submission = SubmissionFile(Path(out), image_ids)
    labels = tables.read_labels(files.train_csv)
    with Recogniser.load(
        bundle, train_dir=files.train_dir, untrusted=untrusted
    ) as recogniser:
        embedder = recogniser.embedder
        budget = Budget(embedder.levels, embedder.rates, time_limit_s, began)
        run = _Run(Path(bundle), recogniser, files, labels, submission, budget)
        run.predict()
    if run.unreadable:
        named = ", ".join(path.name for path in run.unreadable[:NAMED])
        more = ", ..." if len(run.unreadable) > NAMED else ""
        logger.warning(
            "%d images are missing or do not decode: %s%s",
            *(len(run.unreadable), named, more),
        )
    n, n_guesses = len(image_ids), len(submission.guesses)
    logger.info("%d guesses for %d images in %s", n_guesses, n, out)
    return Prediction(n, n_guesses, len(run.unreadable), budget.list_drops())


class _Run:
    """The passes over a competition's images, within the time budget.

    Attributes:
        landmarks: those in ``train.csv``, which may be guessed.
        new: images of ``train.csv`` to add to the gallery.
        recogniser: its gallery has only ``landmarks``; ``add_new_images`` extends it.
        paths: of the test images.
        unreadable: the test images that were reached and do not decode.
    """

    def __init__(
        self,
        bundle: Path,
        recogniser: Recogniser,
        files: Competition,
        labels: Columns[Label],
        submission: SubmissionFile,
        budget: Budget,
    ):
        self.bundle = bundle
        self.landmarks = set(labels.column("landmark_id").tolist())
        self.new = _new_labels(labels, recogniser)
        gallery = recogniser.gallery.select_landmarks(self.landmarks)
        self.recogniser = recogniser.with_gallery(gallery)
        self.files = files
        self.submission = submission
        self.budget = budget
        self.paths = [image_path(files.test_dir, i) for i in submission.image_ids]
        self.unreadable: list[Path] = []

    def predict(self) -> None:
        """Run all passes."""
        self.budget.start(_plan_work(self.recogniser, len(self.paths), self.new))
        test = self.embed_test_images()
        if len(test.positions) > 1 and not test.vectors.any():
            raise ArtefactError(
                f"{self.bundle / 'embedders'}: expected embeddings that tell images apart, "
                f"got zeros for all {len(test.positions)} test images; check the training, "
                f"and make the bundle again"
            )
        self.budget.record_decoded(len(test.positions))
        if self.recogniser.ranking.ranking == "head":
            if self.budget.admit("again"):
                self.submission.write(test.positions, self.rank(test))
            return
        self.add_new_images()
        if len(test.positions) and self.budget.admit("again"):
            self.rank_again(test)

    def embed_test_images(self) -> Embeddings:
        """Embed the test images in order; rank them whenever ``submission.csv`` is stale."""
        batches: list[Embeddings] = []
        n_ranked = n_reached = 0
        embedder, budget = self.recogniser.embedder, self.budget
        for n_reached, embeddings in embed_in_time(
            embedder, budget, "test", self.paths
        ):
            batches.append(embeddings)
            if len(batches) == 1 or self.submission.is_stale:
                self._rank_first(concatenate(batches[n_ranked:]))
                n_ranked = len(batches)
            if len(batches) == 1 and self.budget.limited:
                self._measure_verification(embeddings)
        if n_ranked < len(batches):
            self._rank_first(concatenate(batches[n_ranked:]))
        test = concatenate(batches)
        found = set(test.positions.tolist())
        self.unreadable = [
            path for i, path in enumerate(self.paths[:n_reached]) if i not in found
        ]
        return test

    def add_new_images(self) -> None:
        """Add new images to the gallery in their order, as many as time allows."""
        paths = [image_path(self.files.train_dir, x.image_id) for x in self.new]
        embedder, budget = self.recogniser.embedder, self.budget
        new = concatenate(
            [found for _, found in embed_in_time(embedder, budget, "new", paths)]
        )
        if not len(new.positions):
            return
        labels = [self.new[i] for i in new.positions]
        gallery = self.recogniser.gallery
        extension = build_gallery(
            labels, new.vectors, gallery.non_landmarks, self.recogniser.ranking
        )
        self.recogniser = self.recogniser.with_gallery(gallery.concatenate(extension))

    def rank(self, test: Embeddings) -> list[Guess | None]:
        """Guess without geometry."""
        if not len(test.positions):
            return []
        evidence = None
        if self.recogniser.ranking.ranking != "head":
            evidence = self.recogniser.search(test)
        return self.recogniser.guesses(test, evidence, self.landmarks)

    def rank_again(self, test: Embeddings) -> None:
        """Rank all images against the extended gallery, then verify them."""
        evidence = self.recogniser.search(test)
        start = time.monotonic()
        guesses = self._write_guesses(test, evidence)
        self.budget.reserve_s = 1.5 * (time.monotonic() - start)
        self.budget.record_done("again", len(test.positions))
        if self.recogniser.geometry and None not in guesses:
            confidence = [guess.confidence for guess in guesses if guess]
            order = np.argsort(-np.array(confidence), kind="stable")
            self.verify(test, evidence, order)

    def verify(
        self, test: Embeddings, evidence: Evidence, order: NDArray[np.intp]
    ) -> None:
        """Add inliers to the evidence, block by block, and rank with them.

        Args:
            order: rows of ``evidence``, the most confident guesses first. The last ones
                are not verified if the time is up. They then rank below the verified
                ones, because inliers raise the confidence of right guesses.
        """
        n_done = 0
        with progress(total=len(order), label="geometry") as bar:
            while self.budget.admit("verify", BLOCK):
                block = order[n_done : n_done + BLOCK]
                start = time.monotonic()
                paths = [self.paths[i] for i in test.positions[block]]
                evidence.inliers[block] = self.recogniser.count_inliers(
                    evidence.select(block), paths
                )
                n_done += len(block)
                self.budget.rates.add("verify", len(block), time.monotonic() - start)
                self.budget.record_done("verify", len(block))
                bar.update(len(block))
                if self.submission.is_stale:
                    self._write_guesses(test, evidence)
        if n_done:
            self._write_guesses(test, evidence)

    def _rank_first(self, test: Embeddings) -> None:
        """The first pass of ranking, of some test images."""
        start = time.monotonic()
        self.submission.write(test.positions, self.rank(test))
        self.budget.rates.add("rank", len(test.positions), time.monotonic() - start)
        self.budget.record_ranked()

    def _write_guesses(
        self, test: Embeddings, evidence: Evidence
    ) -> list[Guess | None]:
        guesses = self.recogniser.guesses(test, evidence, self.landmarks)
        self.submission.write(test.positions, guesses)
        return guesses

    def _measure_verification(self, embeddings: Embeddings) -> None:
        """Measure the rate of verification on a few images."""
        if not self.recogniser.geometry:
            return
        probe = embeddings.select(slice(PROBE))
        evidence = self.recogniser.search(probe)
        start = time.monotonic()
        self.recogniser.verify(evidence, [self.paths[i] for i in probe.positions])
        self.budget.rates.add("verify", len(probe.positions), time.monotonic() - start)


def _plan_work(recogniser: Recogniser, n: int, new: Sequence[Label]) -> Work:
    """The work for n test images; ranking time is proportional to the gallery's size."""
    size = len(recogniser.gallery.image_ids)
    again = n * (size + len(new)) / max(size, 1)
    has_verification = recogniser.geometry and recogniser.ranking.ranking != "head"
    return Work(n, 0, again, len(new), n if has_verification else 0)


def _new_labels(labels: Columns[Label], recogniser: Recogniser) -> list[Label]:
    """The images of ``train.csv`` that the gallery lacks, in ``sort_rarest_first`` order."""
    gallery, settings = recogniser.gallery, recogniser.ranking
    if settings.ranking == "head":
        return []
    gallery_ids = set(gallery.image_ids)
    new = [label for label in labels if label.image_id not in gallery_ids]
    if len(new) > settings.new_gallery_limit:
        logger.warning(
            "%d images of train.csv are not in the bundle, more than "
            "recognition.new_gallery_limit = %d: they are not added",
            len(new),
            settings.new_gallery_limit,
        )
        return []
    return sort_rarest_first(new, gallery.landmark_ids.tolist())
