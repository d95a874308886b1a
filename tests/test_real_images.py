"""Recognition of real images, as a user starts it; on a part of them by default."""

import json
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import pytest

from kaggle_kit import config
from kaggle_kit.data.index import image_ids
from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.inference.predict import predict
from kaggle_kit.run import run
from kaggle_kit.storage import tables
from kaggle_kit.storage.csv_files import write_rows
from kaggle_kit.storage.json_files import to_json

N_LANDMARKS = 6
SMALL = {
    "data.image_size": 160,
    "data.stored_size": 160,
    "recognition.flip": False,
    "local.n_features": 400,
}


@pytest.fixture(scope="module")
def few(landmarks45, tmp_path_factory):
    """Six landmarks with 15 training and 6 test images each, and 60 other images."""
    whole = Competition(landmarks45)
    part = Competition(tmp_path_factory.mktemp("few"))
    of = defaultdict(list)
    for label in tables.read_labels(whole.train_csv):
        of[label.landmark_id].append(label)
    chosen = sorted(of, key=lambda landmark: -len(of[landmark]))[:N_LANDMARKS]
    labels = [label for landmark in chosen for label in of[landmark][:15]]
    listed = {label.image_id for labels in of.values() for label in labels}
    others = sorted(set(image_ids(whole.train_dir)) - listed)[:40]
    queries, taken = [], defaultdict(int)
    for image_id, truth in tables.read_solution(whole.solution_csv).items():
        key = next(iter(truth.landmark_ids), None)
        if (key is None or key in chosen) and taken[key] < (6 if key else 20):
            taken[key] += 1
            queries.append((image_id, key))
    for ids, name in (
        ([label.image_id for label in labels] + others, "train"),
        ([image_id for image_id, _ in queries], "test"),
    ):
        for image_id in ids:
            target = image_path(part.root / name, image_id)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(image_path(whole.root / name, image_id), target)
    rows = [label[:2] for label in labels]
    write_rows(part.train_csv, ("id", "landmark_id"), rows)
    write_rows(part.solution_csv, ("id", "landmarks"), queries)
    guess = f"{chosen[0]} 0.1"
    sample = [(image_id, guess) for image_id, _ in queries]
    write_rows(part.sample_csv, ("id", "landmarks"), sample)
    return part.root


@pytest.mark.extended
@pytest.mark.parametrize(
    ("name", "floor"), [("lite0_320.yaml", 0.75), ("sift.yaml", 0.5)]
)
def test_untrained_recognition_of_few_landmarks(name, floor, few, tmp_path):
    """And the kernel, in rehearsal, writes the very bytes that the library writes."""
    settings = config.override(config.load(Path(name)), SMALL)
    result = to_json(run(settings, few, tmp_path / "out"))
    assert result["gap"] > floor
    assert result["gap_of_sample"] < 0.1
    assert result["score"]["interval"]["gap"][0] > floor - 0.2
    assert result["training"]["epochs"] == 0
    predict(tmp_path / "out" / "bundle", few, tmp_path / "s.csv")
    kernel = Path(result["submission"]).read_bytes()
    assert (tmp_path / "s.csv").read_bytes() == kernel


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "floor", "minutes"),
    [
        ("lite0_320", 0.97, 5),
        ("sift", 0.65, 8),
        ("lite0_320_arcface", 0.95, 45),
        ("r50_scratch", 0.55, 60),
        ("r50_scratch_verified", 0.78, 70),
    ],
)
def test_floors_on_45_landmarks(name, floor, minutes, landmarks45, tmp_path):
    start = time.monotonic()
    assert started(name, landmarks45, tmp_path / "out")["gap"] >= floor
    assert time.monotonic() - start < 60 * minutes


@pytest.mark.slow
def test_integers_recognise_as_well_as_floats(landmarks45, tmp_path):
    setting = ["--set", "recognition.int8=true"]
    result = started("lite0_320", landmarks45, tmp_path / "out", *setting)
    assert result["gap"] >= 0.97
    found = (result["bundle"][k] for k in ("validation", "validation_in_float"))
    integers, floats = (scores["gap"] for scores in found)
    assert integers > floats - 0.005


def started(name, competition, out, *more):
    """The result of ``kaggle-kit run`` in a process of its own."""
    code = "import sys; from kaggle_kit.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "run", "--config", f"{name}.yaml"]
    command += ["--competition", str(competition), "--out", str(out), *more]
    return json.loads(subprocess.check_output(command, text=True))
