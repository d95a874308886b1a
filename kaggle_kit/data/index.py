"""List the images below ``train/``: landmark, size and hash, or decoding error."""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.data.image_files import (
    DAMAGE,
    decode_opened,
    is_jpeg,
    open_image,
    read_image,
)
from kaggle_kit.data.image_hash import (
    DIGITS,
    SIDE,
    TEXT,
    format_hash,
    hash_image,
    parse_hashes,
)
from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.data.layout_check import require_images
from kaggle_kit.data.orientation import read_orientation, turn_size
from kaggle_kit.data.parallel import parallel_map
from kaggle_kit.data.resize import choose_ratio
from kaggle_kit.errors import DataError, TableError
from kaggle_kit.progress import progress
from kaggle_kit.storage import tables
from kaggle_kit.storage.csv_files import QUOTED, read_rows, write_rows
from kaggle_kit.storage.json_files import JsonObject

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class IndexCounts(JsonObject):
    """Images that ``train.csv`` lists, images that it does not, and those that do not decode."""

    labelled: int
    unlabelled: int
    broken: int


def index(competition: Path, out: Path) -> IndexCounts:
    """Write id, landmark_id, width, height and hash of every image that decodes.

    ``data.image_hash`` says what the hash is. Width and height are those of the image
    upright. The landmark id is empty for an image that ``train.csv`` does not list. Such an
    image may show a landmark all the same.
    Images that do not decode, and listed images without a file, are written to
    ``<stem of out>.broken.csv`` (id, reason).

    Raises:
        DataError: the folder is not in the competition's layout, or no image decodes.
        TableError: ``train.csv`` is malformed.
    """
    place = Competition(Path(competition)).require("train.csv", "train", images=False)
    labels = tables.read_labels(place.train_csv)
    require_images(place.train_dir)
    landmark = {image_id: landmark for image_id, landmark, _ in labels.tuples()}
    ids = sorted(set(landmark).union(image_ids(place.train_dir)))
    rows, broken = [], []
    seen = parallel_map(lambda i: _look_and_hash(image_path(place.train_dir, i)), ids)
    for image_id, found in zip(progress(ids, label="index"), seen, strict=True):
        if isinstance(found, str):
            broken.append((image_id, found))
        else:
            rows.append((image_id, landmark.get(image_id), *found))
    out = Path(out)
    broken_csv = out.with_name(f"{out.stem}.broken.csv")
    write_rows(broken_csv, ("id", "reason"), broken)
    if not rows:
        raise DataError(
            f"{place.train_dir}: expected images that decode, got none of {len(broken)}; "
            f"see {broken_csv} for the reasons"
        )
    write_rows(out, ("id", "landmark_id", "width", "height", "hash"), rows)
    if broken:
        logger.warning("%d images do not decode: see %s", len(broken), broken_csv)
    labelled = sum(row[1] is not None for row in rows)
    return IndexCounts(labelled, len(rows) - labelled, len(broken))


def read_hashes(path: Path) -> tuple[list[str], NDArray[np.uint64]]:
    """Read the ids and the hashes, (n, 3), of an ``index.csv``.

    An image has no hash, a row of zeros, where the index is from before there were any.

    Raises:
        TableError: the index is missing or malformed.
    """
    image_ids, texts = [], []
    for row, (image_id, text) in read_rows(path, ("id",), ("hash",)):
        tables.require_id(path, row, image_id)
        if not TEXT.fullmatch(text):
            raise TableError(
                f"{path}: row {row}: expected a hash of {DIGITS} hexadecimal digits, "
                f"got {text[:QUOTED]!r}; make the index again"
            )
        image_ids.append(image_id)
        texts.append(text)
    return image_ids, parse_hashes(texts)


def image_ids(folder: Path) -> Iterator[str]:
    """The ids of all images below ``folder`` (a/b/c/<id>.jpg), in arbitrary order."""
    depth = 3
    folders = [(str(folder), 0)]
    while folders:
        path, level = folders.pop()
        with os.scandir(path) as entries:
            for entry in entries:
                if level < depth:
                    if entry.is_dir():
                        folders.append((entry.path, level + 1))
                elif entry.name.endswith(".jpg"):
                    image_id = entry.name.removesuffix(".jpg")
                    if tables.IMAGE_ID.fullmatch(image_id):
                        yield image_id


def look(path: Path) -> tuple[int, int] | str:
    """Decode an image; return its width and height, or the reason why it does not decode."""
    found = decode_small(path)
    return found if isinstance(found, str) else found[0]


def decode_small(path: Path) -> tuple[tuple[int, int], NDArray[np.uint8]] | str:
    """Decode an image upright, a JPEG at down to an eighth of its size.

    An image decodes here exactly if it does in ``data.decode``, for training and the
    kernel. At an eighth the whole file is read as well, and so every error is found, at a
    fifth of the cost. The shorter side is not reduced below ``SIDE``, so that the image can
    be hashed.

    Returns:
        Its width and height, and its pixels, (h, w, 3); or the reason why it does not decode.
    """
    content = b""
    try:
        content = read_image(path)
        orientation = read_orientation(content)
        with open_image(content) as image:
            size = turn_size(image.size, orientation)
            ratio = choose_ratio(min(size), SIDE) if is_jpeg(content) else 1
            return size, decode_opened(image, ratio, orientation)
    except FileNotFoundError:
        return "no file"
    except DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
    if is_jpeg(content):  # a few damaged ones are decoded by TensorFlow alone
        from kaggle_kit.data.decode import decode_file

        pixels = decode_file(path)
        if pixels is not None:
            return (pixels.shape[1], pixels.shape[0]), pixels
    return reason


def _look_and_hash(path: Path) -> tuple[int, int, str] | str:
    """Width, height and hash, or the reason why the image does not decode."""
    found = decode_small(path)
    if isinstance(found, str):
        return found
    size, pixels = found
    return *size, format_hash(hash_image(pixels))
