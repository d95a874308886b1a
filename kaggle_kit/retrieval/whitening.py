"""Whitening of embeddings, fitted to the vectors of a gallery."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.errors import ArtefactError
from kaggle_kit.storage import arrays

FIT_BLOCK = 65536  # rows at a time when fitting
APPLY_BLOCK = 4096  # rows at a time when whitening; a row may have 8,192 dimensions
SHRINKAGE = 0.3  # weight of the mean variance in the within-landmark covariance
MIN_VARIANCE = 1e-9  # share of the largest variance; axes below it are dropped
LEAST_VARIANCE = 1e-12  # that the largest one is taken for
# Range of the length of a matrix column, 1 over a standard deviation: unit vectors have a
# variance of at most 1, and the axes that are kept have at least the two shares above.
COLUMN_LENGTHS = 0.1, 1.01 * (MIN_VARIANCE * LEAST_VARIANCE) ** -0.5
MEAN_LENGTH = 1.1  # most of the mean of vectors of about unit length


class Whitening(NamedTuple):
    """Subtract a mean, multiply by a matrix, normalise to length 1.

    mean: (d,) float32.
    matrix: (d, k) float32.
    """

    mean: NDArray[np.float32]
    matrix: NDArray[np.float32]

    def __call__(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, d) -> (n, k) unit vectors."""
        out = np.empty((len(vectors), self.matrix.shape[1]), np.float32)
        for start in range(0, len(vectors), APPLY_BLOCK):
            block = slice(start, start + APPLY_BLOCK)
            out[block] = normalise((vectors[block] - self.mean) @ self.matrix)
        return out

    def save(self, path: Path) -> None:
        """Write it as one ``npz`` file.

        Raises:
            ArtefactError: a number is not finite or out of range; nothing is written.
        """
        try:
            self.check()
        except ValueError as error:
            raise ArtefactError(
                f"{path}: expected a whitening of unit vectors, got {error}; check the "
                f"networks and the images that it is fitted to"
            ) from None
        np.savez(path, mean=self.mean, matrix=self.matrix)

    def check(self) -> None:
        """Check dtypes, shapes and numbers.

        Raises:
            ValueError: mean and matrix are not float32, their shapes do not match, or a
                number is not finite or out of range.
        """
        _require_shapes([(array.dtype.name, array.shape) for array in self])
        arrays.require_lengths("mean", self.mean[None], 0, MEAN_LENGTH)
        columns = np.ascontiguousarray(self.matrix.T)
        arrays.require_lengths("matrix", columns, *COLUMN_LENGTHS)
        if not columns.any(axis=1).all():
            raise ValueError("a column of zeros in matrix")

    @classmethod
    def load(cls, path: Path, dimensions: int | None = None) -> "Whitening":
        """Read a whitening from its ``npz`` file.

        Args:
            dimensions: the most that it may return; more are not read.

        Raises:
            ArtefactError: the file is missing, damaged or of another kind.
        """
        try:
            with arrays.Arrays(path) as file:
                headers = [file.header(name) for name in cls._fields]
                _require_shapes([(h.dtype.name, h.shape) for h in headers])
                n_columns = headers[1].shape[1]
                if dimensions is not None and n_columns > dimensions:
                    raise ValueError(f"{n_columns} dimensions instead of {dimensions}")
                whitening = cls(file["mean"], file["matrix"])
            whitening.check()
            return whitening
        except arrays.DAMAGE as error:
            raise ArtefactError(
                f"{path}: expected a whitening, got {error!r:.200}; make the bundle again"
            ) from None


def _require_shapes(types: list[tuple[str, tuple[int, ...]]]) -> None:
    """Check the dtypes and the shapes of a mean (d,) and a matrix (d, k)."""
    (_, mean), (_, matrix) = types
    shapes_match = len(matrix) == 2 and mean == matrix[:1]
    if not shapes_match or {dtype for dtype, _ in types} != {"float32"}:
        raise ValueError(f"{types}")


def fit_whitening(
    vectors: NDArray[np.float32],
    dimensions: int,
    landmark_ids: NDArray[np.int64] | None = None,
) -> Whitening:
    """Fit a whitening: rotate to principal axes, divide by the standard deviation of each.

    The first axes of an embedding hold what most images share, such as sky, and would
    outweigh the differences between landmarks (Jégou & Chum, ECCV 2012). With
    ``landmark_ids``, the covariance within landmarks is whitened instead of the total
    one, which keeps the differences between landmarks large (Mikolajczyk & Matas, ICCV
    2007; they choose the axes after that, here they are the principal axes before). That
    covariance is estimated from few images of each landmark, so it is shrunk towards a
    multiple of the identity.

    Args:
        vectors: (n, d).
        dimensions: axes to keep. There are at most n - 1 and at most d, and axes without
            variance are dropped.
        landmark_ids: (n,), or None for the covariance of all images.
    """
    mean = vectors.mean(axis=0, dtype=np.float64)
    axes, variance = _fit_axes(vectors, mean, dimensions)
    matrix = axes / np.sqrt(variance)
    if landmark_ids is not None:
        _, inverse, counts = np.unique(
            landmark_ids, return_inverse=True, return_counts=True
        )
        sums = np.zeros((len(counts), vectors.shape[1]))
        np.add.at(sums, inverse, vectors)
        means = (sums / counts[:, None])[inverse]
        within = axes.T @ _covariance(vectors, means) @ axes
        level = np.trace(within) / max(1, len(within))
        if level > MIN_VARIANCE * variance.sum():  # else no landmark has two images
            rotation, variance = _principal_axes(
                within + SHRINKAGE * level * np.eye(len(within)), len(within)
            )
            matrix = axes @ (rotation / np.sqrt(variance))
    return Whitening(mean.astype(np.float32), matrix.astype(np.float32))


def _fit_axes(
    vectors: NDArray[np.float32], mean: NDArray[np.float64], dimensions: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Principal axes and variances of (n, d) vectors, in the cheaper way for n and d."""
    if len(vectors) > vectors.shape[1]:
        return _principal_axes(_covariance(vectors, mean), dimensions)
    _, singular_values, axes = np.linalg.svd(vectors - mean, full_matrices=False)
    return _select_axes(axes.T, singular_values**2 / len(vectors), dimensions)


def _covariance(
    vectors: NDArray[np.float32], centres: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The covariance, (d, d), around one centre (d,), or one for each vector (n, d)."""
    total = np.zeros((vectors.shape[1],) * 2)
    for start in range(0, len(vectors), FIT_BLOCK):
        block = slice(start, start + FIT_BLOCK)
        residuals = vectors[block] - (centres if centres.ndim == 1 else centres[block])
        total += residuals.T @ residuals
    return total / len(vectors)


def _principal_axes(
    covariance: NDArray[np.float64], dimensions: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The axes of largest variance, (d, k), and the variance along each, (k,)."""
    variance, axes = np.linalg.eigh(covariance)
    return _select_axes(axes, variance, dimensions)


def _select_axes(
    axes: NDArray[np.float64], variance: NDArray[np.float64], dimensions: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The axes of largest variance, each with the sign that makes it reproducible."""
    order = np.argsort(-variance, kind="stable")[:dimensions]
    least = MIN_VARIANCE * max(variance.max(initial=0), LEAST_VARIANCE)
    order = order[variance[order] > least]
    axes = axes[:, order]
    sign = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(len(order))])
    return axes * sign, variance[order]


def normalise(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Scale each row to length 1; a row of zeros stays zero."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (vectors / np.maximum(length, 1e-12)).astype(np.float32)
