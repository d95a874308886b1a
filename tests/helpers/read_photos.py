"""Read all photos of a folder as training, inference, geometry and the index do.

Run as a process of its own, since a decoder may crash it. On stdout: JSON of what was read.
"""

import hashlib
import json
import sys
from pathlib import Path

from kaggle_kit import config
from kaggle_kit.data.decode import readable, squashed
from kaggle_kit.data.index import look
from tests.helpers.decoding import photos
from tests.helpers.memory import peak_mb

SIDE = 48


def digest(array) -> str:
    """What tells an array from another."""
    return hashlib.sha256(repr(array.shape).encode() + array.tobytes()).hexdigest()


def main(folder: Path) -> None:
    """Read, and print what came of each photo by its name."""
    paths = sorted(folder.iterdir())
    seen, stored, points = {}, {}, {}
    for which, pixels in photos(paths, SIDE, 8):
        for i, photo in zip(which.tolist(), pixels, strict=True):
            assert photo.shape == (SIDE, SIDE, 3)
            seen[paths[i].name] = digest(photo)
    whole = readable(paths, lambda pixels: squashed(pixels, SIDE))  # as shards are made
    for i, photo in whole.as_numpy_iterator():
        stored[paths[int(i)].name] = digest(photo)
    if "points" in sys.argv:
        from kaggle_kit.backends.tensorflow import TensorFlowEngine
        from kaggle_kit.local_features.extract import LocalReader

        settings = config.Local(long_side=64, n_features=20)
        reader = LocalReader(settings, TensorFlowEngine())
        for start in range(0, len(paths), 8):
            some = paths[start : start + 8]
            for path, features in zip(some, reader.read(some), strict=True):
                if features is not None:
                    points[path.name] = digest(features.points)
    looked = {path.name: look(path) for path in paths}
    result = {"seen": seen, "stored": stored, "points": points, "looked": looked}
    print(json.dumps(result | {"peak_mb": peak_mb()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
