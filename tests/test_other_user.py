"""On machines without a home folder, a user entry or a folder for temporary files."""

import json
import os
import subprocess
import sys

import pytest

from tests.helpers.other_user import as_other_user

RUN = "import sys; from kaggle_kit.cli import main; sys.exit(main(sys.argv[1:]))"


def run_without_home(*args: object, **variables: str) -> subprocess.CompletedProcess:
    """Run a command as a user without a home folder and without an entry."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("KAGGLE", "XDG"))}
    kept.pop("HOME", None)
    return subprocess.run(
        [*as_other_user(), sys.executable, "-c", RUN, *map(str, args)],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env=kept | {"no_proxy": "*", "TMPDIR": "/nowhere"} | variables,
    )


def test_the_doctor_finds_no_credentials_and_goes_on():
    done = run_without_home("doctor", PATH="/nowhere")
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["credentials"]["found"] == "none"
    assert {"disk", "python"} <= checks.keys()


@pytest.mark.extended
@pytest.mark.parametrize("home", ["/", "/nowhere", "/dev/null", "/proc"])
def test_a_home_that_cannot_be_written_is_none(home):
    done = run_without_home("doctor", HOME=home, PATH="/nowhere")
    assert "Traceback" not in done.stderr, done.stderr
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["credentials"]["found"] == "none"


@pytest.mark.extended
def test_a_bundle_is_made_without_a_home_folder(local, competition, tmp_path):
    """Its check for leaks is at the end, when all images have been embedded."""
    tmp_path.chmod(0o777)
    done = run_without_home(
        *("bundle", "--run", local[0] / "run", "--competition", competition),
        *("--out", tmp_path / "bundle"),
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "bundle" / "kit-manifest.json").exists()
