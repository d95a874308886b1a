"""Run the kernels as Kaggle does, with inputs that lie as Kaggle mounts them."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import kaggle_kit
from tests.helpers.standin import Kaggle

KERNELS = Path(__file__).parents[2] / "kernels"
SCRIPTS = {
    name: KERNELS / name / f"landmark-{name}.py" for name in ("inference", "training")
}
# Replaces the library below the entry: prints what it was called with.
LIBRARY = {
    "inference/predict.py": """
import time
def predict(bundle, competition, out, time_limit_s, began):
    assert 0 <= time.monotonic() - began < 60
    print(bundle, competition, out.read_text(), time_limit_s, sep="|")
""",
    "training/kaggle_session.py": """
import time
def train_in_session(bundle, competition, out, earlier, stop_at):
    hours = round((stop_at - time.monotonic()) / 3600, 1)
    print(bundle, competition, out, earlier, hours, sep="|")
""",
    # what the inference kernel calls before it imports heavy modules
    "storage/tables.py": """
import sys
def read_sample(path):
    assert path.exists()
    return ["an-id"]
def write_submission(path, image_ids, guesses):
    assert str(path) == "submission.csv" and not guesses
    assert "kaggle_kit.inference" not in sys.modules
    path.write_text(",".join(image_ids))
""",
}
# What the entry needs before it calls the rest.
ENTRY = ("__init__.py", "kernel.py", "log.py", "credentials.py", "escaping.py")
SLUG = "landmark-recognition-2021"
LAYOUTS = {
    "plain": (SLUG, "landmark-kit", "landmark-training"),
    "competitions": (
        f"competitions/{SLUG}",
        "datasets/someone/landmark-kit",
        "notebooks/someone/landmark-training",
    ),
    "mixed": (f"competitions/{SLUG}", "landmark-kit", "notebooks/someone/training"),
    "nested": (f"{SLUG}/{SLUG}", "landmark-kit/landmark-kit", "training/output"),
    "deep": (
        f"competitions/{SLUG}/{SLUG}",
        "datasets/someone/landmark-kit/landmark-kit",
        "datasets/someone/training-output/output",
    ),
}


def run_script(
    script: Path, inputs: Path, cwd: Path, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run a kernel in a folder; its inputs are elsewhere."""
    environment = {**os.environ, "KAGGLE_KIT_INPUT": str(inputs), "PYTHONPATH": ""}
    environment |= more
    command = [sys.executable, "-B", str(script)]
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def add_competition(folder: Path) -> Path:
    """Create a competition without images."""
    for name in ("train", "test"):
        # files among the images that the search must not reach
        decoy = folder / name / "0"
        decoy.mkdir(parents=True)
        (decoy / "kit-manifest.json").touch()
        (decoy / "session.json").touch()
    for name in ("train.csv", "sample_submission.csv"):
        (folder / name).touch()
    return folder


def add_bundle(folder: Path, manifest: str = "{}") -> Path:
    """Create a bundle with a fake library below the real entry."""
    library = folder / "kaggle_kit"
    for name, text in LIBRARY.items():
        (library / name).parent.mkdir(parents=True, exist_ok=True)
        (library / name).write_text(text)
        (library / name).with_name("__init__.py").touch()
    for name in ENTRY:
        shutil.copyfile(Path(kaggle_kit.__file__).with_name(name), library / name)
    (folder / "kit-manifest.json").write_text(manifest)
    return folder


def lay_out(layout: str, inputs: Path) -> list[Path]:
    """Create inputs: a competition, a bundle; return the place of an earlier output, too."""
    places = [inputs / place for place in LAYOUTS[layout]]
    add_competition(places[0])
    add_bundle(places[1])
    (inputs / "another-dataset" / "images").mkdir(parents=True)
    return places


def sent_sources(kaggle: Kaggle) -> dict[str, str]:
    """What the kernel that was pushed last is told, as the stand-in received it."""
    *_, call = [c for c in kaggle.calls if c.name == "SaveKernel"]
    (line,) = [x for x in call.json["text"].splitlines() if x.startswith("SOURCES = ")]
    told: dict[str, str] = ast.literal_eval(line.removeprefix("SOURCES = "))
    return told
