"""No command writes over what it reads, and light commands need no Linux."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kaggle_kit.cli import COMMANDS, main, parser
from kaggle_kit.commands.group import Argument, Command, Input, Output
from kaggle_kit.commands.options import parse_path
from kaggle_kit.commands.outputs import check_outputs
from kaggle_kit.errors import ArtefactError

FILES = {
    "--config",
    "--submission",
    "--solution",
    "--index",
    "--ids",
    "--sample",
    "--file",
}
FILES |= {"photo", "other", "submission", "solution", "config", "--ledger"}
PAIRS = [
    (command, out, source)
    for command in COMMANDS.values()
    for out in command.arguments
    for source in command.arguments
    if isinstance(out.role, Output) and isinstance(source.role, Input)
]


def name_pair(value: object) -> str | None:
    if isinstance(value, Command):
        return value.name.replace(" ", "_")
    return value.dest if isinstance(value, Argument) else None


def given(
    command: Command, out: Argument, out_path: Path, source: Argument, path: Path
) -> argparse.Namespace:
    """The arguments of a command as the parser gives them: these two, and no others."""
    values = {argument.dest: None for argument in command.arguments}
    many = "nargs" in source.options and source.options["nargs"] == "+"
    values |= {out.dest: out_path, source.dest: [path] if many else path}
    return argparse.Namespace(command=command, **values)


def make(tmp_path: Path, source: Argument) -> Path:
    """What an argument might name: a file, or a folder with files."""
    path = tmp_path / "source"
    if source.flag in FILES:
        path.write_text("mine")
    else:
        (path / "train").mkdir(parents=True)
        for name in ("train.csv", "config.json", "subset.csv", "train/a.jpg"):
            (path / name).write_text("mine")
    return path


def test_every_path_says_what_is_done_with_it():
    for command in COMMANDS.values():
        for argument in command.arguments:
            is_path = argument.options.get("type") is parse_path
            assert is_path == (argument.role is not None), (command.name, argument.flag)
            assert argument.options.get("type") is not Path


def test_commands_with_an_output_are_known():
    names = {command.name for command, *_ in PAIRS}
    assert names >= {
        *("download", "index", "subset", "shards", "train", "run", "demo", "bundle"),
        *("ablate", "predict", "rehearse", "report", "match", "app", "submit", "ship"),
    }


@pytest.mark.parametrize("link", [False, True], ids=["itself", "by a link"])
@pytest.mark.parametrize(("command", "out", "source"), PAIRS, ids=name_pair)
def test_an_output_that_is_an_input_is_refused(command, out, source, link, tmp_path):
    path = out_path = make(tmp_path, source)
    if link:
        out_path = tmp_path / "link"
        out_path.symlink_to(path)
    before = sorted(p.name for p in tmp_path.rglob("*"))
    with pytest.raises(ArtefactError, match=r"expected .*; choose another"):
        check_outputs(command, given(command, out, out_path, source, path))
    assert sorted(p.name for p in tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("command", "out", "source"),
    [pair for pair in PAIRS if pair[2].flag not in FILES],
    ids=name_pair,
)
def test_an_output_among_what_is_read_is_refused(command, out, source, tmp_path):
    path = make(tmp_path, source)
    for name in ("train/new", "train/a.jpg"):
        with pytest.raises(ArtefactError, match=r"expected .*; choose another"):
            check_outputs(command, given(command, out, path / name, source, path))
    if out.role.kind == "file" and source.flag in ("--competition", "--run"):
        table = "train.csv" if source.flag == "--competition" else "config.json"
        with pytest.raises(ArtefactError, match="which is read"):
            check_outputs(command, given(command, out, path / table, source, path))
        report = path / "report.html"
        check_outputs(command, given(command, out, report, source, path))


@pytest.mark.parametrize(("command", "out", "source"), PAIRS, ids=name_pair)
def test_a_folder_around_what_is_read_is_not_replaced(command, out, source, tmp_path):
    path = make(tmp_path, source)
    arguments = given(command, out, tmp_path, source, path)
    if out.role.kind == "place":
        check_outputs(command, arguments)
    elif out.role.kind == "folder":
        with pytest.raises(ArtefactError, match="which is read|and is replaced"):
            check_outputs(command, arguments)


def test_an_empty_path_is_not_the_current_folder(capsys):
    parse = parser().parse_args
    for command in COMMANDS.values():
        for argument in command.arguments:
            if argument.role and argument.flag.startswith("-"):
                with pytest.raises(SystemExit) as stop:
                    parse([*command.name.split(), argument.flag, ""])
                assert stop.value.code == 1
                line = capsys.readouterr().err
                assert (
                    f"argument {argument.flag}: expected a path, got an empty" in line
                )
                assert line.count("\n") == 1


def test_the_tables_beside_an_index_replace_only_earlier_ones(tmp_path, capsys):
    (tmp_path / "c" / "train").mkdir(parents=True)
    (tmp_path / "c" / "train.csv").write_text("id,landmark_id\n")
    words = ["index", "--competition", str(tmp_path / "c")]
    for name, own in (
        ("photos.broken.csv", "id,reason\n"),
        ("photos.report.html", "<!doctype html>\n<title>Data set: c</title>"),
    ):
        for text, said in (
            ("mine", "would be overwritten"),
            (own, "found an empty folder"),
        ):
            (tmp_path / name).write_text(text)
            assert main([*words, "--out", str(tmp_path / "photos.csv")]) == 1
            assert said in capsys.readouterr().err
            assert (tmp_path / name).read_text() == text


# Windows. The kit was not tried there: this only shows what it does without.

BLOCKED = ("fcntl", "resource", "pwd", "grp", "termios", "syslog")
LACKING = {
    "os": (
        "fork",
        "killpg",
        "geteuid",
        "getuid",
        "setsid",
        "mkfifo",
        "waitid",
    ),
    "signal": ("SIGKILL", "SIGALRM", "SIGXFSZ", "setitimer"),
}
WITHOUT_LINUX = f"""
import os, signal, sys
for name in {BLOCKED!r}: sys.modules[name] = None
for module, names in {LACKING!r}.items():
    for name in names: vars(sys.modules[module]).pop(name, None)
from kaggle_kit.cli import main
sys.exit(main(sys.argv[1:]))
"""
LIGHT = {
    "score": "{c}/submission.csv {c}/solution.csv --intervals",
    "validate": "{c}/submission.csv --sample {c}/sample_submission.csv",
    "submit": "--slug s --message m --file {c}/none.csv --dry-run",
    "publish": "--bundle {c}/bundle --dry-run",
    "report": "--run {c}/run --submission {c}/submission.csv --solution {c}/solution.csv "
    "--out {c}/report.html",
}
REFUSED = {  # what they say, once all is imported
    "submit": "none.csv",
    "publish": "kit-manifest.json",
    "report": "run",
}


@pytest.mark.parametrize("name", LIGHT)
def test_a_light_command_needs_nothing_that_only_linux_has(name, tmp_path):
    rows = "id,landmarks\n0123456789abcdef,1 0.5\n"
    (tmp_path / "submission.csv").write_text(rows)
    (tmp_path / "sample_submission.csv").write_text(rows)
    solution = "id,landmarks,Usage\n0123456789abcdef,1,Public\n"
    (tmp_path / "solution.csv").write_text(solution)
    words = [name, *LIGHT[name].format(c=tmp_path).split()]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_LINUX, *words],
        cwd=tmp_path,
        env=os.environ | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    if name in REFUSED:
        assert REFUSED[name] in done.stderr
    else:
        assert done.returncode == 0 and done.stdout.startswith("{"), done.stderr
