"""Two photos and what matches in them, as a picture."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from kaggle_kit import config
from kaggle_kit.data.index import DAMAGE
from kaggle_kit.errors import DataError
from kaggle_kit.storage.files import written

LINE = (0, 255, 0)


def match(photo: Path, other: Path, out: Path) -> dict[str, Any]:
    """Draw two photos side by side with lines between the points that match, as PNG.

    Returns:
        ``inliers``, weighed as ranking weighs them (3 is certain, 0.7 is chance), how many
        ``points`` they are, and where the ``picture`` is.

    Raises:
        DataError: a photo does not decode.
    """
    from kaggle_kit.local_features.matching import (
        count_pair_inliers,
        find_inlier_points,
    )
    from kaggle_kit.local_features.sift import detect_features, shrink  # OpenCV

    local, verification = config.Local(), config.Verification()
    one, two = _pixels(photo), _pixels(other)
    first, second = (
        detect_features(shrink(p, local.long_side), local) for p in (one, two)
    )
    start, end = find_inlier_points(first, second, verification)
    picture = drawn(one, two, start, end, local.long_side)
    with written(out) as part:
        Image.fromarray(picture).save(part, "PNG")
    return {
        "inliers": round(count_pair_inliers(first, second, verification), 3),
        "points": len(start),
        "picture": str(out),
    }


def _pixels(path: Path) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except FileNotFoundError:
        raise DataError(
            f"{path}: expected a photo, found no file; check the path"
        ) from None
    except DAMAGE as error:
        raise DataError(
            f"{path}: expected a photo, got {error}; save it again as JPEG"
        ) from None


def drawn(
    pixels_q: NDArray[np.uint8],
    pixels_o: NDArray[np.uint8],
    points_q: NDArray[np.float32],
    points_o: NDArray[np.float32],
    long_side: int,
) -> NDArray[np.uint8]:
    """Two photos side by side and a line between each two points that match.

    Args:
        pixels_q, pixels_o: (h, w, 3), as they were before they were shrunk.
        points_q, points_o: (m, 2) each, as ``matches`` gives them.
        long_side: what the photos were shrunk to.

    Returns:
        (larger h, sum of w, 3) uint8; white below the lower photo.
    """
    height = max(len(pixels_q), len(pixels_o))
    width = pixels_q.shape[1]
    picture = np.full((height, width + pixels_o.shape[1], 3), 255, np.uint8)
    picture[: len(pixels_q), :width] = pixels_q
    picture[: len(pixels_o), width:] = pixels_o
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    thick = max(1, round(height / 500))
    starts = _unshrunk(points_q, pixels_q, long_side)
    ends = _unshrunk(points_o, pixels_o, long_side) + (width, 0)
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        draw.line((*start, *end), LINE, thick)
        for x, y in (start, end):
            reach = 3 * thick
            draw.ellipse((x - reach, y - reach, x + reach, y + reach), None, LINE)
    return np.asarray(image)


def _unshrunk(
    points: NDArray[np.float32], pixels: NDArray[np.uint8], long_side: int
) -> NDArray[np.int64]:
    """Points of the shrunk photo as pixels of the photo itself, (m, 2)."""
    factor = max(1.0, max(pixels.shape[:2]) / long_side)
    return np.rint((points + 0.5) * factor - 0.5).astype(np.int64)
