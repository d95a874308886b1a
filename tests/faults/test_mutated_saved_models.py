"""SavedModels changed at random: each is refused in one line, or computes and no more."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from kaggle_kit.backends.base import VIEWS
from kaggle_kit.errors import ArtefactError
from kaggle_kit.model.saved_model_check import check_saved_model
from tests.helpers.complaints import check_complaint
from tests.helpers.fuzzing import run_blocks
from tests.helpers.mutated_saved_models import mutate
from tests.helpers.run_saved_models import MAX_SECONDS
from tests.helpers.saved_models import network, save_network

ROOT = Path(__file__).parents[2]
SEED = "20261127"
AT_ONCE = 25  # networks that one process runs, one after another


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A network that is in order."""
    return save_network(tmp_path_factory.mktemp("source") / "model")


def look_at(folder: Path) -> str:
    """What the check says of a network: passed, refused or malformed."""
    try:
        check_saved_model(folder, VIEWS)
    except ArtefactError as error:
        check_complaint(error, folder)
        return "refused"
    except (OSError, ValueError):
        return "malformed"
    return "passed"


def run_apart(folders: list[Path], empty: Path) -> list[dict[str, str]]:
    """Run networks in other processes, in an empty folder that stays empty.

    Returns:
        The lines that they print.
    """
    home = empty.with_name("home")
    for folder in (empty, home):
        folder.mkdir(exist_ok=True)
    places = {"HOME": home, "TMPDIR": empty, "KERAS_HOME": home, "MPLCONFIGDIR": home}
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.run_saved_models", *map(str, folders)],
        cwd=empty,
        env={
            **os.environ,
            **{k: str(v) for k, v in places.items()},
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        timeout=60 + MAX_SECONDS * len(folders),
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert not list(empty.iterdir())
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return [json.loads(line) for line in lines]


def outcomes(lines: list[dict[str, str]]) -> Counter[str]:
    """How many networks ended how."""
    return Counter(line["outcome"] for line in lines if "outcome" in line)


@pytest.mark.parametrize(
    "n", [300, pytest.param(5000, marks=pytest.mark.slow, id="many")]
)
def test_a_changed_network_is_refused_or_may_be_loaded(n, source, tmp_path, tried):
    """Looked at only, each in a few milliseconds."""

    def block(first, length, meter):
        for i in range(first, first + length):
            folder = mutate(source, f"{SEED}-{i}", tmp_path / str(i))
            with meter.attempt(i):
                meter.counts[f"changed SavedModels {look_at(folder)}"] += 1
            shutil.rmtree(folder)

    counts = run_blocks("saved-models", n, block, tried, seconds=2, megabytes=300)
    assert counts.total() == n and min(counts.values()) > n // 20


@pytest.mark.parametrize(
    "n",
    [
        pytest.param(25, marks=pytest.mark.extended),
        pytest.param(200, marks=pytest.mark.slow, id="many"),
    ],
)
def test_what_may_be_loaded_computes_and_writes_nothing(n, source, tmp_path, tried):
    """In processes with limits of memory and time; none dies, and this one lives."""
    passed: list[Path] = []
    i = 0
    while len(passed) < n:
        folder = mutate(source, f"{SEED}-{i}", tmp_path / "changed" / str(i))
        if look_at(folder) == "passed":
            passed.append(folder)
        else:
            shutil.rmtree(folder)
        i += 1
    before = {
        p: p.read_bytes() for p in (tmp_path / "changed").rglob("*") if p.is_file()
    }
    lines = []
    for start in range(0, n, AT_ONCE):
        lines += run_apart(passed[start : start + AT_ONCE], tmp_path / "empty")
    found = outcomes(lines)
    for what, number in found.items():
        tried[f"changed SavedModels that passed, {what}"] += number
    after = {
        p: p.read_bytes() for p in (tmp_path / "changed").rglob("*") if p.is_file()
    }
    assert before == after
    bad = [
        line for line in lines if line.get("outcome") not in (None, "ran", "refused")
    ]
    assert not bad and found.total() == n
    for line in lines:
        if "says" in line:
            assert line["says"].isprintable()


def outer(images, kernel, scale):
    """A network that computes 64 GB from a constant of half a megabyte."""
    column = tf.constant(np.arange(2**17, dtype=np.float32)[:, None])
    largest = tf.reduce_max(tf.matmul(column, column, transpose_b=True))
    return {"embedding": network(images, kernel, scale)["embedding"] + largest}


@pytest.mark.slow
def test_a_network_that_needs_too_much_memory_is_refused_as_it_runs(tmp_path):
    """The check does not know how much is computed."""
    folder = save_network(tmp_path / "model", outer)
    assert look_at(folder) == "passed"
    lines = run_apart([folder], tmp_path / "empty")
    assert outcomes(lines) == {"refused": 1}
    assert "expected memory for one image" in lines[0]["says"]
