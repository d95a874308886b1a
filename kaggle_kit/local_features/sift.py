"""Local features: SIFT points (Lowe, IJCV 2004) with RootSIFT descriptors.

RootSIFT: Arandjelović & Zisserman, CVPR 2012. Neither needs training. The descriptors are
upright, not rotation-invariant: images of landmarks are rarely rotated, and an upright
descriptor discriminates better. ``vlad`` aggregates descriptors into one vector;
``matching`` verifies geometry. The module needs OpenCV, the kit's extra ``verify``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from kaggle_kit import config
from kaggle_kit.errors import ArtefactError, KitError
from kaggle_kit.local_features.vlad import LONGEST
from kaggle_kit.storage import arrays

try:
    import cv2
except ImportError:
    raise KitError(
        "local features: expected OpenCV, found none; install it with pip install "
        "'kaggle-kit[verify]'"
    ) from None

DESCRIPTOR = 128  # dimensions of a descriptor
CONTRAST = 0.03  # contrastThreshold; the default 0.04 detects fewer points in haze
SCALE = 512  # length of a uint8 descriptor, with which few components exceed 255
ARRAYS = ("points", "descriptors", "sizes", "offsets")
FILES = tuple(f"{name}.npy" for name in ARRAYS)
# Ranges of what is stored, from the largest image of ``local.long_side``, 4,096 px. The
# components of a descriptor are cut off at 255, so its length may be as little.
LARGEST_SIDE = 4096
SIZES = 1e-3, 4.0 * LARGEST_SIDE
LENGTHS = 250.0, LONGEST


class Features(NamedTuple):
    """The keypoints of an image and their descriptors, strongest first.

    Attributes:
        points: (n, 2) float32, x and y of the keypoints, in pixels of the shrunk image.
        descriptors: (n, 128) uint8, RootSIFT, with a Euclidean norm of about 512.
        sizes: (n,) float32, diameters of the keypoints, in pixels of the shrunk image.
    """

    points: NDArray[np.float32]
    descriptors: NDArray[np.uint8]
    sizes: NDArray[np.float32]


NO_FEATURES = Features(
    np.empty((0, 2), np.float32),
    np.empty((0, DESCRIPTOR), np.uint8),
    np.empty(0, np.float32),
)


def shrink(pixels: NDArray[np.uint8], long_side: int) -> NDArray[np.uint8]:
    """Convert an image to grey and shrink it, (h, w, 3) -> (h', w').

    A smaller image keeps its size, since enlarging adds no detail.

    Args:
        long_side: upper bound of h' and w', in pixels.
    """
    grey = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)
    height, width = grey.shape
    factor = long_side / max(height, width)
    if factor < 1:
        size = max(1, round(width * factor)), max(1, round(height * factor))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return np.asarray(grey, np.uint8)


def detect_features(grey: NDArray[np.uint8], settings: config.Local) -> Features:
    """Detect the strongest points of an image, at most ``settings.n_features``.

    Equally strong points are sorted from top to bottom, then from left to right. The
    result may be empty.

    Args:
        grey: (h, w), a result of ``shrink``.
    """
    sift = cv2.SIFT.create(contrastThreshold=CONTRAST)
    keypoints = sift.detect(grey, None)
    if not keypoints:
        return NO_FEATURES
    # SIFT repeats a point for each of its angles, which are not used here.
    keys = np.array([(-p.response, p.pt[1], p.pt[0], p.size) for p in keypoints])
    _, order = np.unique(keys, axis=0, return_index=True)  # sorted by strength
    strongest = [keypoints[i] for i in order[: settings.n_features]]
    for point in strongest:
        point.angle = 0
    points, raw = sift.compute(grey, strongest)
    return Features(
        np.array([point.pt for point in points], np.float32),
        root_sift(raw),
        np.array([point.size for point in points], np.float32),
    )


def root_sift(raw: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Convert SIFT descriptors, (n, 128), to RootSIFT.

    The dot product of two results is proportional to the Bhattacharyya coefficient of the
    SIFT histograms.

    ::

        x -> min(round(512 * sqrt(x / sum x)), 255)
    """
    total = np.maximum(raw.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return np.minimum(np.rint(SCALE * np.sqrt(raw / total)), 255).astype(np.uint8)


class LocalFeatures(Sequence[Features]):
    """The features of many images, in arrays that may be memory-mapped.

    Attributes:
        points: (n, 2) float32 of all images, one image after the other.
        descriptors: (n, 128) uint8.
        sizes: (n,) float32.
        offsets: (images + 1,) int64, the first row of each image, and n.
    """

    def __init__(
        self,
        points: NDArray[np.float32],
        descriptors: NDArray[np.uint8],
        sizes: NDArray[np.float32],
        offsets: NDArray[np.int64],
    ):
        self.points, self.descriptors = points, descriptors
        self.sizes, self.offsets = sizes, offsets

    @classmethod
    def concatenate(cls, images: Sequence[Features]) -> "LocalFeatures":
        """Concatenate the features of images."""
        offsets = np.cumsum([0, *(len(p.points) for p in images)], dtype=np.int64)
        images = [NO_FEATURES, *images]
        return cls(
            np.concatenate([image.points for image in images]),
            np.concatenate([image.descriptors for image in images]),
            np.concatenate([image.sizes for image in images]),
            offsets,
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, i: int) -> Features: ...

    @overload
    def __getitem__(self, i: slice) -> list[Features]: ...

    def __getitem__(self, i: int | slice) -> Features | list[Features]:
        """The features of image i, or the list for a slice."""
        if isinstance(i, slice):
            return [self[j] for j in range(*i.indices(len(self)))]
        if not -len(self) <= i < len(self):
            raise IndexError(f"no image {i} among {len(self)}")
        i %= len(self)
        part = slice(self.offsets[i], self.offsets[i + 1])
        return Features(self.points[part], self.descriptors[part], self.sizes[part])

    def save(self, folder: Path) -> None:
        """Write the arrays into a new folder.

        Raises:
            ArtefactError: a number is not finite or out of range; nothing is written.
        """
        problem = self._find_mismatch() or self._find_fault()
        if problem:
            raise ArtefactError(f"{folder}: {problem}; check the images")
        folder.mkdir()
        for name in ARRAYS:
            np.save(folder / f"{name}.npy", getattr(self, name), allow_pickle=False)

    @classmethod
    def load(cls, folder: Path, n_features: int | None = None) -> "LocalFeatures":
        """Read features from a folder; points, descriptors and sizes are memory-mapped.

        Args:
            n_features: the most that an image may have; None means any number.

        Raises:
            ArtefactError: a file is missing or damaged, the arrays do not match, an image
                has too many features, or a number is not finite or out of range.
        """
        try:
            points, descriptors, sizes, offsets = (
                arrays.map_array(folder / f"{name}.npy") for name in ARRAYS
            )
        except arrays.DAMAGE as error:
            raise ArtefactError(
                f"{folder}: expected local features, got {error!r:.200}; make the bundle again"
            ) from None
        features = cls(points, descriptors, sizes, np.array(offsets))
        problem = (
            features._find_mismatch()
            or features._find_excess(n_features)
            or features._find_fault()
        )
        if problem:
            raise ArtefactError(f"{folder}: {problem}; make the bundle again")
        return features

    def _find_excess(self, n_features: int | None) -> str | None:
        """Describe the image with the most features, if it has too many; else None."""
        most = int(np.diff(self.offsets).max(initial=0))
        if n_features is None or most <= n_features:
            return None
        return f"expected at most {n_features} features of an image, got {most}"

    def _find_fault(self) -> str | None:
        """Describe what is wrong with the numbers, in one pass; None if nothing is."""
        try:
            arrays.require_range("points", self.points, 0, LARGEST_SIDE)
            arrays.require_range("sizes", self.sizes, *SIZES)
            is_any = arrays.require_lengths("descriptors", self.descriptors, *LENGTHS)
        except ValueError as error:
            return f"expected points of an image and RootSIFT descriptors, got {error}"
        if len(self.descriptors) > 1 and not is_any:
            return "expected RootSIFT descriptors, got zeros in all descriptors"
        return None

    def _find_mismatch(self) -> str | None:
        """Describe what is wrong with the arrays; None if nothing is."""
        own_arrays = [getattr(self, name) for name in ARRAYS]
        types = [(a.dtype.name, a.ndim, a.shape[1:]) for a in own_arrays]
        expected = [
            ("float32", 2, (2,)),
            ("uint8", 2, (DESCRIPTOR,)),
            ("float32", 1, ()),
            ("int64", 1, ()),
        ]
        if types != expected or not len(self.offsets):
            return f"expected points, descriptors, sizes and offsets, got {types}"
        counts = [len(array) for array in own_arrays[:3]]
        ends = int(self.offsets[0]), int(self.offsets[-1])
        has_descent = bool((np.diff(self.offsets) < 0).any())
        if len(set(counts)) > 1 or ends != (0, counts[0]) or has_descent:
            return (
                f"expected equal numbers of points, descriptors and sizes, and ascending "
                f"offsets from 0 to that number, got {counts} and offsets from {ends[0]} "
                f"to {ends[1]}"
            )
        return None
