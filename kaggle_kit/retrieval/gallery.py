"""The gallery: the labelled vectors that queries are compared with, in memory and on disk."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kaggle_kit import config
from kaggle_kit.errors import ArtefactError
from kaggle_kit.retrieval.knn import mean_top
from kaggle_kit.storage import arrays, tables
from kaggle_kit.storage.csv_files import write_rows
from kaggle_kit.storage.tables import Label


@dataclass(frozen=True)
class Gallery:
    """Labelled photos to search in, and non-landmarks to be wary of.

    Attributes:
        image_ids: n ids.
        landmark_ids: (n,) int64.
        vectors: (n, d) float16, unit length.
        penalties: (n,) float32, how like a non-landmark each photo is (B of A-B-C).
        non_landmarks: (m, d) float16, unit length; m may be 0.
    """

    image_ids: list[str]
    landmark_ids: NDArray[np.int64]
    vectors: NDArray[np.float16]
    penalties: NDArray[np.float32]
    non_landmarks: NDArray[np.float16]

    def of_landmarks(self, landmark_ids: Collection[int]) -> "Gallery":
        """The part of the gallery that shows the given landmarks; no copy of all of it."""
        kept = np.flatnonzero(np.isin(self.landmark_ids, list(landmark_ids)))
        if len(kept) == len(self.image_ids):
            return self
        return Gallery(
            [self.image_ids[i] for i in kept],
            self.landmark_ids[kept],
            self.vectors[kept],
            self.penalties[kept],
            self.non_landmarks,
        )

    def joined(self, other: "Gallery") -> "Gallery":
        """This gallery and then the other's photos; the non-landmarks are this one's."""
        return Gallery(
            self.image_ids + other.image_ids,
            np.concatenate([self.landmark_ids, other.landmark_ids]),
            np.concatenate([self.vectors, other.vectors]),
            np.concatenate([self.penalties, other.penalties]),
            self.non_landmarks,
        )

    def save(self, folder: Path) -> None:
        """Write the gallery into a new folder: one CSV file and three arrays."""
        folder.mkdir()
        rows = zip(self.image_ids, self.landmark_ids.tolist(), strict=True)
        write_rows(folder / "gallery.csv", ("id", "landmark_id"), rows)
        for name in ("vectors", "penalties", "non_landmarks"):
            np.save(folder / f"{name}.npy", getattr(self, name), allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> "Gallery":
        """Read a gallery back; its vectors stay on disk until they are used.

        Raises:
            ArtefactError: a file is missing or damaged, or their lengths differ.
        """
        labels = tables.read_labels(folder / "gallery.csv")
        try:
            vectors, penalties, non_landmarks = (
                arrays.map_array(folder / f"{name}.npy")
                for name in ("vectors", "penalties", "non_landmarks")
            )
        except arrays.DAMAGE as error:
            raise ArtefactError(
                f"{folder}: expected a gallery, got {error!r:.200}; make the bundle again"
            ) from None
        if non_landmarks.shape == (0, 0):  # of a subset without them: no width is known
            non_landmarks = vectors[:0]
        shapes = vectors.shape[1:], penalties.shape[1:], non_landmarks.shape[1:]
        kinds = {array.dtype.kind for array in (vectors, penalties, non_landmarks)}
        if kinds != {"f"} or shapes != (vectors.shape[-1:], (), vectors.shape[-1:]):
            raise ArtefactError(
                f"{folder}: expected vectors, penalties and non_landmarks of numbers, of "
                f"one width, got shapes {vectors.shape}, {penalties.shape} and "
                f"{non_landmarks.shape}; make the bundle again"
            )
        if not len(labels) == len(vectors) == len(penalties):
            raise ArtefactError(
                f"{folder}: expected as many vectors and penalties as the {len(labels)} "
                f"rows of gallery.csv, got {len(vectors)} and {len(penalties)}; make the "
                f"bundle again"
            )
        image_ids = labels.column("image_id").tolist()
        landmark_ids = labels.column("landmark_id")
        return cls(image_ids, landmark_ids, vectors, penalties, non_landmarks)


def gallery_from(
    labels: Sequence[Label],
    vectors: NDArray[np.float32],
    non_landmarks: NDArray[np.float16],
    settings: config.Recognition,
) -> Gallery:
    """A gallery of labelled vectors, (n, d), with their penalties."""
    halves = vectors.astype(np.float16)
    return Gallery(
        [label.image_id for label in labels],
        np.array([label.landmark_id for label in labels], np.int64),
        halves,
        mean_top(halves, non_landmarks, settings.gallery_penalty),
        non_landmarks,
    )
