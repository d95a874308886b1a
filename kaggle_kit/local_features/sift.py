"""Local features of a photo: where its corners and blobs are and how each looks.

SIFT points (Lowe, IJCV 2004) with RootSIFT descriptors (Arandjelović & Zisserman,
CVPR 2012): no training, no network. The descriptors are upright: photos of landmarks
are rarely turned, and to tell a left edge from an upper one separates them better.
``vlad`` makes a vector of them, ``matching`` compares their geometry. OpenCV is needed:
the kit's extra ``verify``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from kaggle_kit import config
from kaggle_kit.errors import ArtefactError, KitError
from kaggle_kit.storage import arrays

try:
    import cv2
except ImportError:
    raise KitError(
        "local features: expected OpenCV, found none; pip install 'kaggle-kit[verify]'"
    ) from None

DESCRIPTOR = 128  # numbers per point
CONTRAST = 0.03  # SIFT's contrastThreshold; the default 0.04 finds less in a haze
SCALE = 512  # of a unit vector, so that few of its numbers pass a byte's 255
ARRAYS = ("points", "descriptors", "sizes", "offsets")


class Features(NamedTuple):
    """The points of a photo, strongest first.

    Attributes:
        points: (n, 2) float32, x and y in pixels of the shrunk photo.
        descriptors: (n, 128) uint8, of length about 512.
        sizes: (n,) float32, the diameter of what each describes, in those pixels.
    """

    points: NDArray[np.float32]
    descriptors: NDArray[np.uint8]
    sizes: NDArray[np.float32]


NO_FEATURES = Features(
    np.empty((0, 2), np.float32),
    np.empty((0, DESCRIPTOR), np.uint8),
    np.empty(0, np.float32),
)


def shrunk(pixels: NDArray[np.uint8], long_side: int) -> NDArray[np.uint8]:
    """A photo in grey, its longer side at most so many pixels, (h, w, 3) -> (h', w').

    A smaller photo keeps its size: enlarged, it would have no more to show.
    """
    grey = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)
    height, width = grey.shape
    factor = long_side / max(height, width)
    if factor < 1:
        size = max(1, round(width * factor)), max(1, round(height * factor))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return np.asarray(grey, np.uint8)


def features(grey: NDArray[np.uint8], settings: config.Local) -> Features:
    """The strongest points of a photo, at most ``settings.n_features``.

    Of equally strong points the upper left come first. A photo without any has none.

    Args:
        grey: (h, w), shrunk already.
    """
    sift = cv2.SIFT.create(contrastThreshold=CONTRAST)
    found = sift.detect(grey, None)
    if not found:
        return NO_FEATURES
    # A point may come several times, with several angles, which do not matter here.
    where = np.array([(-p.response, p.pt[1], p.pt[0], p.size) for p in found])
    _, chosen = np.unique(where, axis=0, return_index=True)  # sorted by strength
    strongest = [found[i] for i in chosen[: settings.n_features]]
    for point in strongest:
        point.angle = 0
    points, raw = sift.compute(grey, strongest)
    return Features(
        np.array([point.pt for point in points], np.float32),
        root_sift(raw),
        np.array([point.size for point in points], np.float32),
    )


def root_sift(raw: NDArray[np.float32]) -> NDArray[np.uint8]:
    """SIFT descriptors to RootSIFT, (n, 128), whose dot product compares histograms.

    ::

        x -> min(round(512 * sqrt(x / sum x)), 255)
    """
    total = np.maximum(raw.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return np.minimum(np.rint(SCALE * np.sqrt(raw / total)), 255).astype(np.uint8)


class LocalFeatures(Sequence[Features]):
    """The features of many photos, in arrays that may stay on disk.

    Attributes:
        points: (n, 2) float32 of all photos, one photo after the other.
        descriptors: (n, 128) uint8.
        sizes: (n,) float32.
        offsets: (photos + 1,) int64, where each photo begins, and n.
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
    def of(cls, photos: Sequence[Features]) -> "LocalFeatures":
        """Gather the features of photos."""
        ends = np.cumsum([0, *(len(p.points) for p in photos)], dtype=np.int64)
        photos = [NO_FEATURES, *photos]
        return cls(
            np.concatenate([photo.points for photo in photos]),
            np.concatenate([photo.descriptors for photo in photos]),
            np.concatenate([photo.sizes for photo in photos]),
            ends,
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, i: int) -> Features: ...

    @overload
    def __getitem__(self, i: slice) -> list[Features]: ...

    def __getitem__(self, i: int | slice) -> Features | list[Features]:
        """The features of photo i, or a list of those of a slice."""
        if isinstance(i, slice):
            return [self[j] for j in range(*i.indices(len(self)))]
        if not -len(self) <= i < len(self):
            raise IndexError(f"no photo {i} among {len(self)}")
        i %= len(self)
        part = slice(self.offsets[i], self.offsets[i + 1])
        return Features(self.points[part], self.descriptors[part], self.sizes[part])

    def save(self, folder: Path) -> None:
        """Write the arrays into a new folder."""
        folder.mkdir()
        for name in ARRAYS:
            np.save(folder / f"{name}.npy", getattr(self, name), allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> "LocalFeatures":
        """Read them back; points and descriptors stay on disk until they are used.

        Raises:
            ArtefactError: a file is missing or damaged, or they do not fit each other.
        """
        try:
            points, descriptors, sizes, offsets = (
                arrays.map_array(folder / f"{name}.npy") for name in ARRAYS
            )
        except arrays.DAMAGE as error:
            raise ArtefactError(
                f"{folder}: expected local features, got {error!r:.200}; make the bundle again"
            ) from None
        stored = cls(points, descriptors, sizes, np.array(offsets))
        fault = stored._fault()
        if fault:
            raise ArtefactError(f"{folder}: {fault}; make the bundle again")
        return stored

    def _fault(self) -> str | None:
        """What does not fit, if anything."""
        own = [getattr(self, name) for name in ARRAYS]
        kinds = [(a.dtype.name, a.ndim, a.shape[1:]) for a in own]
        expected = [
            ("float32", 2, (2,)),
            ("uint8", 2, (DESCRIPTOR,)),
            ("float32", 1, ()),
            ("int64", 1, ()),
        ]
        if kinds != expected or not len(self.offsets):
            return f"expected points, descriptors, sizes and offsets, got {kinds}"
        counts = [len(array) for array in own[:3]]
        ends = int(self.offsets[0]), int(self.offsets[-1])
        falls = bool((np.diff(self.offsets) < 0).any())
        if len(set(counts)) > 1 or ends != (0, counts[0]) or falls:
            return (
                f"expected as many points, descriptors and sizes, and rising offsets "
                f"from 0 to their number, got {counts} and {ends[0]} to {ends[1]}"
            )
        return None
