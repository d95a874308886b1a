"""The gallery of labelled vectors that queries are compared with, in memory and on disk."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kaggle_kit import config
from kaggle_kit.errors import ArtefactError
from kaggle_kit.retrieval.knn import mean_top
from kaggle_kit.retrieval.whitening import normalise
from kaggle_kit.storage import arrays, tables
from kaggle_kit.storage.csv_files import write_rows
from kaggle_kit.storage.tables import Label

BLOCK = 32768  # rows processed at a time by select_columns
ARRAYS = ("vectors", "penalties", "non_landmarks")
FILES = ("gallery.csv", *(f"{name}.npy" for name in ARRAYS))


@dataclass(frozen=True)
class Gallery:
    """Labelled images to search in, and non-landmark images for the penalties.

    Attributes:
        image_ids: n ids.
        landmark_ids: (n,) int64.
        vectors: (n, d) float16, unit length.
        penalties: (n,) float32, the mean cosine of each image to its nearest
            non-landmarks (B of A-B-C).
        non_landmarks: (m, d) float16, unit length; m may be 0.
    """

    image_ids: list[str]
    landmark_ids: NDArray[np.int64]
    vectors: NDArray[np.float16]
    penalties: NDArray[np.float32]
    non_landmarks: NDArray[np.float16]

    def select_landmarks(self, landmark_ids: Collection[int]) -> "Gallery":
        """A gallery of the given landmarks only; this gallery itself if it has no others."""
        rows = np.flatnonzero(np.isin(self.landmark_ids, list(landmark_ids)))
        if len(rows) == len(self.image_ids):
            return self
        return Gallery(
            [self.image_ids[i] for i in rows],
            self.landmark_ids[rows],
            self.vectors[rows],
            self.penalties[rows],
            self.non_landmarks,
        )

    def concatenate(self, other: "Gallery") -> "Gallery":
        """The images of this gallery, then those of the other; this one's non-landmarks."""
        return Gallery(
            self.image_ids + other.image_ids,
            np.concatenate([self.landmark_ids, other.landmark_ids]),
            np.concatenate([self.vectors, other.vectors]),
            np.concatenate([self.penalties, other.penalties]),
            self.non_landmarks,
        )

    def select_columns(self, mask: NDArray[np.bool_]) -> "Gallery":
        """The same images with only some dimensions of their vectors, at unit length.

        Args:
            mask: (d,) the dimensions to select.
        """
        vectors = np.empty((len(self.vectors), int(mask.sum())), np.float16)
        for start in range(0, len(vectors), BLOCK):
            block = slice(start, start + BLOCK)
            columns = self.vectors[block][:, mask].astype(np.float32)
            vectors[block] = normalise(columns)
        columns = np.asarray(self.non_landmarks)[:, mask].astype(np.float32)
        non_landmarks = normalise(columns).astype(np.float16)
        return replace(self, vectors=vectors, non_landmarks=non_landmarks)

    def save(self, folder: Path) -> None:
        """Write the gallery into a new folder: one CSV file and three arrays.

        Raises:
            ArtefactError: as for ``check``; nothing is written.
        """
        self.check(folder, "check the networks and the images that it is made of")
        folder.mkdir()
        rows = zip(self.image_ids, self.landmark_ids.tolist(), strict=True)
        write_rows(folder / "gallery.csv", ("id", "landmark_id"), rows)
        for name in ARRAYS:
            np.save(folder / f"{name}.npy", getattr(self, name), allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> "Gallery":
        """Read a gallery from a folder; its vectors are memory-mapped.

        Raises:
            ArtefactError: a file is missing or damaged, their shapes do not match, or as
                for ``check``.
        """
        labels = tables.read_labels(folder / "gallery.csv")
        try:
            vectors, penalties, non_landmarks = (
                arrays.map_array(folder / f"{name}.npy") for name in ARRAYS
            )
        except arrays.DAMAGE as error:
            raise ArtefactError(
                f"{folder}: expected a gallery, got {error!r:.200}; make the bundle again"
            ) from None
        if non_landmarks.shape == (0, 0):  # a subset without non-landmarks has no width
            non_landmarks = vectors[:0]
        shapes = vectors.shape[1:], penalties.shape[1:], non_landmarks.shape[1:]
        kinds = {array.dtype.kind for array in (vectors, penalties, non_landmarks)}
        if kinds != {"f"} or shapes != (vectors.shape[-1:], (), vectors.shape[-1:]):
            raise ArtefactError(
                f"{folder}: expected float vectors (n, d), penalties (n,) and "
                f"non_landmarks (m, d), got shapes {vectors.shape}, {penalties.shape} and "
                f"{non_landmarks.shape}; make the bundle again"
            )
        if not len(labels) == len(vectors) == len(penalties):
            raise ArtefactError(
                f"{folder}: expected one vector and one penalty for each of the "
                f"{len(labels)} rows of gallery.csv, got {len(vectors)} and "
                f"{len(penalties)}; make the bundle again"
            )
        image_ids = labels.column("image_id").tolist()
        landmark_ids = labels.column("landmark_id")
        gallery = cls(image_ids, landmark_ids, vectors, penalties, non_landmarks)
        gallery.check(folder, "make the bundle again")
        return gallery

    def check(self, folder: Path, remedy: str) -> None:
        """Check the numbers, in one pass over each array.

        An image without any feature has a vector of zeros, but several images of which
        none has another are a fault. Without non-landmarks all penalties are 0.

        Args:
            folder: of the gallery, for the error message.
            remedy: what to do about it.

        Raises:
            ArtefactError: a number is not finite or out of range, or a vector is not of
                unit length.
        """
        unit = 1 - arrays.ROUNDING, 1 + arrays.ROUNDING
        try:
            is_any = arrays.require_lengths("vectors", self.vectors, *unit)
            if self.vectors.size and len(self.vectors) > 1 and not is_any:
                raise ValueError("zeros in all vectors")
            # A mean of cosines, each the product of two vectors of that length.
            most = unit[1] ** 2 if self._has_non_landmarks(*unit) else 0.0
            arrays.require_range("penalties", self.penalties, -most, most)
        except ValueError as error:
            raise ArtefactError(
                f"{folder}: expected vectors of unit length and penalties from -1 to 1, "
                f"got {error}; {remedy}"
            ) from None

    def _has_non_landmarks(self, low: float, high: float) -> bool:
        if not len(self.non_landmarks):
            return False
        return arrays.require_lengths("non_landmarks", self.non_landmarks, low, high)


def build_gallery(
    labels: Sequence[Label],
    vectors: NDArray[np.float32],
    non_landmarks: NDArray[np.float16],
    settings: config.Recognition,
) -> Gallery:
    """Build a gallery of n labelled vectors, (n, d), and compute their penalties."""
    float16_vectors = vectors.astype(np.float16)
    return Gallery(
        [label.image_id for label in labels],
        np.array([label.landmark_id for label in labels], np.int64),
        float16_vectors,
        mean_top(float16_vectors, non_landmarks, settings.gallery_penalty),
        non_landmarks,
    )


def sort_rarest_first(
    labels: Sequence[Label], gallery_landmarks: Sequence[int] = ()
) -> list[Label]:
    """Sort images so that any prefix of the result favours landmarks with few images.

    The sort key of an image is the number of images of its landmark that precede it: in
    ``gallery_landmarks`` or in ``labels``. The relative order of equal keys is preserved.

    Args:
        gallery_landmarks: the landmark of each image that the gallery has already.

    >>> labels = [Label("a", i) for i in (7, 7, 7, 8)]
    >>> [label.landmark_id for label in sort_rarest_first(labels, [8])]
    [7, 7, 8, 7]
    """
    counts = Counter(gallery_landmarks)
    keys = []
    for label in labels:
        keys.append(counts[label.landmark_id])
        counts[label.landmark_id] += 1
    return [labels[i] for i in sorted(range(len(labels)), key=keys.__getitem__)]
