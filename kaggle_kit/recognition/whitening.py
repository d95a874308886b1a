"""PCA whitening, fitted on a gallery."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.errors import ArtefactError

BLOCK = 65536  # rows read at a time


class Whitening(NamedTuple):
    """Rotate vectors to their principal axes, divide by the spread along each.

    The first axes of an embedding hold what most photos share, such as sky, and would
    outweigh what tells landmarks apart (Jégou & Chum, ECCV 2012).

    mean: (d,) float32.
    matrix: (d, k) float32.
    """

    mean: NDArray[np.float32]
    matrix: NDArray[np.float32]

    def __call__(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, d) -> (n, k) unit vectors."""
        return unit((vectors - self.mean) @ self.matrix)

    def save(self, path: Path) -> None:
        """Write it as one ``npz`` file."""
        np.savez(path, mean=self.mean, matrix=self.matrix)

    @classmethod
    def load(cls, path: Path) -> "Whitening":
        """Read it back.

        Raises:
            ArtefactError: no such file, or another.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return cls(arrays["mean"], arrays["matrix"])
        except (OSError, ValueError, KeyError) as error:
            raise ArtefactError(
                f"{path}: expected a whitening, got {error}; make the bundle again"
            ) from None


def whitening_of(vectors: NDArray[np.float32], dimensions: int) -> Whitening:
    """Fit a whitening to the rows of (n, d), in float64 and blocks.

    At most n - 1 and at most d axes can be kept, and only those with some spread.
    """
    mean = vectors.mean(axis=0, dtype=np.float64)
    scatter = np.zeros((vectors.shape[1],) * 2)
    for start in range(0, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK].astype(np.float64) - mean
        scatter += block.T @ block
    spread, axes = np.linalg.eigh(scatter / max(1, len(vectors) - 1))
    largest = np.argsort(-spread, kind="stable")[:dimensions]
    kept = largest[spread[largest] > 1e-9 * max(spread.max(initial=0), 1e-12)]
    axes = axes[:, kept] * np.sign(axes[np.abs(axes[:, kept]).argmax(axis=0), kept])
    matrix = axes / np.sqrt(spread[kept])
    return Whitening(mean.astype(np.float32), matrix.astype(np.float32))


def unit(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Rows at length 1; a row of zeros stays one."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (vectors / np.maximum(length, 1e-12)).astype(np.float32)
