"""The example of each command is in its help, and is valid."""

import re
import shlex

import pytest

from kaggle_kit import cli


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_the_help_shows_an_example_that_parses(name, capsys):
    with pytest.raises(SystemExit):
        cli.main([*name.split(), "--help"])
    shown = capsys.readouterr().out.split("example:\n")[1].replace("\\\n", " ")
    for line in shown.strip().splitlines():
        kit, *words = shlex.split(line)
        assert kit == "kaggle-kit" and line.split("kaggle-kit ")[1].startswith(name)
        assert cli.parser().parse_args(words).command is cli.COMMANDS[name]


@pytest.mark.parametrize("command", cli.COMMANDS.values(), ids=cli.COMMANDS)
def test_an_example_fits_on_a_terminal(command):
    assert max(map(len, command.example.splitlines())) <= 84


@pytest.mark.parametrize("command", cli.COMMANDS.values(), ids=cli.COMMANDS)
def test_the_files_that_an_example_takes_from_the_kit_are_there(command):
    from kaggle_kit.storage.files import package_path

    for name in re.findall(r"\S+\.yaml", command.example):
        assert (package_path("configs") / name).is_file()
