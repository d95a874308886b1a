"""From a bundle and a competition folder to ``submission.csv``; the kernel's whole work."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kaggle_kit import config, tables
from kaggle_kit.paths import Competition, image_path
from kaggle_kit.recognition.embed import Embedded, concatenated
from kaggle_kit.recognition.rank import gallery_guesses, head_guesses
from kaggle_kit.recognition.recogniser import Recogniser, gallery_of
from kaggle_kit.recognition.search import Gallery
from kaggle_kit.tables import Guess, Label

logger = logging.getLogger(__name__)
Rank = Callable[[Embedded], list[Guess | None]]
REFRESH_S = 60.0


def predict(bundle: Path, competition: Path, out: Path) -> dict[str, int]:
    """Write a guess for every photo of ``sample_submission.csv``, in its order.

    A valid file without guesses is there before the model is loaded, and is replaced
    whole, at most a minute apart, as guesses come in. Only landmarks that the
    competition's ``train.csv`` names are guessed, since it may be another one than the
    bundle was made with; its photos that the bundle's gallery lacks are embedded after
    the test photos, if they are few enough, and all is ranked again. Geometry, if it is
    looked at, comes last.

    A photo that is missing or does not decode has a row without a guess.

    Returns:
        Counts: images, guesses, unreadable.

    Raises:
        DataError, TableError, ArtefactError: a folder is not what it should be.
    """
    bundle, out = Path(bundle), Path(out)
    place = Competition(Path(competition)).require(
        "sample_submission.csv", "train.csv", "test"
    )
    image_ids = tables.read_sample(place.sample_csv)
    submission = Submission(out, image_ids)
    labels = tables.read_labels(place.train_csv)
    recogniser = Recogniser.load(bundle, place.train_dir)
    known = set(labels.column("landmark_id").tolist())
    paths = [image_path(place.test_dir, image_id) for image_id in image_ids]
    settings = recogniser.settings.recognition
    if settings.ranking == "head":
        rank = _head_rank(recogniser, known)
        test = _first_pass(recogniser, paths, rank, submission)
        submission.write(test, rank(test))
    else:
        gallery = recogniser.gallery.of_landmarks(known)
        rank = _gallery_rank(recogniser, gallery)
        test = _first_pass(recogniser, paths, rank, submission)
        new = _new_labels(labels, recogniser.gallery, settings)
        if new:
            pool = gallery.non_landmarks
            added = gallery_of(recogniser.embedder, place.train_dir, new, pool)
            gallery = gallery.joined(added) if added.image_ids else gallery
        _rank_all(recogniser, gallery, test, [paths[i] for i in test.which], submission)
    unreadable = len(image_ids) - len(test.which)
    if unreadable:
        logger.warning("%d photos are missing or do not decode: no guess", unreadable)
    n_guesses = len(submission.guesses)
    logger.info("%d guesses for %d photos in %s", n_guesses, len(image_ids), out)
    return {"images": len(image_ids), "guesses": n_guesses, "unreadable": unreadable}


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


def _first_pass(
    recogniser: Recogniser, paths: Sequence[Path], rank: Rank, submission: Submission
) -> Embedded:
    """Embed the test photos, and let the file on disk keep up."""
    parts: list[Embedded] = []
    n_ranked = 0
    for part in recogniser.embedder.stream(paths, "test photos"):
        parts.append(part)
        if submission.stale:
            fresh = concatenated(parts[n_ranked:])
            submission.write(fresh, rank(fresh))
            n_ranked = len(parts)
    return concatenated(parts)


def _rank_all(
    recogniser: Recogniser,
    gallery: Gallery,
    test: Embedded,
    paths: Sequence[Path],
    submission: Submission,
) -> None:
    """Rank all photos against the whole gallery, with their geometry if asked for."""
    settings = recogniser.settings.recognition
    if not len(paths):
        return
    known = recogniser.evidence(test, gallery)
    if recogniser.geometry and settings.verification:
        steps = recogniser.geometry.verified(
            known, paths, gallery, settings.verification
        )
        for known in steps:
            if submission.stale:
                submission.write(test, gallery_guesses(known, gallery, settings))
    submission.write(test, gallery_guesses(known, gallery, settings))


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
    """The photos of ``train.csv`` that are to join the gallery."""
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
    return new
