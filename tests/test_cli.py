"""The command line: fast help, and errors of one line with exit code 1."""

import json
import re
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from kaggle_kit import cli
from kaggle_kit import config as settings

RUN = "import sys; from kaggle_kit.cli import main; sys.exit(main(sys.argv[1:]))"
CONTRACT = {
    "download": "--slug --tars --part --out --tables --subset --ids "
    "--without-landmark --resize --accept-md5 --disk-gb",
    "index": "--competition --out --report",
    "subset": "--config --competition --out --set",
    "shards": "--config --competition --subset --out --ray --set",
    "train": "--config --shards --run --set --resume --ray",
    "bundle": "--run --config --competition --out --handle --title --max-mb --set",
    "ablate": "--run --competition --out --set",
    "predict": "--bundle --competition --out --time-limit-s --untrusted",
    "rehearse": "--bundle --competition --out --time-limit-s --memory-gb",
    "validate": "--sample",
    "score": "",
    "report": "--run --submission --solution --competition --bundle --against --out",
    "run": "--config --competition --out",
    "demo": "--config --out",
    "submit": "--slug --kernel --version --file --message --ledger --dry-run",
    "ship": "--bundle --kernel --slug --message --ledger --dry-run",
    "submissions": "--slug --ledger",
    "config show": "CONFIG --set",
    "config explain": "NAME",
}


def kit(*args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", RUN, *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def complaint(*args: object) -> str:
    """Run a command that must fail; return its line on stderr."""
    done = kit(*args)
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith(f"kaggle-kit {args[0]}: ")
    return done.stderr


@pytest.mark.timed
def test_help_answers_in_a_fifth_of_a_second():
    kit("--help")  # once, so that the code is compiled
    seconds = []
    for _ in range(3):
        start = time.monotonic()
        assert "demo" in kit("--help").stdout
        seconds.append(time.monotonic() - start)
    assert min(seconds) < 0.2


def test_the_help_lists_each_command_once_below_a_heading():
    below: dict[str, list[str]] = {}
    for line in kit("--help").stdout.splitlines():
        if line.endswith(":"):
            heading = line[:-1]
        listed = re.match(r"  ([a-z]+(?: [a-z]+)?) +[A-Z]", line)
        if listed:
            below.setdefault(heading, []).append(listed[1])
    assert list(below) == ["Make data", "Train", "Bundle", "Kaggle", "Inspect"]
    assert below["Make data"] == ["download", "index", "subset", "shards"]
    assert [name for names in below.values() for name in names] == list(cli.COMMANDS)


def test_the_help_needs_nothing_that_takes_time():
    code = (
        "import sys\nfrom kaggle_kit.cli import parser\nparser().format_help()\n"
        "print(sorted({'numpy', 'pydantic', 'yaml'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"


@pytest.mark.parametrize("args", [["--help"], ["train", "--help"], ["score", "a", "b"]])
def test_light_commands_do_not_load_tensorflow(args):
    code = (
        "import sys\nfrom kaggle_kit.cli import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit: pass\n"
        "print(sorted({'tensorflow', 'keras', 'pandas'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, *args]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(("command", "options"), CONTRACT.items())
def test_command_has_the_arguments_of_its_contract(command, options, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([*command.split(), "--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    for option in options.split():
        assert option in shown


def test_installed_command_is_the_same():
    script = Path(sys.executable).with_name("kaggle-kit")
    if not script.exists():
        pytest.skip("the kit is not installed into this environment")
    shown = subprocess.check_output([script, "--version"], text=True)
    assert shown.strip() == cli.__version__


def test_python_runs_the_kit_by_its_name_too():
    command = [sys.executable, "-m", "kaggle_kit"]
    run = partial(subprocess.run, capture_output=True, text=True, check=False)
    assert run([*command, "--version"]).stdout.strip() == cli.__version__
    failed = run([*command, "score", "a"])
    assert failed.returncode == 1 and failed.stderr.startswith("kaggle-kit score: ")


def test_a_missing_argument_is_one_line():
    assert "--competition" in complaint("index", "--out", "x.csv")


def test_a_misspelt_setting_is_named_with_the_nearest(tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("name: a\ntrain: {epoch: 3}\n")
    line = complaint("subset", "--config", config, "--competition", ".", "--out", "x")
    assert "train.epoch" in line and "did you mean 'epochs'" in line
    line = complaint(
        *("train", "--config", "demo.yaml", "--shards", tmp_path, "--run", "run"),
        *("--set", "train.epoch=3"),
    )
    assert "did you mean 'epochs'" in line
    settings.write_json(settings.Config(name="a"), tmp_path / "config.json")
    for command in ("ablate", "bundle"):
        line = complaint(
            *(command, "--run", tmp_path, "--competition", ".", "--out", "x"),
            *("--set", "train.epoch=3"),
        )
        assert "did you mean 'epochs'" in line


def test_a_folder_without_a_competition_is_named(tmp_path):
    for command in (["index"], ["subset", "--config", "demo.yaml"]):
        out = tmp_path / "out"
        line = complaint(*command, "--competition", tmp_path / "no", "--out", out)
        assert str(tmp_path / "no") in line and "expected" in line
        assert not out.exists()


def test_a_competition_without_images_is_named(tmp_path):
    (tmp_path / "train.csv").write_text("id,landmark_id\n0123456789abcdef,1\n")
    (tmp_path / "train").mkdir()
    out = tmp_path / "out"
    line = complaint(
        *("subset", "--config", "demo.yaml", "--competition", tmp_path, "--out", out)
    )
    assert f"{tmp_path}/train" in line and "empty folder" in line
    assert not out.exists()


def test_a_bad_line_of_train_csv_is_named(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "x").mkdir()
    table = tmp_path / "train.csv"
    table.write_text("id,landmark_id\n0123456789abcdef,1\n0123456789abcdee,7;8\n")
    out = tmp_path / "out"
    line = complaint(
        *("subset", "--config", "demo.yaml", "--competition", tmp_path, "--out", out)
    )
    assert "train.csv: row 3" in line and "7;8" in line
    assert sorted(p.name for p in tmp_path.iterdir()) == ["train", "train.csv"]


@pytest.mark.parametrize(
    ("args", "missing"),
    [
        (["shards", "--config", "demo.yaml", "--subset"], "subset.csv"),
        (["bundle", "--run"], "config.json"),
        (["predict", "--bundle"], "kit-manifest.json"),
        (["rehearse", "--bundle"], "kit-manifest.json"),
    ],
)
def test_a_stage_without_its_input_says_which_command_makes_it(tmp_path, args, missing):
    there = tmp_path / "there"
    there.mkdir()
    line = complaint(*args, there, "--competition", there, "--out", tmp_path / "o")
    assert missing in line and "make it with kaggle-kit" in line


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--run", "r", "--competition", "c", "--config", "demo.yaml"], "give one"),
        ([], "give one"),
        (["--run", "r"], "expected --competition with --run"),
        (["--config", "demo.yaml", "--competition", "c"], "--competition with --run"),
        (["--config", "demo.yaml", "--handle", "me"], "OWNER/SLUG"),
        (["--config", "demo.yaml", "--handle", "me/kit"], "6 to 50 characters, got 3"),
        (["--config", "demo.yaml", "--title", "kit"], "6 to 50 characters, got 3"),
        (["--config", "demo.yaml", "--max-mb", "0"], "expected a number from 1"),
        (["--config", "demo.yaml", "--set", "train.epoch=3"], "did you mean 'epochs'"),
    ],
)
def test_what_a_bundle_cannot_be_made_of_is_one_line(args, expected, tmp_path):
    there = tmp_path / "there"
    there.mkdir()
    if "r" in args:
        (there / "config.json").write_text("{}")
    args = [there if arg in ("r", "c") else arg for arg in args]
    assert expected in complaint("bundle", *args, "--out", tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_a_folder_that_may_not_be_written_is_named(tmp_path, competition):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    done = kit("index", "--competition", competition, "--out", blocked / "index.csv")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert str(blocked) in done.stderr.splitlines()[-1]
    assert blocked.read_text() == "in the way"


def test_results_are_json_on_stdout(competition, tmp_path):
    done = kit("index", "--competition", competition, "--out", tmp_path / "index.csv")
    assert json.loads(done.stdout)["broken"] == 0
