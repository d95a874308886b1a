"""``config show`` prints a config that can be read; ``config explain`` explains it."""

import subprocess
import sys
from pathlib import Path

import pytest

from kaggle_kit import cli, config
from kaggle_kit.storage.files import package_path

KIT = sorted(path.name for path in package_path("configs").glob("*.yaml"))
ODD = [
    *("yes", "null", "1e5", "12:30:00", "2021-01-01", "a: b # c", "'", '"', "- a", "~"),
    *(" blanks ", "größer", "\U0001f5fc", "word  " * 60, "{a}", "%", "&a", "*a", "!a"),
]
CHANGES = [
    *("train.learning_rate=1.0e-9", "train.stages=[{epochs: 2, image_size: 64}]"),
    *("subset.landmarks=[1, 2]", "vlad={words: 8}", "recognition.verification={}"),
    *("recognition.scales=[1, 1.4142135623730951]", "model.weights='a b: c.h5'"),
    "model.pooling=gem",
]


def shown(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    """Run a command that must succeed; return what it prints."""
    assert cli.main(list(map(str, args))) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("changes", [[], ["--set", *CHANGES]], ids=["plain", "changed"])
@pytest.mark.parametrize("name", KIT)
def test_the_printed_config_is_the_same_config(name, changes, tmp_path, capsys):
    text = shown(capsys, "config", "show", name, *changes)
    (tmp_path / "mine.yaml").write_text(text)
    made = dict(map(config.parse_setting, changes[1:]))
    expected = config.override(config.load(Path(name)), made)
    assert config.load(tmp_path / "mine.yaml") == expected
    assert shown(capsys, "config", "show", tmp_path / "mine.yaml") == text


@pytest.mark.parametrize("name", ODD)
def test_an_odd_name_is_the_same_name(name, tmp_path, capsys):
    path = tmp_path / "odd.yaml"
    path.write_text(config.Config(name=name).model_dump_json())  # JSON is YAML
    expected = config.load(path)
    assert expected.name == name
    path.write_text(shown(capsys, "config", "show", path))
    assert config.load(path) == expected


def test_a_setting_is_explained(capsys):
    text = shown(capsys, "config", "explain", "train.epochs")
    assert "train.epochs = 30" in text and "a whole number from 0" in text


def test_a_misspelt_setting_is_one_line(capsys):
    assert cli.main(["config", "explain", "train.epoch"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    expected = "no setting 'train.epoch': did you mean 'epochs'?\n"
    assert said.err == f"kaggle-kit config explain: {expected}"


def test_a_closed_pipe_is_no_error():
    command = [sys.executable, "-m", "kaggle_kit", "config", "explain"]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert run.stdout and run.stderr
    run.stdout.close()
    assert run.stderr.read() == b""
    assert run.wait() == 0
