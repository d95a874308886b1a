"""Images as large, and as hard to decode, as those of real landmarks."""

from pathlib import Path

import numpy as np
from PIL import Image

SHAPE = (384, 512)
QUALITY = 90  # with this texture 52 kB; 100 real images of this size had 55 on average


def write_image(path: Path, seed: int) -> None:
    """Save a JPEG of soft shapes with texture."""
    rng = np.random.default_rng(seed)
    pixels = np.full((*SHAPE, 3), 128.0)
    for step, strength in ((64, 50), (16, 22), (4, 10), (2, 3)):
        rows, columns = SHAPE[0] // step, SHAPE[1] // step
        noise = rng.normal(0, strength, (rows, columns, 3))
        pixels += noise.repeat(step, axis=0).repeat(step, axis=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    image.save(path, "JPEG", quality=QUALITY)
