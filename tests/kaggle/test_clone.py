"""The commands that submit work in a clone of the repository."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kaggle_kit import cli
from kaggle_kit.errors import TableError
from kaggle_kit.kaggle import ledger
from tests.helpers.kaggle_names import KERNEL, SLUG, SUBMISSION

ROOT = Path(__file__).parents[2]
READERS: dict[str, Callable[[Path], Any]] = {
    "submissions/ledger.csv": ledger.read_ledger
}


def files() -> list[str]:
    """The repository's files, also those that are not committed yet."""
    command = ["git", "ls-files", "-co", "--exclude-standard"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in said.stdout.splitlines() if (ROOT / name).is_file()]


def read_tables(root: Path, names: list[str]) -> None:
    """Read each table with its reader."""
    for name in names:
        if name.endswith(".csv"):
            assert name in READERS, f"{name}: which module reads it?"
            READERS[name](root / name)


@pytest.fixture
def clone(kaggle, tmp_path, monkeypatch):
    """A copy of the repository's files, where one is, before the stand-in."""
    for name in files():
        if not name.startswith("tests/"):
            path = tmp_path / "clone" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes((ROOT / name).read_bytes())
    monkeypatch.chdir(tmp_path / "clone")
    kaggle.on_push = lambda version: (
        {"submission.csv": SUBMISSION.encode()},
        "",
        "COMPLETE",
    )
    return tmp_path / "clone"


def kit(capsys, *argv: object) -> dict:
    """Run a command of the kit; what it printed."""
    capsys.readouterr()
    code = cli.main(list(map(str, argv)))
    said = capsys.readouterr()
    assert code == 0, said.err
    return json.loads(said.out)


def test_every_table_of_the_repository_can_be_read():
    read_tables(ROOT, files())


def test_a_malformed_or_unknown_table_is_noticed(tmp_path):
    path = tmp_path / "submissions" / "ledger.csv"
    path.parent.mkdir()
    path.write_text("date,run,config,commit,local_gap,public_gap,private_gap\n")
    with pytest.raises(TableError):
        read_tables(tmp_path, ["submissions/ledger.csv"])
    with pytest.raises(AssertionError, match=r"more\.csv"):
        read_tables(tmp_path, ["more.csv"])


def test_all_submitting_commands_work_in_a_clone(clone, kaggle, small_bundle, capsys):
    shipping = ("ship", "--bundle", small_bundle, "--kernel", "kernels/inference")
    shipping += ("--slug", SLUG, "--message", "from a clone")
    planned = kit(capsys, *shipping, "--dry-run")
    assert planned["dataset"]["commands"] and planned["kernel"]["commands"]
    assert not kaggle.datasets and not kaggle.kernels
    shipped = kit(capsys, *shipping)["submission"]
    assert shipped["submitted"]

    again = (
        "push",
        "--kernel",
        "kernels/inference",
        "--dataset",
        "tester/landmark-kit",
    )
    assert kit(capsys, *again)["version"] == 2
    given = ("submit", "--slug", SLUG, "--kernel", KERNEL, "--version", "2")
    given += ("--message", "by hand")
    assert kit(capsys, *given, "--dry-run")["commands"]
    assert len(kaggle.submissions) == 1
    assert kit(capsys, *given)["submitted"]
    shown = kit(capsys, "submissions", "--slug", SLUG)["submissions"]
    runs = {"landmark-inference-v1", "landmark-inference-v2"}
    assert (
        {s["run"] for s in shown} == {row.run for row in ledger.read_ledger()} == runs
    )
    read_tables(clone, ["submissions/ledger.csv"])
