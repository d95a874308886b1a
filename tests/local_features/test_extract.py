"""Reading photos for their local features takes the memory of few photos, not of all."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
WIDTH, HEIGHT = 7304, 5478  # 40 megapixels: 120 MB in its whole size
BOUND_MB = 900  # 2,400 MB would be twenty at once

READ = """
import hashlib, json, sys
from pathlib import Path
from kaggle_kit import config
from kaggle_kit.backends.tensorflow import TensorFlowEngine
from kaggle_kit.local_features.extract import LocalReader
from tests.helpers.memory import peak_mb

def read(paths):
    settings = config.Local(long_side=512, n_features=200)
    found = LocalReader(settings, TensorFlowEngine()).read(paths)
    return [hashlib.sha256(b"".join(a.tobytes() for a in f)).hexdigest() for f in found]

small, *paths = map(Path, sys.argv[1:])
read([small])
before = peak_mb()
together = read(paths)
took = peak_mb() - before
alone = {path.name: read([path])[0] for path in paths[:4]}
print(json.dumps({"together": together, "alone": alone, "mb": took}))
"""


def large_photos(folder, n):
    """So many files, of four photos in turn, and a small one."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (4, 137, 183, 3)).astype(np.uint8)
    paths = [folder / f"{i}.jpg" for i in range(n)]
    for i, path in enumerate(paths):
        if i < 4:
            image = Image.fromarray(coarse[i])
            image.save(folder / "small.jpg")
            image.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR).save(path)
        else:
            path.hardlink_to(paths[i % 4])
    return [folder / "small.jpg", *paths]


@pytest.mark.extended
@pytest.mark.parametrize(
    "n", [pytest.param(20, id="twenty"), pytest.param(64, marks=pytest.mark.slow)]
)
def test_photos_of_forty_megapixels_take_the_memory_of_few(n, tmp_path, capsys):
    """And have the very features that each has alone."""
    pytest.importorskip("cv2")
    paths = large_photos(tmp_path, n)
    done = subprocess.run(
        [sys.executable, "-c", READ, *map(str, paths)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert len(set(said["together"])) == 4
    for i, found in enumerate(said["together"]):
        assert found == said["alone"][f"{i % 4}.jpg"]
    with capsys.disabled():
        print(f"\n{n} photos of 40 megapixels: {said['mb']:.0f} MB")
    assert said["mb"] < BOUND_MB
