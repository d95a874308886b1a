"""The memory for detecting local features does not grow with the number of images."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
WIDTH, HEIGHT = 7304, 5478  # 40 megapixels, 120 MB when decoded
BOUND_MB = 900  # twenty decoded images would take 2,400 MB

READ = """
import hashlib, json, sys
from pathlib import Path
from kaggle_kit import config
from kaggle_kit.backends.tensorflow import TensorFlowEngine
from kaggle_kit.local_features.extract import LocalReader
from tests.helpers.memory import peak_mb

def read(paths):
    settings = config.Local(long_side=512, n_features=200)
    features = LocalReader(settings, TensorFlowEngine()).read(paths)
    contents = [b"".join(array.tobytes() for array in image) for image in features]
    return [hashlib.sha256(content).hexdigest() for content in contents]

small, *paths = map(Path, sys.argv[1:])
read([small])
before = peak_mb()
together = read(paths)
mb = peak_mb() - before
alone = {path.name: read([path])[0] for path in paths[:4]}
print(json.dumps({"together": together, "alone": alone, "mb": mb}))
"""


def large_images(folder, n):
    """Write a small image and n large files, which repeat four images in turn."""
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
def test_images_of_forty_megapixels_take_the_memory_of_few(n, tmp_path, capsys):
    """Their features are identical to those of each image alone."""
    pytest.importorskip("cv2")
    paths = large_images(tmp_path, n)
    process = subprocess.run(
        [sys.executable, "-c", READ, *map(str, paths)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-2000:]
    output = json.loads(process.stdout.splitlines()[-1])
    assert len(set(output["together"])) == 4
    for i, digest in enumerate(output["together"]):
        assert digest == output["alone"][f"{i % 4}.jpg"]
    with capsys.disabled():
        print(f"\n{n} images of 40 megapixels: {output['mb']:.0f} MB")
    assert output["mb"] < BOUND_MB
