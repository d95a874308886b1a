"""Draw two images and the local features that match between them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from kaggle_kit import config
from kaggle_kit.data.image_files import DAMAGE, decode_image, read_image
from kaggle_kit.errors import DataError
from kaggle_kit.storage.files import atomic_write
from kaggle_kit.storage.json_files import JsonObject

LINE = (0, 255, 0)


@dataclass(frozen=True)
class MatchPicture(JsonObject):
    """A picture of matches.

    Attributes:
        inliers: weighted number, as in the ranking: 0.7 is chance, 3 is certain.
        points: number of matches.
        picture: path of the PNG file.
    """

    inliers: float
    points: int
    picture: Path


def match(image: Path, other: Path, out: Path) -> MatchPicture:
    """Draw two images side by side with lines between matching points, as a PNG file.

    Raises:
        DataError: an image is missing or does not decode.
    """
    from kaggle_kit.local_features.matching import (
        count_pair_inliers,
        find_inlier_points,
    )
    from kaggle_kit.local_features.sift import detect_features, shrink  # OpenCV

    local, verification = config.Local(), config.Verification()
    one, two = _pixels(image), _pixels(other)
    first, second = (
        detect_features(shrink(p, local.long_side), local) for p in (one, two)
    )
    start, end = find_inlier_points(first, second, verification)
    picture = draw_matches(one, two, start, end, local.long_side)
    with atomic_write(out) as part:
        Image.fromarray(picture).save(part, "PNG")
    n_inliers = round(count_pair_inliers(first, second, verification), 3)
    return MatchPicture(n_inliers, len(start), out)


def _pixels(path: Path) -> NDArray[np.uint8]:
    try:
        return decode_image(read_image(path))
    except FileNotFoundError:
        raise DataError(
            f"{path}: expected an image, found no file; check the path"
        ) from None
    except DAMAGE as error:
        raise DataError(
            f"{path}: expected an image, got {error}; save it again as JPEG"
        ) from None


def draw_matches(
    pixels_q: NDArray[np.uint8],
    pixels_o: NDArray[np.uint8],
    points_q: NDArray[np.float32],
    points_o: NDArray[np.float32],
    long_side: int,
) -> NDArray[np.uint8]:
    """Draw two images side by side, and a line between each pair of matching points.

    Args:
        pixels_q, pixels_o: (h, w, 3) each, before downscaling.
        points_q, points_o: (m, 2) each, of the downscaled images, as from ``matches``.
        long_side: of the downscaled images.

    Returns:
        (larger h, sum of w, 3) uint8; white below the lower image.
    """
    height = max(len(pixels_q), len(pixels_o))
    width = pixels_q.shape[1]
    picture = np.full((height, width + pixels_o.shape[1], 3), 255, np.uint8)
    picture[: len(pixels_q), :width] = pixels_q
    picture[: len(pixels_o), width:] = pixels_o
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    line_width = max(1, round(height / 500))
    starts = _upscale(points_q, pixels_q, long_side)
    ends = _upscale(points_o, pixels_o, long_side) + (width, 0)
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        draw.line((*start, *end), LINE, line_width)
        for x, y in (start, end):
            radius = 3 * line_width
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), None, LINE)
    return np.asarray(image)


def _upscale(
    points: NDArray[np.float32], pixels: NDArray[np.uint8], long_side: int
) -> NDArray[np.int64]:
    """Convert points of the downscaled image to pixels of the image, (m, 2)."""
    factor = max(1.0, max(pixels.shape[:2]) / long_side)
    return np.rint((points + 0.5) * factor - 0.5).astype(np.int64)
