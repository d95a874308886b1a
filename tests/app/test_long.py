"""Memory does not grow with the number of images that one process answers."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from kaggle_kit.data.layout import image_path
from kaggle_kit.storage import tables

ROOT = Path(__file__).parents[2]
WARM_UP = 100  # images, or batches, before the first measurement
GROWTH_MB = 4
TENSORFLOW_MB = 24  # bound with TensorFlow, whose memory pools vary by half of it

ANSWERS = """
from kaggle_kit.backends.uploads import CheckedImage
from kaggle_kit.app.answers import AnswerService

service = AnswerService(bundle)
def use(path):
    image = CheckedImage(path.name, path.read_bytes())
    assert service.answer(image).answer.candidates and image.preview is not None
"""
PREDICT = """
from kaggle_kit.inference.recogniser import Recogniser

recogniser = Recogniser.load(bundle)
size = recogniser.ranking.batch_size
repeated = paths * (size * (n + 2) // len(paths) + 1)
n_done = 0
def use(path):
    global n_done
    batch, upcoming = (repeated[i : i + size] for i in (n_done, n_done + size))
    n_done += size
    embeddings = recogniser.embedder.embed(batch, None, upcoming)
    assert all(recogniser.guesses(embeddings, recogniser.search(embeddings), ()))
"""
LOOP = """
import json, sys
from pathlib import Path
import psutil
n, warm_up, bundle = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
paths = [Path(line) for line in sys.stdin.read().split("\\n") if line]

def resident_mb():
    this = psutil.Process()
    return sum(p.memory_info().rss for p in [this, *this.children()]) / 1e6

{use}
measurements = []
for i in range(n):
    if i >= warm_up and (i - warm_up) % max(1, (n - warm_up) // 10) == 0:
        measurements.append(resident_mb())
    use(paths[i % len(paths)])
print(json.dumps([*measurements, resident_mb()]))
"""


def measure_mb(use, n, warm_up, bundle, paths):
    """Resident megabytes, of networks apart too, after ``warm_up`` of n calls, and at intervals to the end."""
    process = subprocess.run(
        [sys.executable, "-c", LOOP.format(use=use), str(n), str(warm_up), str(bundle)],
        input="\n".join(map(str, paths)),
        env=os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-2000:]
    return json.loads(process.stdout.splitlines()[-1])


def images(competition):
    ids = tables.read_sample(competition / "sample_submission.csv")
    return [image_path(competition / "test", image_id) for image_id in ids]


@pytest.mark.parametrize(
    "n", [pytest.param(400, id="some"), pytest.param(5000, marks=pytest.mark.slow)]
)
def test_the_memory_of_the_app_does_not_grow(n, bundle_dir, competition, capsys):
    if find_spec("ai_edge_litert") is None:
        pytest.skip("the extra 'app' is not installed")
    memory = measure_mb(ANSWERS, n, WARM_UP, bundle_dir, images(competition))
    with capsys.disabled():
        print(f"\n{n} images, app: {' '.join(f'{mb:.1f}' for mb in memory)} MB")
    assert memory[-1] - memory[0] < GROWTH_MB


@pytest.mark.parametrize(
    ("n", "warm_up"),
    [
        pytest.param(120, 50, id="some"),
        pytest.param(1200, WARM_UP, marks=pytest.mark.slow),
    ],
)
def test_the_memory_of_prediction_does_not_grow(
    n, warm_up, bundle_dir, competition, capsys
):
    """Batches of 8 images are embedded and ranked; the results are not stored."""
    memory = measure_mb(PREDICT, n, warm_up, bundle_dir, images(competition))
    with capsys.disabled():
        print(f"\n{n} batches: {' '.join(f'{mb:.1f}' for mb in memory)} MB")
    assert memory[-1] - memory[0] < TENSORFLOW_MB
