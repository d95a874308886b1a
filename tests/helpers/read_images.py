"""Read all images of a folder as training, inference, geometry and the index do.

It runs in its own process, since a decoder may crash. It prints a JSON object.
"""

import hashlib
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from kaggle_kit import config
from kaggle_kit.data.decode import PARALLEL, decode_file
from kaggle_kit.data.index import look
from tests.helpers.decoding import decode_batches
from tests.helpers.memory import peak_mb

SIDE = 48
SECONDS: dict[str, float] = {}  # to decode an image at full size


def digest(array) -> str:
    """A hash of shape and content."""
    found = hashlib.sha256(repr(array.shape).encode())
    found.update(np.ascontiguousarray(array))  # without a copy: some have 370 MB
    return found.hexdigest()


def digest_whole(path: Path) -> str | None:
    """The digest of an image at full size; None if it does not decode."""
    start = time.monotonic()
    pixels = decode_file(path)
    SECONDS[path.name] = time.monotonic() - start
    return None if pixels is None else digest(pixels)


def main(folder: Path) -> None:
    """Print the digests of each image, by its name.

    seen: of the pixels for a network. stored: of those at full size. points: of its local
    features. looked: what the index records. slowest_s: the most seconds for an image.
    """
    paths = sorted(folder.iterdir())
    seen, stored, points = {}, {}, {}
    for which, pixels in decode_batches(paths, SIDE, 8):
        for i, image in zip(which.tolist(), pixels, strict=True):
            assert image.shape == (SIDE, SIDE, 3)
            seen[paths[i].name] = digest(image)
    with ThreadPoolExecutor(PARALLEL) as pool:  # as shards are made
        for path, whole in zip(paths, pool.map(digest_whole, paths), strict=True):
            if whole is not None:
                stored[path.name] = whole
    if "points" in sys.argv:
        from kaggle_kit.backends.tensorflow import TensorFlowEngine
        from kaggle_kit.local_features.extract import LocalReader

        settings = config.Local(long_side=64, n_features=20)
        reader = LocalReader(settings, TensorFlowEngine())
        for start in range(0, len(paths), 8):
            block = paths[start : start + 8]
            for path, features in zip(block, reader.read(block), strict=True):
                if features is not None:
                    points[path.name] = digest(features.points)
    looked = {path.name: look(path) for path in paths}
    result = {"seen": seen, "stored": stored, "points": points, "looked": looked}
    result["slowest_s"] = max(SECONDS.values())
    print(json.dumps(result | {"peak_mb": peak_mb()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
