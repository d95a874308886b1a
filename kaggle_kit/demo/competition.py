"""Draw a small competition: buildings from several sides and in several lights.

It has the exact layout of the real competition, so that all stages can run before any image
is downloaded. It is a test of the stages, not of the quality of recognition.
"""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kaggle_kit.data.layout import image_path
from kaggle_kit.demo.buildings import Face, random_building
from kaggle_kit.demo.pictures import draw_building, draw_non_landmark
from kaggle_kit.progress import progress
from kaggle_kit.storage.csv_files import write_rows
from kaggle_kit.storage.folders import FolderKind, atomic_write_dir
from kaggle_kit.storage.json_files import JsonObject

Subject = tuple[
    int | None, list[Face] | None
]  # landmark id and building, or None twice
MARKER = "drawn.txt"
N_LANDMARKS = 12
TRAIN_IMAGES = (16, 40)  # of a landmark: at least, below
TEST_IMAGES = 8  # of a landmark
TRAIN_OTHERS, TEST_OTHERS = 80, 64  # images without a landmark


@dataclass(frozen=True)
class DemoCounts(JsonObject):
    """The number of landmarks, and of images with those that show no landmark."""

    landmarks: int
    train: int
    test: int


def draw(out: Path, seed: int = 0) -> DemoCounts:
    """Draw a competition: ``train/``, ``test/``, their tables and ``solution.csv``.

    Images below ``train/`` that ``train.csv`` does not list show no landmark, and so do
    test images without a landmark in the solution.

    Args:
        out: the folder to write.
        seed: the same seed gives the same files.
    """
    rng = np.random.default_rng(seed)
    landmark_ids = sorted(rng.choice(203_094, N_LANDMARKS, replace=False).tolist())
    buildings = [
        random_building(np.random.default_rng((seed, i))) for i in landmark_ids
    ]
    train: list[Subject] = []
    test: list[Subject] = []
    for landmark_id, faces in zip(landmark_ids, buildings, strict=True):
        n = int(rng.integers(*TRAIN_IMAGES))
        train += [(landmark_id, faces)] * n
        test += [(landmark_id, faces)] * TEST_IMAGES
    train += [(None, None)] * TRAIN_OTHERS
    test += [(None, None)] * TEST_OTHERS
    with atomic_write_dir(out, DRAWN) as part:
        train_ids = _draw_images(part / "train", train, seed)
        test_ids = _draw_images(part / "test", test, seed)
        _write_tables(part, train_ids, test_ids, landmark_ids[0])
        (part / MARKER).write_text(f"drawn by kaggle-kit, seed {seed}\n", "utf-8")
    return DemoCounts(N_LANDMARKS, len(train), len(test))


def _read_record(folder: Path) -> list[str]:
    """The files of an earlier competition, whose image ids follow from its seed."""
    seed = int((folder / MARKER).read_text("utf-8").split()[-1])
    images = [
        image_path(Path(part), _image_id(seed, part, i)).as_posix()
        for part in ("train", "test")
        for i in range(
            N_LANDMARKS * TRAIN_IMAGES[1] + TRAIN_OTHERS
        )  # the most there are
    ]
    return [*images, *TABLES]


TABLES = ("train.csv", "sample_submission.csv", "solution.csv")
DRAWN = FolderKind(MARKER, TABLES, _read_record)


def _image_id(seed: int, part: str, index: int) -> str:
    return hashlib.sha256(f"{seed} {part} {index}".encode()).hexdigest()[:16]


def _draw_images(
    folder: Path, subjects: Sequence[Subject], seed: int
) -> list[tuple[str, int | None]]:
    """Draw and save an image of each subject.

    Returns:
        (image id, landmark id or None) of each image, sorted by image id.
    """

    def draw_image(index: int) -> tuple[str, int | None]:
        landmark_id, faces = subjects[index]
        image_id = _image_id(seed, folder.name, index)
        rng = np.random.default_rng(int(image_id, 16))
        picture = draw_building(faces, rng) if faces else draw_non_landmark(rng)
        path = image_path(folder, image_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, quality=int(rng.integers(80, 96)))
        return image_id, landmark_id

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        labels = pool.map(draw_image, range(len(subjects)))
        bar = progress(labels, total=len(subjects), label=f"draw {folder.name}")
        return sorted(bar, key=lambda pair: pair[0])


def _write_tables(
    folder: Path,
    train: Sequence[tuple[str, int | None]],
    test: Sequence[tuple[str, int | None]],
    some_landmark: int,
) -> None:
    labelled = [pair for pair in train if pair[1] is not None]
    write_rows(folder / "train.csv", ("id", "landmark_id"), labelled)
    sample = [(image_id, f"{some_landmark} 0.1") for image_id, _ in test]
    write_rows(folder / "sample_submission.csv", ("id", "landmarks"), sample)
    solution = [
        (image_id, landmark, "Public" if i % 3 == 0 else "Private")
        for i, (image_id, landmark) in enumerate(test)
    ]
    columns = ("id", "landmarks", "Usage")
    write_rows(folder / "solution.csv", columns, solution)
