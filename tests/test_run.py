"""The main job, as a user starts it: from nothing to a scored submission."""

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from kaggle_kit import config
from kaggle_kit.errors import ArtefactError
from kaggle_kit.inference.predict import predict
from kaggle_kit.metrics.score import score, validate
from kaggle_kit.run import run
from kaggle_kit.storage.json_files import to_json

RUN = "import sys; from kaggle_kit.cli import main; sys.exit(main(sys.argv[1:]))"
GAP_FLOOR = 0.5  # a demo below it has a broken stage


def memory_of(pid: int) -> int:
    """Resident bytes of a process and of all that it started."""
    total = 0
    try:
        for process in [
            psutil.Process(pid),
            *psutil.Process(pid).children(recursive=True),
        ]:
            total += process.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demo: its result, its folder, the seconds and the memory it took."""
    out = tmp_path_factory.mktemp("demo") / "demo"
    command = [sys.executable, "-c", RUN, "demo", "--out", str(out)]
    start, peak = time.monotonic(), 0
    with (out.parent / "log.txt").open("w") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True
        )
        while process.poll() is None:
            peak = max(peak, memory_of(process.pid))
            time.sleep(0.2)
    seconds = time.monotonic() - start
    assert process.returncode == 0, (out.parent / "log.txt").read_text()
    return json.loads(process.stdout.read()), out, seconds, peak


@pytest.fixture(scope="module")
def small(competition, tmp_path_factory):
    """ResNet-50 for one epoch, through all stages: the result, the folder, the config."""
    out = tmp_path_factory.mktemp("small") / "out"
    changes = {
        "name": "small",
        "data.image_size": 32,
        "data.stored_size": 36,
        "train.epochs": 1,
        "train.batch_size": 16,
    }
    settings = config.override(config.load(Path("demo.yaml")), changes)
    assert settings.model.backbone == "resnet50"
    return to_json(run(settings, competition, out)), out, settings


def test_a_run_leaves_a_valid_submission_that_scores_as_it_says(small, competition):
    result, out, _ = small
    submission = Path(result["submission"])
    assert submission == out / "submission.csv"
    assert validate(submission, competition / "sample_submission.csv").valid
    solution, bundle = competition / "solution.csv", result["bundle_dir"]
    found = score(submission, solution, n_resamples=1000, bundle=bundle)
    assert found.lost.unknown_landmarks == 0
    assert found.as_json() == result["score"]


def test_a_run_says_where_everything_lies(small):
    result, out, _ = small
    for name in ("run", "bundle_dir", "submission", "learning_curves", "report"):
        assert Path(result[name]).exists()
    assert json.loads((out / "result.json").read_text())["gap"] == result["gap"]


def test_kernel_and_library_give_the_same_bytes(small, competition, tmp_path):
    result, *_ = small
    predict(Path(result["bundle_dir"]), competition, tmp_path / "submission.csv")
    kernel = Path(result["submission"]).read_bytes()
    assert (tmp_path / "submission.csv").read_bytes() == kernel


def test_validation_score_travels_with_the_bundle(small):
    result, *_ = small
    manifest = json.loads(
        (Path(result["bundle_dir"]) / "kit-manifest.json").read_text()
    )
    assert manifest["validation"] == result["bundle"]["validation"]


@pytest.mark.extended
def test_a_finished_run_is_done_again_without_training(small, competition):
    result, out, settings = small
    again = to_json(run(settings, competition, out))
    assert again["gap"] == result["gap"]
    assert again["training"] == result["training"]


def test_a_folder_of_another_config_is_refused(small, competition):
    _, out, settings = small
    other = config.override(settings, {"train.epochs": 2})
    with pytest.raises(ArtefactError, match="run with other settings"):
        run(other, competition, out)


def test_a_folder_with_other_files_is_refused(competition, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ArtefactError, match="found other files"):
        run(config.load(Path("demo.yaml")), competition, tmp_path)


@pytest.mark.extended
def test_demo_reaches_a_gap_that_a_broken_stage_could_not(demo):
    result, *_ = demo
    assert result["gap"] > GAP_FLOOR
    assert result["gap_of_sample"] < 0.1  # one landmark for every image


@pytest.mark.slow  # and on a machine with nothing else to do
def test_demo_takes_at_most_four_minutes(demo):
    assert demo[2] < 240


@pytest.mark.extended
def test_demo_takes_less_than_three_gigabytes(demo):
    assert 0.5e9 < demo[3] < 3e9


@pytest.mark.extended
def test_demo_leaves_a_valid_submission_that_scores_as_it_says(demo):
    result, out, *_ = demo
    competition = Path(result["competition"])
    submission = Path(result["submission"])
    assert submission == out / "submission.csv"
    assert validate(submission, competition / "sample_submission.csv").valid
    solution, bundle = competition / "solution.csv", result["bundle_dir"]
    found = score(submission, solution, n_resamples=1000, bundle=bundle)
    assert found.lost.unknown_landmarks == 0
    assert found.as_json() == result["score"]


@pytest.mark.extended
def test_demo_says_where_everything_lies(demo):
    result, out, *_ = demo
    for name in ("run", "bundle_dir", "submission", "learning_curves", "competition"):
        assert Path(result[name]).exists()
    assert json.loads((out / "result.json").read_text())["gap"] == result["gap"]


@pytest.mark.extended
def test_demo_leaves_a_report_of_its_gap(demo):
    result, out, *_ = demo
    assert Path(result["report"]) == out / "report.html"
    page = (out / "report.html").read_text("utf-8")
    assert f'value="{result["gap"]!r}"' in page
    for part in ("Loss over 18 epochs", "difference from r50_64.yaml", "cosine 0."):
        assert part in page
