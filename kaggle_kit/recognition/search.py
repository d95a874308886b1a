"""The gallery, and the photos of it nearest to a query."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kaggle_kit import tables
from kaggle_kit.errors import ArtefactError

QUERY_BLOCK = 1024
GALLERY_BLOCK = 32768  # a block of similarities takes 128 MiB


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
        """The part of the gallery that shows the given landmarks."""
        kept = np.flatnonzero(np.isin(self.landmark_ids, list(landmark_ids)))
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
        tables.write_rows(folder / "gallery.csv", ("id", "landmark_id"), rows)
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
                np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
                for name in ("vectors", "penalties", "non_landmarks")
            )
        except (OSError, ValueError) as error:
            raise ArtefactError(
                f"{folder}: expected a gallery, got {error}; make the bundle again"
            ) from None
        if not len(labels) == len(vectors) == len(penalties):
            raise ArtefactError(
                f"{folder}: expected as many vectors and penalties as the {len(labels)} "
                f"rows of gallery.csv, got {len(vectors)} and {len(penalties)}; make the "
                f"bundle again"
            )
        landmark_ids = np.array([label.landmark_id for label in labels], np.int64)
        image_ids = [label.image_id for label in labels]
        return cls(image_ids, landmark_ids, vectors, penalties, non_landmarks)


def top_k(
    queries: ArrayLike, gallery: ArrayLike, k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The k gallery rows most similar to each query, exactly, most similar first.

    Both are read in blocks, so memory does not grow with either.

    Args:
        queries: (q, d) unit vectors.
        gallery: (n, d) unit vectors.
        k: how many; at most n are returned.

    Returns:
        ((q, k) cosines, (q, k) rows). Equal cosines are in the order of their rows.
    """
    queries, gallery = np.asarray(queries), np.asarray(gallery)
    k = min(k, len(gallery))
    cosines = np.empty((len(queries), k), np.float32)
    rows = np.empty((len(queries), k), np.int64)
    if not k:
        return cosines, rows
    for start in range(0, len(queries), QUERY_BLOCK):
        block = slice(start, start + QUERY_BLOCK)
        query = queries[block].astype(np.float32)
        best = np.empty((len(query), 0), np.float32)
        where = np.empty((len(query), 0), np.int64)
        for first in range(0, len(gallery), GALLERY_BLOCK):
            found = query @ gallery[first : first + GALLERY_BLOCK].astype(np.float32).T
            cosine, row = _largest(found, k)
            best = np.concatenate([best, cosine], axis=1)
            where = np.concatenate([where, row + first], axis=1)
            best, order = _largest(best, k)
            where = np.take_along_axis(where, order, axis=1)
        cosines[block], rows[block] = best, where
    return cosines, rows


def mean_top(queries: ArrayLike, gallery: ArrayLike, k: int) -> NDArray[np.float32]:
    """The mean cosine of each query to its k most similar gallery rows, (q,); 0 of none."""
    cosines, _ = top_k(queries, gallery, k)
    if not cosines.shape[1]:
        return np.zeros(len(cosines), np.float32)
    return cosines.mean(axis=1)


def _largest(
    values: NDArray[np.float32], k: int
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """The k largest of each row and their columns, sorted; ties by column."""
    k = min(k, values.shape[1])
    least = np.partition(values, -k, axis=1)[:, -k, None]  # the k-th largest
    above = values > least
    equal = values == least  # of which the first few stay
    room = k - above.sum(axis=1, keepdims=True)
    above |= equal & (equal.cumsum(axis=1, dtype=np.int32) <= room)
    columns = above.nonzero()[1].reshape(len(values), k)
    largest = np.take_along_axis(values, columns, axis=1)
    order = np.argsort(-largest, axis=1, kind="stable")
    return (
        np.take_along_axis(largest, order, axis=1),
        np.take_along_axis(columns, order, axis=1),
    )
