"""Small images, and a small competition of them as Kaggle has it."""

import io

import numpy as np
from PIL import Image

SLUG = "landmark-recognition-2021"


def jpeg(seed: int, size: tuple[int, int] = (40, 50)) -> bytes:
    """An image of noise; another one for each seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG")
    return out.getvalue()


def image_id(number: int) -> str:
    """An id of 16 hex digits, spread over the folders."""
    return f"{number * 2654435761 % 2**64:016x}"[::-1]


def image_name(image_id: str, folder: str = "train") -> str:
    """Where the competition has it."""
    return f"{folder}/{image_id[0]}/{image_id[1]}/{image_id[2]}/{image_id}.jpg"


def competition_files(n_train: int, n_test: int = 2) -> dict[str, bytes]:
    """Tables and images by name; ids are ``image_id(0)`` and so on, test ones last."""
    ids = [image_id(i) for i in range(n_train + n_test)]
    train, test = ids[:n_train], ids[n_train:]
    rows = "".join(f"{x},{i % 3}\n" for i, x in enumerate(train))
    sample = "".join(f"{x},1 0.5\n" for x in test)
    files = {
        "train.csv": f"id,landmark_id\n{rows}".encode(),
        "sample_submission.csv": f"id,landmarks\n{sample}".encode(),
    }
    files |= {image_name(x): jpeg(i) for i, x in enumerate(train)}
    files |= {image_name(x, "test"): jpeg(n_train + i) for i, x in enumerate(test)}
    return files
