"""Which photos there are: the image tree held against ``train.csv``."""

import logging
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.progress import progress
from kaggle_kit.storage import tables
from kaggle_kit.storage.csv_files import write_rows

logger = logging.getLogger(__name__)
# What Pillow raises of a damaged photo; to its own kinds its plugins add Python's.
DAMAGE = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, MemoryError),
    *(ArithmeticError, AttributeError, RuntimeError, struct.error, zlib.error),
    Image.DecompressionBombError,
)
AT_ONCE = 4096  # photos that wait for a thread: each takes more memory than its row


def index(competition: Path, out: Path) -> dict[str, int]:
    """Write ``index.csv``: id, landmark_id, width and height of every photo that decodes.

    A photo that ``train.csv`` does not list has no landmark id: it is a non-landmark.
    Photos that do not decode, and listed ones without a file, go to ``<out>.broken.csv``
    (id, reason) and are counted.

    Returns:
        Counts: labelled, unlabelled, broken.

    Raises:
        DataError, TableError: the folder or ``train.csv`` is not as it should be.
    """
    place = Competition(Path(competition)).require("train.csv", "train")
    labels = tables.read_labels(place.train_csv)
    landmark = {image_id: landmark for image_id, landmark, _ in labels.tuples()}
    ids = sorted(set(landmark).union(photo_ids(place.train_dir)))
    rows, broken = [], []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = _looked(pool, place.train_dir, ids)
        for image_id, seen in zip(progress(ids, label="index"), found, strict=True):
            if isinstance(seen, str):
                broken.append((image_id, seen))
            else:
                rows.append((image_id, landmark.get(image_id), *seen))
    out = Path(out)
    broken_csv = out.with_name(f"{out.stem}.broken.csv")
    write_rows(broken_csv, ("id", "reason"), broken)
    write_rows(out, ("id", "landmark_id", "width", "height"), rows)
    if broken:
        logger.warning("%d photos do not decode: see %s", len(broken), broken_csv)
    labelled = sum(row[1] is not None for row in rows)
    unlabelled = len(rows) - labelled
    return {"labelled": labelled, "unlabelled": unlabelled, "broken": len(broken)}


def _looked(
    pool: ThreadPoolExecutor, folder: Path, ids: Sequence[str]
) -> Iterator[tuple[int, int] | str]:
    """What ``look`` says of each photo, in order."""
    for start in range(0, len(ids), AT_ONCE):
        some = ids[start : start + AT_ONCE]
        yield from pool.map(lambda i: look(image_path(folder, i)), some)


def photo_ids(folder: Path) -> Iterator[str]:
    """The ids of all photos below ``folder`` (a/b/c/<id>.jpg), in no given order."""
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
    """Width and height of a photo, or why it does not decode to its last line.

    An eighth of the size is decoded, which reads the whole file at a fifth of the cost.
    """
    try:
        with Image.open(path) as photo:
            size = photo.size
            photo.draft("RGB", (max(1, size[0] // 8), max(1, size[1] // 8)))
            photo.load()
            return size
    except FileNotFoundError:
        return "no file"
    except DAMAGE as error:
        return " ".join(str(error).split()) or type(error).__name__
