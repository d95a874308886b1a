"""Photos to unit vectors, by the SavedModel of a bundle."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kaggle_kit.config import Config
from kaggle_kit.data.pipeline import photos
from kaggle_kit.errors import ArtefactError
from kaggle_kit.paths import image_path
from kaggle_kit.progress import progress
from kaggle_kit.recognition.search import Gallery, mean_top
from kaggle_kit.tables import Label


class Embedded(NamedTuple):
    """What the network says of some photos.

    which: (b,) places among the photos asked for; one that does not decode is absent.
    vectors: (b, d) float32, unit length.
    log_probability: (b, C) float32; C is 0 where the model has no head.
    """

    which: NDArray[np.int64]
    vectors: NDArray[np.float32]
    log_probability: NDArray[np.float32]


class Embedder:
    """A SavedModel made by ``model.export``, with the preprocessing it was trained for."""

    def __init__(self, model_dir: Path, settings: Config):
        """Load the model.

        Raises:
            ArtefactError: the folder holds no readable SavedModel.
        """
        try:
            self.model = tf.saved_model.load(str(model_dir))
        except (OSError, ValueError, tf.errors.OpError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ArtefactError(
                f"{model_dir}: expected a SavedModel, got {reason}; make the bundle again"
            ) from None
        self.settings = settings
        size = settings.data.image_size
        blank = self._run(np.empty(0, np.int64), np.zeros((1, size, size, 3), np.uint8))
        self._nothing = Embedded(
            blank.which, blank.vectors[:0], blank.log_probability[:0]
        )

    def stream(self, paths: Sequence[Path], label: str) -> Iterator[Embedded]:
        """Embed photos, batch by batch, in order."""
        batch_size = self.settings.recognition.batch_size
        with progress(total=len(paths), label=label) as bar:
            for which, pixels in photos(paths, self.settings.data, batch_size):
                yield self._run(which, pixels)
                bar.update(len(which))

    def embed(self, paths: Sequence[Path], label: str) -> Embedded:
        """Embed photos and hold all of the result."""
        return self.joined(list(self.stream(paths, label)))

    def joined(self, parts: Sequence[Embedded]) -> Embedded:
        """Several results as one, of the right widths even when there are none."""
        which, vectors, heads = zip(self._nothing, *parts, strict=True)
        return Embedded(
            np.concatenate(which), np.concatenate(vectors), np.concatenate(heads)
        )

    def _run(self, which: NDArray[np.int64], pixels: NDArray[np.uint8]) -> Embedded:
        output = self.model.serve(pixels)
        none = np.empty((len(pixels), 0), np.float32)
        head = (
            output["log_probability"].numpy() if "log_probability" in output else none
        )
        return Embedded(which, output["embedding"].numpy(), head)


def gallery_of(
    embedder: Embedder,
    train_dir: Path,
    labels: Sequence[Label],
    non_landmarks: NDArray[np.float16],
) -> Gallery:
    """Embed labelled photos into a gallery; those that do not decode are left out.

    Args:
        non_landmarks: (m, d) vectors that the penalties are measured against.
    """
    paths = [image_path(train_dir, label.image_id) for label in labels]
    which, vectors, _ = embedder.embed(paths, "gallery")
    kept = [labels[i] for i in which]
    halves = vectors.astype(np.float16)
    penalty = mean_top(
        halves, non_landmarks, embedder.settings.recognition.gallery_penalty
    )
    return Gallery(
        [label.image_id for label in kept],
        np.array([label.landmark_id for label in kept], np.int64),
        halves,
        penalty,
        non_landmarks,
    )
