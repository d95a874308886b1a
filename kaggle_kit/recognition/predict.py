"""From a bundle and a competition folder to ``submission.csv``; the kernel's whole work."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kaggle_kit import config, tables
from kaggle_kit.paths import Competition, image_path
from kaggle_kit.recognition.embed import Embedded, Embedder, gallery_of
from kaggle_kit.recognition.rank import gallery_guesses, head_guesses
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
    the test photos, if they are few enough, and all is ranked again.

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
    tables.write_submission(out, image_ids, {})
    labels = tables.read_labels(place.train_csv)
    settings = config.read_json(bundle / "config.json")
    embedder = Embedder(bundle / "model", settings)
    gallery = Gallery.load(bundle / "gallery")
    known = {label.landmark_id for label in labels}
    if settings.recognition.ranking == "head":
        rank = _head_rank(bundle, known)
    else:
        rank = _gallery_rank(gallery.of_landmarks(known), settings.recognition)
    test = _first_pass(embedder, place, image_ids, rank, out)
    if settings.recognition.ranking == "gallery":
        new = _new_labels(labels, gallery, settings.recognition)
        if new:
            added = gallery_of(embedder, place.train_dir, new, gallery.non_landmarks)
            whole = gallery.of_landmarks(known).joined(added)
            rank = _gallery_rank(whole, settings.recognition)
    guesses = _by_id(image_ids, test, rank(test))
    tables.write_submission(out, image_ids, guesses)
    unreadable = len(image_ids) - len(test.which)
    if unreadable:
        logger.warning("%d photos are missing or do not decode: no guess", unreadable)
    logger.info("%d guesses for %d photos in %s", len(guesses), len(image_ids), out)
    return {
        "images": len(image_ids),
        "guesses": len(guesses),
        "unreadable": unreadable,
    }


def _first_pass(
    embedder: Embedder,
    place: Competition,
    image_ids: Sequence[str],
    rank: Rank,
    out: Path,
) -> Embedded:
    """Embed the test photos, and let the file on disk keep up."""
    paths = [image_path(place.test_dir, image_id) for image_id in image_ids]
    parts: list[Embedded] = []
    guesses: dict[str, Guess] = {}
    n_ranked, written_at = 0, time.monotonic()
    for part in embedder.stream(paths, "test photos"):
        parts.append(part)
        if time.monotonic() - written_at > REFRESH_S:
            fresh = embedder.joined(parts[n_ranked:])
            guesses |= _by_id(image_ids, fresh, rank(fresh))
            tables.write_submission(out, image_ids, guesses)
            n_ranked, written_at = len(parts), time.monotonic()
    return embedder.joined(parts)


def _gallery_rank(gallery: Gallery, settings: config.Recognition) -> Rank:
    return lambda test: gallery_guesses(test.vectors, gallery, settings)


def _head_rank(bundle: Path, known: set[int]) -> Rank:
    classes = tables.read_classes(bundle / "classes.csv")
    return lambda test: head_guesses(test.log_probability, classes, known)


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


def _by_id(
    image_ids: Sequence[str], test: Embedded, guesses: Sequence[Guess | None]
) -> Mapping[str, Guess]:
    pairs = zip(test.which.tolist(), guesses, strict=True)
    return {image_ids[i]: guess for i, guess in pairs if guess is not None}
