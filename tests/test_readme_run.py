"""What the documents tell a reader to run, run word for word, one after the other."""

import json
import re
import runpy
import shlex
import shutil
from pathlib import Path

import pytest

from kaggle_kit import cli
from kaggle_kit.data.layout import Competition
from kaggle_kit.inference.predict import predict
from kaggle_kit.metrics.score import score
from tests.helpers.documents import ROOT, blocks, commands, section

README = (ROOT / "README.md").read_text("utf-8")
CONFIGS = (ROOT / "configs" / "README.md").read_text("utf-8")
COMMANDS = [
    *commands(section(README, "## Your own images")),
    *commands(section(CONFIGS, "## Write your own")),
]

# In place of the config that the commands name: one that takes seconds.
CONFIG = """\
name: r50_64
data: {image_size: 32, stored_size: 36}
model: {backbone: tiny}
train: {epochs: 1, batch_size: 32, learning_rate: 1.0e-3, patience: 1}
subset: {min_images: 4, non_landmarks: {source: unlisted, penalty: 0.6, validation: 0.4, test: 0}}
"""


@pytest.fixture(scope="module")
def folder(competition, tmp_path_factory):
    """Where a reader would be, with what the commands name."""
    here = tmp_path_factory.mktemp("reader")
    (here / "ROOT").symlink_to(competition)
    images = sorted(Competition(competition).test_dir.rglob("*.jpg"))
    for name, image in zip(("PHOTO", "OTHER"), images, strict=False):
        (here / name).symlink_to(image)
    (here / "configs").mkdir()
    (here / "configs" / "r50_64.yaml").write_text(CONFIG)
    return here


def test_the_section_has_a_command_for_each_stage():
    names = {command.split()[0] for command in COMMANDS}
    stages = {"run", "index", "subset", "shards", "train", "bundle", "predict", "score"}
    assert names >= stages | {"config"}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_does_what_it_says(command, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert cli.main(shlex.split(command)) == 0
    shown = capsys.readouterr().out
    assert shown if command.startswith("config ") else json.loads(shown)
    for out in re.findall(r"--out (\S+)", command):
        assert Path(out).exists()


def test_the_config_in_the_documents_is_one(tmp_path, capsys):
    (text,) = blocks(section(CONFIGS, "## Write your own"), "yaml")
    shutil.copy(ROOT / "configs" / "r50_64.yaml", tmp_path)
    (tmp_path / "longer.yaml").write_text(text)
    assert cli.main(["config", "show", str(tmp_path / "longer.yaml")]) == 0
    assert "epochs: 40" in capsys.readouterr().out


def test_the_python_of_the_readme_runs(
    bundle_dir, competition, tmp_path, monkeypatch, capsys
):
    """On what the demo leaves, here of a smaller network and competition."""
    (code,) = blocks(section(README, "## From Python"), "python")
    assert len([line for line in code.splitlines() if line]) <= 10
    demo = tmp_path / "demo"
    demo.mkdir()
    (demo / "bundle").symlink_to(bundle_dir)
    (demo / "competition").symlink_to(competition)
    predict(bundle_dir, competition, demo / "submission.csv")
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    Path("example.py").write_text(code)
    runpy.run_path("example.py")
    *lines, gap = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 5
    found = score(demo / "submission.csv", competition / "solution.csv")
    assert gap == str(found.gap)
