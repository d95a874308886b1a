"""Whitening of embeddings, fitted on a gallery."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.errors import ArtefactError
from kaggle_kit.storage import arrays

BLOCK = 65536  # rows read at a time when fitting
ROWS = 4096  # and when whitening, which may be of 8,192 numbers each
SHRINKAGE = 0.3  # of the spread within landmarks, towards its mean


class Whitening(NamedTuple):
    """Subtract a mean, multiply by a matrix, bring to length 1.

    mean: (d,) float32.
    matrix: (d, k) float32.
    """

    mean: NDArray[np.float32]
    matrix: NDArray[np.float32]

    def __call__(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, d) -> (n, k) unit vectors."""
        out = np.empty((len(vectors), self.matrix.shape[1]), np.float32)
        for start in range(0, len(vectors), ROWS):
            block = slice(start, start + ROWS)
            out[block] = unit((vectors[block] - self.mean) @ self.matrix)
        return out

    def save(self, path: Path) -> None:
        """Write it as one ``npz`` file."""
        np.savez(path, mean=self.mean, matrix=self.matrix)

    def check(self) -> None:
        """Raise a ``ValueError`` unless mean and matrix are numbers that fit each other."""
        kinds = [(array.dtype.name, array.shape) for array in self]
        fit = self.matrix.ndim == 2 and self.mean.shape == self.matrix.shape[:1]
        if not fit or {kind for kind, _ in kinds} != {"float32"}:
            raise ValueError(f"{kinds}")

    @classmethod
    def load(cls, path: Path) -> "Whitening":
        """Read it back.

        Raises:
            ArtefactError: no such file, or another.
        """
        try:
            with arrays.Arrays(path) as stored:
                found = cls(stored["mean"], stored["matrix"])
            found.check()
            return found
        except arrays.DAMAGE as error:
            raise ArtefactError(
                f"{path}: expected a whitening, got {error!r:.200}; make the bundle again"
            ) from None


def whitening_of(
    vectors: NDArray[np.float32],
    dimensions: int,
    landmark_ids: NDArray[np.int64] | None = None,
) -> Whitening:
    """Rotate to principal axes and divide by the spread along each.

    The first axes of an embedding hold what most photos share, such as sky, and would
    outweigh what tells landmarks apart (Jégou & Chum, ECCV 2012). With the landmarks
    known, it is the spread among photos of one landmark that is evened out, which leaves
    large what differs between landmarks (Mikolajczyk & Matas, ICCV 2007); that spread is
    shrunk towards its mean, since it is known from few photos.

    Args:
        vectors: (n, d).
        dimensions: axes kept: at most n - 1, at most d, and only those with some spread.
        landmark_ids: (n,), or None for the spread of all photos.
    """
    mean = vectors.mean(axis=0, dtype=np.float64)
    axes, spread = _axes_of(vectors, mean, dimensions)
    matrix = axes / np.sqrt(spread)
    if landmark_ids is not None:
        _, inverse, counts = np.unique(
            landmark_ids, return_inverse=True, return_counts=True
        )
        own = np.zeros((len(counts), vectors.shape[1]))
        np.add.at(own, inverse, vectors)
        within = axes.T @ _scatter(vectors, (own / counts[:, None])[inverse]) @ axes
        level = np.trace(within) / max(1, len(within))
        if level > 1e-9 * spread.sum():  # else no landmark has two photos
            turned, spread = _principal(
                within + SHRINKAGE * level * np.eye(len(within)), len(within)
            )
            matrix = axes @ (turned / np.sqrt(spread))
    return Whitening(mean.astype(np.float32), matrix.astype(np.float32))


def _axes_of(
    vectors: NDArray[np.float32], mean: NDArray[np.float64], dimensions: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The principal axes of (n, d), by the smaller of n and d."""
    if len(vectors) > vectors.shape[1]:
        return _principal(_scatter(vectors, mean), dimensions)
    _, length, axes = np.linalg.svd(vectors - mean, full_matrices=False)
    return _kept(axes.T, length**2 / len(vectors), dimensions)


def _scatter(
    vectors: NDArray[np.float32], centres: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The mean outer product of what is left of (n, d) less one centre, or one for each."""
    total = np.zeros((vectors.shape[1],) * 2)
    for start in range(0, len(vectors), BLOCK):
        block = slice(start, start + BLOCK)
        rest = vectors[block] - (centres if centres.ndim == 1 else centres[block])
        total += rest.T @ rest
    return total / len(vectors)


def _principal(
    scatter: NDArray[np.float64], dimensions: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The axes of largest spread, (d, k), each pointing one way always, and the spread."""
    spread, axes = np.linalg.eigh(scatter)
    return _kept(axes, spread, dimensions)


def _kept(
    axes: NDArray[np.float64], spread: NDArray[np.float64], dimensions: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    largest = np.argsort(-spread, kind="stable")[:dimensions]
    kept = largest[spread[largest] > 1e-9 * max(spread.max(initial=0), 1e-12)]
    axes = axes[:, kept]
    sign = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(len(kept))])
    return axes * sign, spread[kept]


def unit(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Rows at length 1; a row of zeros stays one."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (vectors / np.maximum(length, 1e-12)).astype(np.float32)
