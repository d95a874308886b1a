"""The example of each command is in its help, and is one that works."""

import re
import shlex

import pytest

from kaggle_kit import cli
from kaggle_kit.examples import EXAMPLES


def test_each_command_has_one_and_no_other_has():
    assert set(EXAMPLES) == {command.__name__ for command in cli.COMMANDS}


@pytest.mark.parametrize("command", EXAMPLES)
def test_the_help_shows_an_example_that_parses(command, capsys):
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    shown = capsys.readouterr().out.split("example:\n")[1].replace("\\\n", " ")
    kit, name, *args = shlex.split(shown)
    assert (kit, name) == ("kaggle-kit", command)
    parsed = cli.parser().parse_args([name, *args])
    assert parsed.function.__name__ == command


@pytest.mark.parametrize("command", EXAMPLES)
def test_an_example_fits_on_a_terminal(command):
    assert max(map(len, EXAMPLES[command].splitlines())) <= 84


@pytest.mark.parametrize("command", EXAMPLES)
def test_the_files_that_an_example_takes_from_the_kit_are_there(command):
    from kaggle_kit.storage.files import shipped

    for name in re.findall(r"\S+\.yaml", EXAMPLES[command]):
        assert (shipped("configs") / name).is_file()
