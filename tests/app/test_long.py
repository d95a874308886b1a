"""A day's worth of photos in one process: memory does not grow with them."""

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
WARM = 100  # photos, or batches, after which memory is to stay
GROWTH_MB = 4
TENSORFLOW_MB = 24  # its pools go up and down by half of it

ANSWERS = """
from kaggle_kit.backends.uploads import CheckedImage
from kaggle_kit.app.answers import Answers

answers = Answers(bundle)
def use(path):
    photo = CheckedImage(path.name, path.read_bytes())
    assert answers.answer(photo).answer.candidates and photo.preview is not None
"""
PREDICT = """
from kaggle_kit.inference.recogniser import Recogniser

recogniser = Recogniser.load(bundle)
size = recogniser.ranking.batch_size
many = paths * (size * (n + 2) // len(paths) + 1)
done = 0
def use(path):
    global done
    batch, upcoming = (many[i : i + size] for i in (done, done + size))
    done += size
    found = recogniser.embedder.embed(batch, None, upcoming)
    assert all(recogniser.guesses(found, recogniser.search(found), ()))
"""
LOOP = """
import json, sys
from pathlib import Path
n, warm, bundle = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
paths = [Path(line) for line in sys.stdin.read().split("\\n") if line]

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

{use}
seen = []
for i in range(n):
    if i >= warm and (i - warm) % max(1, (n - warm) // 10) == 0:
        seen.append(resident())
    use(paths[i % len(paths)])
print(json.dumps([*seen, resident()]))
"""


def grown(use, n, warm, bundle, paths):
    """Resident megabytes after ``warm`` times, and on to the end."""
    done = subprocess.run(
        [sys.executable, "-c", LOOP.format(use=use), str(n), str(warm), str(bundle)],
        input="\n".join(map(str, paths)),
        env=os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def photos(competition):
    ids = tables.read_sample(competition / "sample_submission.csv")
    return [image_path(competition / "test", image_id) for image_id in ids]


@pytest.mark.parametrize(
    "n", [pytest.param(400, id="some"), pytest.param(5000, marks=pytest.mark.slow)]
)
def test_the_app_does_not_grow_with_the_photos(n, bundle_dir, competition, capsys):
    if find_spec("ai_edge_litert") is None:
        pytest.skip("the extra 'app' is not installed")
    seen = grown(ANSWERS, n, WARM, bundle_dir, photos(competition))
    with capsys.disabled():
        print(f"\n{n} photos, app: {' '.join(f'{mb:.1f}' for mb in seen)} MB")
    assert seen[-1] - seen[0] < GROWTH_MB


@pytest.mark.parametrize(
    ("n", "warm"),
    [
        pytest.param(120, 50, id="some"),
        pytest.param(1200, WARM, marks=pytest.mark.slow),
    ],
)
def test_predicting_does_not_grow_with_the_batches(
    n, warm, bundle_dir, competition, capsys
):
    """Of 8 photos each, embedded and ranked; what becomes of them is not kept here."""
    seen = grown(PREDICT, n, warm, bundle_dir, photos(competition))
    with capsys.disabled():
        print(f"\n{n} batches: {' '.join(f'{mb:.1f}' for mb in seen)} MB")
    assert seen[-1] - seen[0] < TENSORFLOW_MB
