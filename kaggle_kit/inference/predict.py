"""From a bundle and a competition folder to ``submission.csv``; the kernel's whole work."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kaggle_kit import config
from kaggle_kit.backends.tensorflow import TensorFlowEngine
from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.inference.embedder import Embedded
from kaggle_kit.inference.recogniser import Recogniser, rarest_first
from kaggle_kit.inference.submission_passes import Passes, Rank, Submission
from kaggle_kit.inference.time_budget import Budget, Work
from kaggle_kit.retrieval.gallery import Gallery
from kaggle_kit.retrieval.ranking import gallery_guesses, head_guesses
from kaggle_kit.storage import tables
from kaggle_kit.storage.tables import Guess, Label

logger = logging.getLogger(__name__)


def predict(
    bundle: Path,
    competition: Path,
    out: Path,
    time_limit_s: float | None = None,
    began: float | None = None,
) -> dict[str, Any]:
    """Write a guess for every photo of ``sample_submission.csv``, in its order.

    A valid file without guesses is there before the model is loaded, and is replaced
    whole, at most a minute apart, as guesses come in; none is taken back. Only landmarks
    that the competition's ``train.csv`` names are guessed, since it may be another one
    than the bundle was made with; its photos that the bundle's gallery lacks are embedded
    after the test photos, if they are few enough, those of the rarest landmarks first,
    and all is ranked again. Geometry, if it is looked at, comes last.

    With a time limit, what does not fit is dropped before it is too late, in the order
    that ``inference.time_budget`` states, by rates that are measured all along; then the
    guesses depend on the clock, too. What fits gives the same bytes as without a limit.

    A photo that is missing, does not decode or was not reached has a row without a guess.
    A guess that knows nothing of the photo is not made up: below all others it could not
    lower GAP, but the commonest landmark of all is right for about one photo in a thousand,
    so what it adds is below the fourth digit, and the row would hide what happened.

    Args:
        time_limit_s: until the process must be over; 4% and 5 s of it are kept as a
            margin. The kernel gives the 12 hours of a rerun. None: no limit.
        began: the time by ``time.monotonic`` that it counts from; None: now.

    Returns:
        Counts: images, guesses, unreadable; and what was ``dropped`` for want of time.

    Raises:
        DataError, TableError, ArtefactError: a folder is not what it should be.
    """
    began = time.monotonic() if began is None else began
    bundle, out = Path(bundle), Path(out)
    place = Competition(Path(competition)).require(
        "sample_submission.csv", "train.csv", "test"
    )
    image_ids = tables.read_sample(place.sample_csv)
    submission = Submission(out, image_ids)
    labels = tables.read_labels(place.train_csv)
    recogniser = Recogniser.load(bundle, place.train_dir, TensorFlowEngine())
    embedder = recogniser.embedder
    budget = Budget(embedder.levels, embedder.rates, time_limit_s, began)
    known = set(labels.column("landmark_id").tolist())
    gallery = recogniser.gallery.of_landmarks(known)
    paths = [image_path(place.test_dir, image_id) for image_id in image_ids]
    passes = Passes(recogniser, gallery, submission, budget)
    if recogniser.settings.recognition.ranking == "head":
        budget.start(Work(test=len(paths), again=len(paths)))
        rank = _head_rank(recogniser, known)
        test = passes.test_photos(paths, rank)
        if budget.room("again"):
            submission.write(test, rank(test))
    else:
        new = _new_labels(labels, recogniser.gallery, recogniser.settings.recognition)
        budget.start(_work(recogniser, len(paths), gallery, new))
        test = passes.test_photos(paths, _gallery_rank(recogniser, gallery))
        passes.new_photos(place.train_dir, new)
        passes.rank_again(test, [paths[i] for i in test.which])
    unreadable = passes.reached - len(test.which)
    if unreadable:
        logger.warning("%d photos are missing or do not decode: no guess", unreadable)
    n_guesses = len(submission.guesses)
    logger.info("%d guesses for %d photos in %s", n_guesses, len(image_ids), out)
    counts = {"images": len(image_ids), "guesses": n_guesses, "unreadable": unreadable}
    return counts | {"dropped": budget.dropped()}


def _work(
    recogniser: Recogniser, n: int, gallery: Gallery, new: Sequence[Label]
) -> Work:
    """What there is to do for n test photos; a larger gallery takes longer to rank by."""
    size = len(gallery.image_ids)
    again = n * (size + len(new)) / max(size, 1)
    return Work(n, 0, again, len(new), n if recogniser.geometry else 0)


def _gallery_rank(recogniser: Recogniser, gallery: Gallery) -> Rank:
    settings = recogniser.settings.recognition
    return lambda test: gallery_guesses(
        recogniser.evidence(test, gallery), gallery, settings
    )


def _head_rank(recogniser: Recogniser, known: set[int]) -> Rank:
    classes = recogniser.classes
    share = recogniser.settings.recognition.demote_share

    def rank(test: Embedded) -> list[Guess | None]:
        if not len(test.which):
            return []
        return head_guesses(test.log_probability, classes, known, share)

    return rank


def _new_labels(
    labels: Sequence[Label], gallery: Gallery, settings: config.Recognition
) -> list[Label]:
    """The photos of ``train.csv`` that are to join the gallery, in ``rarest_first``."""
    old = set(gallery.image_ids)
    new = [label for label in labels if label.image_id not in old]
    if len(new) > settings.new_gallery_limit:
        logger.warning(
            "%d photos of train.csv are not in the bundle, more than "
            "recognition.new_gallery_limit = %d: left out",
            len(new),
            settings.new_gallery_limit,
        )
        return []
    return rarest_first(new, gallery.landmark_ids.tolist())
