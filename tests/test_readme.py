"""The README and the code say the same."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from kaggle_kit import cli, config

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
FENCED = re.findall(r"^```(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
BLOCKS = [text for language, text in FENCED if language in ("", "bash")]
COMMANDS = [
    part.strip().split("kaggle-kit ", 1)[1]
    for block in BLOCKS
    for line in block.replace("\\\n", " ").splitlines()
    for part in line.split("&&")
    if re.match(r"\S*kaggle-kit ", part.strip())
]


def test_there_are_commands_to_check():
    assert len(COMMANDS) >= len(cli.COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_is_one_of_the_kit(command):
    args = cli.parser().parse_args(shlex.split(command, comments=True))
    assert args.command in cli.COMMANDS.values()


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_each_command_is_in_the_readme(command):
    assert any(
        re.split(r"\s+", shown)[: len(command.split())] == command.split()
        for shown in COMMANDS
    )


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("configs/*.yaml")), ids=lambda p: p.name
)
def test_each_config_loads_and_is_in_the_readme(path):
    assert config.load(path).name == path.stem
    assert f"`{path.name}`" in README
    assert path.read_text("utf-8").startswith("# ")


def test_ci_runs_the_test_command_of_the_readme_and_then_the_longer_tests(tmp_path):
    """The script finds the block below its heading; here the commands only speak."""
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci" / "run").write_text(script)
    text = README.split("### Run the tests")
    assert len(text) == 2
    assert "pytest" in text[1].split("```")[1]
    speaking = "mkdir -p .venv/bin; cp /bin/echo .venv/bin/pytest; echo right $KAGGLE_KIT_ALL_TESTS"
    (tmp_path / "README.md").write_text(
        f"```bash\necho wrong\n```\n### Run the tests\n\n```bash\n{speaking}\n```\n"
    )
    (tmp_path / "chromium").symlink_to("/bin/true")
    done = subprocess.check_output(
        ["bash", ".ci/run"],
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        text=True,
    )
    first, second = done.splitlines()
    assert first == "right 1"
    assert second.endswith("-m extended and not slow")


def test_top_level_holds_only_what_belongs_there():
    files = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True)
    tops = {name.split("/")[0] for name in files.splitlines()}
    assert tops <= {
        *("kaggle_kit", "kernels", "submissions", "configs", "tests"),
        *("setup.cfg", "pyproject.toml", "constraints.txt"),
        *("README.md", "CHANGELOG.md", "LICENSE", ".gitignore", ".ci", ".github"),
    }
