"""List the images below ``train/``, with their landmark, size or decoding error."""

import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from kaggle_kit.data.image_files import (
    DAMAGE,
    decode_opened,
    is_jpeg,
    open_image,
)
from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.data.orientation import read_orientation, turn_size
from kaggle_kit.data.resize import RATIOS
from kaggle_kit.progress import progress
from kaggle_kit.storage import tables
from kaggle_kit.storage.csv_files import write_rows
from kaggle_kit.storage.json_files import JsonObject

logger = logging.getLogger(__name__)
CHUNK = (
    4096  # images queued for the threads; a queued image takes more memory than a row
)


@dataclass(frozen=True)
class IndexCounts(JsonObject):
    """Images with a landmark, images without one, and images that do not decode."""

    labelled: int
    unlabelled: int
    broken: int


def index(competition: Path, out: Path) -> IndexCounts:
    """Write id, landmark_id, width and height of every image that decodes to ``out``.

    Width and height are those of the image upright.
    The landmark id is empty for an image that ``train.csv`` does not list: a non-landmark.
    Images that do not decode, and listed images without a file, are written to
    ``<stem of out>.broken.csv`` (id, reason).

    Raises:
        DataError: the folder is not in the competition's layout.
        TableError: ``train.csv`` is malformed.
    """
    place = Competition(Path(competition)).require("train.csv", "train")
    labels = tables.read_labels(place.train_csv)
    landmark = {image_id: landmark for image_id, landmark, _ in labels.tuples()}
    ids = sorted(set(landmark).union(image_ids(place.train_dir)))
    rows, broken = [], []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        sizes = _look_all(pool, place.train_dir, ids)
        for image_id, size in zip(progress(ids, label="index"), sizes, strict=True):
            if isinstance(size, str):
                broken.append((image_id, size))
            else:
                rows.append((image_id, landmark.get(image_id), *size))
    out = Path(out)
    broken_csv = out.with_name(f"{out.stem}.broken.csv")
    write_rows(broken_csv, ("id", "reason"), broken)
    write_rows(out, ("id", "landmark_id", "width", "height"), rows)
    if broken:
        logger.warning("%d images do not decode: see %s", len(broken), broken_csv)
    labelled = sum(row[1] is not None for row in rows)
    return IndexCounts(labelled, len(rows) - labelled, len(broken))


def _look_all(
    pool: ThreadPoolExecutor, folder: Path, ids: Sequence[str]
) -> Iterator[tuple[int, int] | str]:
    """The results of ``look`` for all images, in order."""
    for start in range(0, len(ids), CHUNK):
        chunk = ids[start : start + CHUNK]
        yield from pool.map(lambda i: look(image_path(folder, i)), chunk)


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
    """Decode an image; return its width and height, or the reason why it does not decode.

    Width and height are those of the image upright. An image decodes here exactly if it
    does in ``data.decode``, for training and the kernel. A JPEG is decoded at an eighth of
    its size. That reads the whole file and so finds every error, at a fifth of the cost.
    """
    content = b""
    try:
        content = path.read_bytes()
        orientation = read_orientation(content)
        with open_image(content) as image:
            size = turn_size(image.size, orientation)
            decode_opened(image, RATIOS[-1] if is_jpeg(content) else 1, orientation)
            return size
    except FileNotFoundError:
        return "no file"
    except DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
    if is_jpeg(content):  # a few damaged ones are decoded by TensorFlow alone
        from kaggle_kit.data.decode import decode_file

        pixels = decode_file(path)
        if pixels is not None:
            return pixels.shape[1], pixels.shape[0]
    return reason
