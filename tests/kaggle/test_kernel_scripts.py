"""The kernels find their inputs wherever Kaggle mounts them, and resume a training."""

import ast
import json
import shutil
import subprocess
from pathlib import Path

import pytest

import kaggle_kit
from kaggle_kit import config
from kaggle_kit.data.subset import same_split
from kaggle_kit.rehearsal.kernel_process import isolation_command, run_kernel
from tests.helpers.kernel_inputs import (
    KERNELS,
    LAYOUTS,
    SCRIPTS,
    SLUG,
    lay_out,
    run_script,
)
from tests.helpers.same_runs import assert_same_run
from tests.helpers.signed_bundles import sign


def run(
    kernel: str, inputs: Path, cwd: Path, **more: str
) -> subprocess.CompletedProcess[str]:
    return run_script(SCRIPTS[kernel], inputs, cwd, **more)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_inputs_are_found(layout, tmp_path):
    competition, bundle, _ = lay_out(layout, tmp_path / "input")
    done = run("inference", tmp_path / "input", tmp_path)
    expected = f"{bundle}|{competition}|an-id|43200.0"
    assert done.stdout.strip() == expected, done.stderr


def test_the_kernel_keeps_to_the_time_that_a_rehearsal_gives_it(tmp_path):
    lay_out("plain", tmp_path / "input")
    done = run("inference", tmp_path / "input", tmp_path, KAGGLE_KIT_TIME_LIMIT_S="7.5")
    assert done.stdout.strip().endswith("|7.5"), done.stderr


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_inputs_of_a_training_are_found(layout, version, tmp_path):
    """Only the second version has an earlier output. Both stop after 11.5 hours."""
    inputs = tmp_path / "input"
    competition, bundle, earlier = lay_out(layout, inputs)
    if version == 2:
        (earlier / "run").mkdir(parents=True)
        (earlier / "session.json").touch()
    found = earlier if version == 2 else None
    done = run("training", inputs, tmp_path)
    assert done.stdout.strip() == f"{bundle}|{competition}|.|{found}|11.5", done.stderr


@pytest.mark.parametrize("kernel", SCRIPTS)
def test_the_library_of_the_bundle_is_taken_before_an_installed_one(kernel, tmp_path):
    _, bundle, _ = lay_out("plain", tmp_path / "input")
    installed = tmp_path / "installed" / "kaggle_kit"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("raise SystemExit('installed')\n")
    more = {"PYTHONPATH": str(installed.parent)}
    done = run(kernel, tmp_path / "input", tmp_path, **more)
    assert done.stdout.startswith(f"{bundle}|"), done.stderr


@pytest.mark.parametrize("kernel", SCRIPTS)
def test_a_missing_input_is_named(kernel, tmp_path):
    (tmp_path / "something").mkdir()
    done = run(kernel, tmp_path, tmp_path)
    assert done.returncode == 1
    assert "no folder with kit-manifest.json" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("kernel", SCRIPTS)
def test_a_missing_competition_is_named(kernel, tmp_path):
    places = lay_out("plain", tmp_path / "input")
    shutil.rmtree(places[0])
    done = run(kernel, tmp_path / "input", tmp_path)
    assert done.returncode == 1
    said = f"no folder with sample_submission.csv, train.csv in {tmp_path / 'input'}"
    assert done.stderr.strip() == f"{said}: add it as input"


def test_both_kernels_have_the_same_search_function():
    """A kernel is one file, so each has its own copy."""
    found = {
        ast.unparse(node)
        for script in SCRIPTS.values()
        for node in ast.parse(script.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef)
    }
    assert len(found) == 1


def test_training_metadata_name_what_kaggle_offers():
    path = KERNELS / "training" / "kernel-metadata.json"
    metadata = json.loads(path.read_text("utf-8"))
    assert metadata["code_file"] == SCRIPTS["training"].name
    assert metadata["machine_shape"] == "NvidiaTeslaT4"
    assert metadata["competition_sources"] == [SLUG]
    # push leaves it out as long as there is no earlier version
    assert metadata["kernel_sources"] == [metadata["id"]]


# The kernel, with a clock that jumps to 1 s before the end after the first epoch.
JUMPING = """
import pathlib, runpy, time
real = time.monotonic
history = pathlib.Path("run/history.csv").absolute()
time.monotonic = lambda: real() + (41399 if history.exists() else 0)
runpy.run_path({script!r}, run_name="__main__")
"""


@pytest.fixture
def kit(settings, tmp_path):
    """A bundle for training: the library and a config."""
    out = tmp_path / "kit"
    ignored = shutil.ignore_patterns("__pycache__", "configs", "kernels")
    shutil.copytree(
        Path(kaggle_kit.__file__).parent, out / "kaggle_kit", ignore=ignored
    )
    config.write_json(settings, out / "config.json")
    sign(out)
    return out


def run_confined(script: Path, mounts: dict[str, Path], out: Path) -> Path:
    """Run a kernel as a rehearsal does; return its working folder."""
    for folder in ("input", "working", "scratch"):
        (out / folder).mkdir(parents=True)
    for place, source in mounts.items():
        mount = out / "input" / place
        mount.parent.mkdir(parents=True, exist_ok=True)
        mount.symlink_to(source.resolve())
    process = run_kernel(script, out, isolation_command(), 1800.0, 20.0)
    assert not process.failure, (out / "log.txt").read_text()
    return out / "working"


@pytest.mark.extended
def test_two_versions_of_the_training_kernel_end_as_one_training(
    kit, competition, run_dir, tmp_path
):
    """A training stopped after one epoch, and resumed, gives the same bytes."""
    first_script = tmp_path / "first.py"
    first_script.write_text(JUMPING.format(script=str(SCRIPTS["training"])))
    first = run_confined(
        first_script,
        {f"competitions/{SLUG}": competition, "datasets/me/landmark-kit": kit},
        tmp_path / "1",
    )
    session = json.loads((first / "session.json").read_text())
    assert (session["finished"], session["epochs"], session["of"]) == (False, 1, 2)
    for path in first.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    second = run_confined(
        SCRIPTS["training"],
        {SLUG: competition, "landmark-kit": kit, "notebooks/me/training": first},
        tmp_path / "2",
    )
    session = json.loads((second / "session.json").read_text())
    assert (session["finished"], session["epochs"], session["of"]) == (True, 2, 2)
    assert {path.name for path in second.iterdir()} == {"run", "session.json"}
    assert_same_run(second / "run", run_dir)
    for name in ("config.json", "classes.csv"):  # so it bundles as that does
        assert (second / "run" / name).read_bytes() == (run_dir / name).read_bytes()
    assert same_split(second / "run" / "subset.csv", run_dir / "subset.csv")
