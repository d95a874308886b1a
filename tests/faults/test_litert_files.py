"""Mutated LiteRT files: each is refused, or runs in a process apart and harms no other.

The runtime crashes on a quarter of them when nothing checks them before.
"""

import random
from importlib.util import find_spec

import numpy as np
import pytest

from kaggle_kit.backends.isolated import IsolatedRunner
from kaggle_kit.backends.litert_check import check_lite
from kaggle_kit.backends.pillow import LightEngine
from kaggle_kit.errors import ArtefactError
from tests.helpers.complaints import check_complaint
from tests.helpers.lite_exports import FLOATS, INTEGERS, write_exports
from tests.helpers.mutated_litert import mutate

# A block is a test of its own: after an interruption, ``-k block17`` goes on from there.
FILES, RUNS, BLOCKS = 100, 5, 50
NETWORKS = [(kind, name) for kind in ("gem", "views") for name in (FLOATS, INTEGERS)]


@pytest.fixture(scope="session")
def contents(settings, shared):
    """Files of small networks that have between them nearly every operation."""

    def make(out):
        for kind in ("gem", "views"):
            write_exports(kind, settings, out / kind)

    folder = shared.make("networks to mutate", make)[0]
    return [(folder / kind / name).read_bytes() for kind, name in NETWORKS]


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(i, id=f"block{i}", marks=[pytest.mark.slow] if i else [])
        for i in range(BLOCKS)
    ],
)
def test_a_mutated_file_is_refused_or_runs_apart(block, contents, tmp_path, tried):
    if find_spec("ai_edge_litert") is None:
        pytest.skip("the extra 'app' is not installed")
    path, n_runs = tmp_path / "x.tflite", 0
    for seed in range(block * FILES, (block + 1) * FILES):
        rng = random.Random(seed)
        path.write_bytes(mutate(rng.choice(contents), rng))
        tried["mutated LiteRT files"] += 1
        try:
            check_lite(path)
        except (ArtefactError, ValueError) as error:
            assert len(str(error)) < 600
            tried["mutated LiteRT files: refused by the check"] += 1
            continue
        tried["mutated LiteRT files: passed the check"] += 1
        if n_runs < RUNS:
            n_runs += 1
            tried[f"mutated LiteRT files: run apart: {run_apart(path)}"] += 1


def run_apart(path):
    """Load and run a file in a process of its own; return how that ended, in a word."""
    runner = None
    try:
        runner = IsolatedRunner(path, LightEngine.loader)
        outputs = runner.start(
            np.full((1, runner.side, runner.side, 3), 99, np.uint8)
        )()
        assert outputs["embedding"].shape == (1, runner.width)
    except ArtefactError as error:
        check_complaint(error, path)
        died = "a process" in str(error) or "no answer" in str(error)
        return "died" if died else "refused by the runtime"
    finally:
        if runner:
            runner.close()
    return "ran"
