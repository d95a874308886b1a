"""The documents and the code say the same."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from kaggle_kit import cli, config
from tests.helpers.documents import (
    FENCE,
    ROOT,
    anchors,
    blocks,
    commands,
    documents,
    links,
    rows,
    section,
)

DOCUMENTS = {path.relative_to(ROOT).as_posix(): path for path in documents()}
README = (ROOT / "README.md").read_text("utf-8")
KIT = ROOT / "kaggle_kit"
COMMANDS = [
    (name, command)
    for name, path in DOCUMENTS.items()
    for command in commands(path.read_text("utf-8"))
]
CONFIGS = sorted(ROOT.glob("configs/*.yaml"))
each_document = pytest.mark.parametrize("path", DOCUMENTS.values(), ids=DOCUMENTS)
each_config = pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.name)


def test_there_are_commands_to_check():
    assert len(COMMANDS) >= len(cli.COMMANDS)
    assert len({name for name, _ in COMMANDS}) >= 4


@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_a_documented_command_is_one_of_the_kit(name, command):
    args = cli.parser().parse_args(shlex.split(command, comments=True))
    assert args.command in cli.COMMANDS.values()


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_each_command_is_documented(command):
    assert any(
        shown.split()[: len(command.split())] == command.split()
        for _, shown in COMMANDS
    )


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_it_is_documented_what_each_command_writes(command):
    text = (ROOT / "kaggle_kit" / "commands" / "README.md").read_text("utf-8")
    table = section(text, "## What each writes")
    assert any(
        f"`{command}`" in first
        for first in re.findall(r"^\| ([^|]+)", table, re.MULTILINE)
    )


def test_the_readme_is_short():
    assert 1200 <= len(README.split()) <= 1800


@each_document
def test_relative_links_resolve(path):
    for link in links(path.read_text("utf-8")):
        name, _, anchor = link.partition("#")
        if "://" in name:
            continue
        target = (path.parent / name).resolve() if name else path
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text("utf-8")), link


@each_document
def test_tests_that_are_named_are_there(path):
    text = path.read_text("utf-8")
    for name in re.findall(r"\btests/[\w/]+\.py\b", text):
        assert (ROOT / name).is_file(), name
    for name, word in re.findall(r"\b(tests/[\w/]+\.py) -k (\w+)", text):
        tests = re.findall(
            r"def (test_\w+)|id=\"(\w+)\"", (ROOT / name).read_text("utf-8")
        )
        assert any(word in part for parts in tests for part in parts), (name, word)


def test_the_names_in_the_architecture_exist():
    """Files by their path in ``kaggle_kit/``, all other names in the code."""
    text = FENCE.sub("", (KIT / "README.md").read_text("utf-8"))
    files = [*KIT.rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    code = "\n".join(path.read_text("utf-8") for path in files)
    names = re.findall(r"`([\w./]+)`", text)
    assert len(names) > 50
    for name in names:
        if "/" in name or name.endswith(".py"):
            places = (KIT / name, KIT / f"{name}.py", ROOT / name)
            assert any(place.exists() for place in places), name
        for word in re.findall(r"\w+", name) if "/" not in name else ():
            assert re.search(rf"\b{word}\b", code), name


def test_the_map_has_each_folder():
    table = section(README, "## Map")
    files = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True)
    tops = {name.split("/")[0] for name in files.splitlines() if "/" in name}
    for top in tops - {".ci"}:
        assert f"[`{top}/`]" in table
    for name in DOCUMENTS:
        if "/" in name:
            assert f"]({name})" in table or f"[`{Path(name).parent}/`]" in table, name


def test_the_picture_of_the_pipeline_is_of_commands():
    (picture,) = blocks(README, "mermaid")
    labels = re.findall(r"-->\|([^|]+)\|", picture)
    assert len(labels) >= 5
    assert {name for label in labels for name in label.split("<br/>")} <= set(
        cli.COMMANDS
    )


@each_config
def test_each_config_loads_and_is_documented(path):
    assert config.load(path).name == path.stem
    text = (ROOT / "configs" / "README.md").read_text("utf-8")
    assert path.name in rows(text)
    assert any(f"configs/{path.name}" in shown for shown in commands(text))


@each_config
def test_the_header_of_a_config_has_its_command(path):
    lines = path.read_text("utf-8").splitlines()
    assert lines[0].startswith("# ")
    (command,) = [x for x in lines if x.startswith("# kaggle-kit ")]
    args = cli.parser().parse_args(shlex.split(command)[2:])
    assert args.config == Path("configs") / path.name


@each_config
def test_a_measured_gap_is_the_same_wherever_it_is(path):
    """In the README's results, in the table of configs, and in the config's header."""
    results = rows(section(README, "## Results"))
    listed = rows((ROOT / "configs" / "README.md").read_text("utf-8"))[path.name]
    header = re.findall(r"^# GAP ([\d.]+) on 45", path.read_text("utf-8"), re.MULTILINE)
    if path.name in results:
        expected = results[path.name][1].split()[0]
        assert header == [expected]
        assert listed[1] == expected
    else:
        assert header == [] and listed[1] == ""


def test_the_demos_gap_is_the_same_wherever_it_is():
    said = re.compile(r"GAP between (0\.\d+) and (0\.\d+),? depending on the processor")
    header = (ROOT / "configs" / "demo.yaml").read_text("utf-8")
    found = {said.search(" ".join(text.split())).groups() for text in (README, header)}
    assert len(found) == 1


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


def test_the_workflow_runs_the_two_commands_of_the_readme():
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    jobs = yaml.safe_load(text)["jobs"].values()
    steps = [step for job in jobs for step in job["steps"]]
    ran = {step["name"]: step["run"] for step in steps if "run" in step}
    shown = {
        name: blocks(section(README, f"### {name}"), "bash")[0]
        for name in ("See it work", "Run the tests")
    }
    assert ran == shown
    pythons = [
        s["with"]["python-version"]
        for s in steps
        if "setup-python" in s.get("uses", "")
    ]
    assert pythons == ["3.11"] * len(jobs)
    assert all(job["runs-on"].startswith("ubuntu") for job in jobs)


def test_hooks_are_local_and_are_the_checks_of_the_house():
    text = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")
    (repo,) = yaml.safe_load(text)["repos"]
    assert repo["repo"] == "local"
    entries = [hook["entry"] for hook in repo["hooks"]]
    assert entries == [f".venv/bin/{x}" for x in ("ruff check", "ruff format", "mypy")]
    shown = (ROOT / ".github" / "CONTRIBUTING.md").read_text("utf-8")
    assert all(entry in shown for entry in entries)


def test_top_level_holds_only_what_belongs_there():
    files = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True)
    tops = {name.split("/")[0] for name in files.splitlines()}
    assert tops <= {
        *("kaggle_kit", "kernels", "submissions", "configs", "tests"),
        *("setup.cfg", "pyproject.toml", "constraints.txt"),
        *("README.md", "CHANGELOG.md", "LICENSE", ".gitignore", ".ci", ".github"),
        ".pre-commit-config.yaml",
    }
