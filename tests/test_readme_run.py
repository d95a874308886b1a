"""The README's commands for one's own photos, run word for word, one after the other."""

import json
import re
import shlex
from pathlib import Path

import pytest

from kaggle_kit import cli
from kaggle_kit.data.layout import Competition

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
SECTION = README.split("\n## Your own photos\n")[1].split("\n## ")[0]
COMMANDS = re.findall(r"^\.venv/bin/kaggle-kit (.+)$", SECTION, re.MULTILINE)

# In place of the config that the commands name: one that takes seconds.
CONFIG = """\
name: r50_64
data: {image_size: 32, stored_size: 36}
model: {backbone: tiny}
train: {epochs: 1, batch_size: 32, learning_rate: 1.0e-3}
subset: {min_images: 4, non_landmarks: {penalty: 0.6, validation: 0.4, test: 0}}
"""


@pytest.fixture(scope="module")
def folder(competition, tmp_path_factory):
    """Where a reader would be, with what the commands name."""
    here = tmp_path_factory.mktemp("reader")
    (here / "ROOT").symlink_to(competition)
    photos = sorted(Competition(competition).test_dir.rglob("*.jpg"))
    for name, photo in zip(("PHOTO", "OTHER"), photos, strict=False):
        (here / name).symlink_to(photo)
    (here / "configs").mkdir()
    (here / "configs" / "r50_64.yaml").write_text(CONFIG)
    return here


def test_the_section_has_a_command_for_each_stage():
    names = {command.split()[0] for command in COMMANDS}
    stages = {"run", "index", "subset", "shards", "train", "bundle", "predict", "score"}
    assert names >= stages


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_does_what_it_says(command, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert cli.main(shlex.split(command)) == 0
    shown = capsys.readouterr().out
    assert shown if command.startswith("config ") else json.loads(shown)
    for out in re.findall(r"--out (\S+)", command):
        assert Path(out).exists()
