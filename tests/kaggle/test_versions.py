"""Kernels and bundles of different versions: a mismatch is one line."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import kaggle_kit
from kaggle_kit import kernel as entry
from kaggle_kit.bundling.library import check_fit, copy_library, stop_former_kernels
from kaggle_kit.errors import ArtefactError
from kaggle_kit.kaggle.ship import ship
from kaggle_kit.storage.manifest import MANIFEST
from tests.helpers.kaggle_names import SLUG
from tests.helpers.signed_bundles import sign

KERNELS = Path(__file__).parents[2] / "kernels"
SCRIPTS = {
    name: KERNELS / name / f"landmark-{name}.py" for name in ("inference", "training")
}
NOW = kaggle_kit.__version__
# The first import of the kernels of 0.1.0 from the bundle.
FORMER = {
    "inference": "from kaggle_kit.tables import read_sample, write_submission",
    "training": "from kaggle_kit.training.session import train_in_session",
}


def run(script: Path, inputs: Path) -> subprocess.CompletedProcess[str]:
    """Run a kernel in an empty folder; only its bundle has the kit."""
    working = inputs.with_name("working")
    working.mkdir()
    return subprocess.run(
        [sys.executable, "-B", str(script)],
        cwd=working,
        env={"KAGGLE_KIT_INPUT": str(inputs), "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )


def old_kernel(folder: Path, bundle: Path, name: str) -> Path:
    """A kernel of 0.1.0, up to its first import."""
    script = folder / f"{name}.py"
    lines = ["import sys", f"sys.path.insert(0, {str(bundle)!r})", FORMER[name]]
    script.write_text("\n".join(lines) + "\n")
    return script


def as_of(bundle: Path, version: str, with_entry: bool = False) -> Path:
    """Turn a bundle into one of another version."""
    if not with_entry:
        (bundle / "kaggle_kit" / "kernel.py").unlink()
    sign(bundle)
    path = bundle / MANIFEST
    kit = {"version": version, "commit": "0123abc"}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"kit": kit}))
    return bundle


@pytest.fixture
def library(tmp_path):
    """A bundle with only the library."""
    bundle = tmp_path / "input" / "kit"
    bundle.mkdir(parents=True)
    copy_library(bundle)
    stop_former_kernels(bundle)
    return as_of(bundle, NOW, with_entry=True)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_kernel_carries_version_and_interface_of_the_kit(name):
    text = SCRIPTS[name].read_text("utf-8")
    assert re.findall(r'^VERSION = "(.*?)"', text, re.MULTILINE) == [NOW]
    found = re.findall(r"^INTERFACE = (\d+)", text, re.MULTILINE)
    assert found == [str(entry.INTERFACE)]


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_kernel_imports_only_the_entry(name):
    found = set()
    for node in ast.walk(ast.parse(SCRIPTS[name].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    kit = {n for n in found if n.startswith("kaggle_kit")}
    assert kit == {"kaggle_kit.kernel"}
    assert {n.split(".")[0] for n in found - kit} <= sys.stdlib_module_names


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_kernel_that_meets_an_older_bundle_names_both_versions(name, library):
    as_of(library, "0.1.0")
    done = run(SCRIPTS[name], library.parent)
    assert done.returncode == 1
    assert done.stderr == (
        f"kernel of kaggle_kit {NOW}, bundle of 0.1.0: make the bundle again with "
        f"kaggle-kit bundle and publish it\n"
    )


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_older_kernel_that_meets_the_bundle_is_told_which_to_push(
    name, library, tmp_path
):
    done = run(old_kernel(tmp_path, library, name), library.parent)
    assert done.returncode == 1
    assert done.stderr == (
        f"kernel of kaggle_kit 0.1.0, bundle of {NOW}: push the kernel of {NOW} with "
        f"kaggle-kit push\n"
    )


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_bundle_of_a_later_interface_ends_the_kernel_with_one_line(name, library):
    path = library / "kaggle_kit" / "kernel.py"
    path.write_text(
        path.read_text("utf-8").replace(
            f"INTERFACE = {entry.INTERFACE}", f"INTERFACE = {entry.INTERFACE + 1}"
        )
    )
    path.with_name("__init__.py").write_text('__version__ = "9.0"\n')
    done = run(SCRIPTS[name], library.parent)
    assert done.returncode == 1
    assert done.stderr == (
        f"kernel of kaggle_kit {NOW}, bundle of 9.0: push the kernel of 9.0 with "
        f"kaggle-kit push\n"
    )


def test_a_kernel_of_a_later_interface_is_ended_with_one_line():
    entry.check("0.2.7", entry.INTERFACE)
    with pytest.raises(SystemExit) as ended:
        entry.check("9.0", entry.INTERFACE + 1)
    assert ended.value.code == (
        f"kernel of kaggle_kit 9.0, bundle of {NOW}: make the bundle again with "
        f"kaggle-kit bundle and publish it"
    )


@pytest.mark.parametrize("name", SCRIPTS)
def test_kernel_and_bundle_of_one_version_fit(name, library):
    check_fit(library, SCRIPTS[name])


def test_a_script_without_the_kit_fits_any_bundle(library, tmp_path):
    as_of(library, "0.1.0")
    (tmp_path / "own.py").write_text("import numpy\nprint(numpy.pi)\n")
    (tmp_path / "own.ipynb").write_text('{"cells": [], "nbformat": null}')
    check_fit(library, tmp_path / "own.py")
    check_fit(library, tmp_path / "own.ipynb")


@pytest.mark.parametrize(
    "line",
    [
        "import kaggle_kit.inference.predict",
        "from kaggle_kit import config",
        "from kaggle_kit.storage.tables import read_sample",
        "def later():\n    from kaggle_kit.tables import read_sample",
    ],
)
def test_a_script_that_imports_other_modules_does_not_fit(line, library, tmp_path):
    path = tmp_path / "own.py"
    path.write_text(f"from kaggle_kit import kernel\n{line}\n")
    with pytest.raises(
        ArtefactError, match=r"import kaggle_kit\.kernel alone, got kaggle_kit"
    ):
        check_fit(library, path)


def test_another_interface_does_not_fit(library, tmp_path):
    path = tmp_path / "own.py"
    path.write_text('VERSION = "9.0"\nINTERFACE = 9\nfrom kaggle_kit import kernel\n')
    with pytest.raises(
        ArtefactError, match=rf"kernel of kaggle_kit 9\.0.* {NOW}: make"
    ):
        check_fit(library, path)


def test_a_script_that_is_not_python_is_refused(library, tmp_path):
    path = tmp_path / "own.py"
    for content in (b"def f(:\n", b"\xff\n", b"x = '\0'\n"):
        path.write_bytes(content)
        with pytest.raises(ArtefactError, match="expected Python"):
            check_fit(library, path)


def nothing_sent(kaggle) -> bool:
    return not kaggle.calls and not Path("submissions").exists()


def test_ship_of_an_older_bundle_sends_nothing(kaggle, small_bundle, kernel_dir):
    as_of(small_bundle, "0.1.0")
    with pytest.raises(ArtefactError, match=rf"{NOW}, bundle of 0\.1\.0: make"):
        ship(small_bundle, kernel_dir, SLUG, "m")
    assert nothing_sent(kaggle)


def test_ship_of_an_older_kernel_sends_nothing(
    kaggle, small_bundle, kernel_dir, tmp_path
):
    script = old_kernel(tmp_path, small_bundle, "inference")
    script.rename(kernel_dir / "landmark-inference.py")
    with pytest.raises(ArtefactError, match=r"before 0\.2\.0, bundle of .*tables"):
        ship(small_bundle, kernel_dir, SLUG, "m")
    assert nothing_sent(kaggle)
