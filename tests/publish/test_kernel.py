"""The inference kernel finds its inputs under every layout that Kaggle mounts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

KERNEL = Path(__file__).parents[2] / "kernels" / "inference" / "landmark-inference.py"
# In place of the library: says what it was called with.
LIBRARY = """
from pathlib import Path
def predict(bundle, competition, out):
    print(bundle, competition, out, sep="|")
"""
SLUG = "landmark-recognition-2021"
LAYOUTS = {
    "plain": (SLUG, "landmark-kit"),
    "competitions": (f"competitions/{SLUG}", "datasets/someone/landmark-kit"),
    "mixed": (f"competitions/{SLUG}", "landmark-kit"),
    "nested": (f"{SLUG}/{SLUG}", "landmark-kit/landmark-kit"),
    "deep": (
        f"competitions/{SLUG}/{SLUG}",
        "datasets/someone/landmark-kit/landmark-kit",
    ),
}


def run(inputs: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "KAGGLE_KIT_INPUT": str(inputs), "PYTHONPATH": ""}
    command = [sys.executable, str(KERNEL)]
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_inputs_are_found(layout, tmp_path):
    competition, bundle = (tmp_path / "input" / place for place in LAYOUTS[layout])
    recognition = bundle / "kaggle_kit" / "recognition"
    recognition.mkdir(parents=True)
    (recognition / "predict.py").write_text(LIBRARY)
    for name in ("kaggle_kit", "kaggle_kit/recognition"):
        (bundle / name / "__init__.py").touch()
    (bundle / "kit-manifest.json").write_text("{}")
    for name in ("train", "test"):
        # deep inside the photos lies a decoy, which must not even be looked at
        decoy = competition / name / "0"
        decoy.mkdir(parents=True)
        (decoy / "kit-manifest.json").touch()
    for name in ("train.csv", "sample_submission.csv"):
        (competition / name).touch()
    (tmp_path / "input" / "another-dataset" / "images").mkdir(parents=True)
    done = run(tmp_path / "input", tmp_path)
    assert done.stdout.strip() == f"{bundle}|{competition}|submission.csv", done.stderr


def test_a_missing_input_is_named(tmp_path):
    (tmp_path / "something").mkdir()
    done = run(tmp_path, tmp_path)
    assert done.returncode == 1
    assert "no folder with kit-manifest.json" in done.stderr
    assert "Traceback" not in done.stderr
