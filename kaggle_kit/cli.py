"""The command line: parse, call one function, print one result.

Results go to stdout as JSON, or as text where a command says so; all else to stderr. The
commands themselves are in ``kaggle_kit/commands``.
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from textwrap import fill
from typing import Any, NoReturn

from kaggle_kit import __version__
from kaggle_kit.commands.bundling import BUNDLING
from kaggle_kit.commands.data import DATA
from kaggle_kit.commands.group import Command
from kaggle_kit.commands.kaggle import KAGGLE
from kaggle_kit.commands.looking import LOOKING
from kaggle_kit.commands.training import TRAINING
from kaggle_kit.errors import KitError

GROUPS = (DATA, TRAINING, BUNDLING, KAGGLE, LOOKING)
COMMANDS = {command.name: command for group in GROUPS for command in group.commands}
PROG = "kaggle-kit"
COLUMN = 17  # of the help, where summaries begin


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are like all others of the kit."""

    def error(self, message: str) -> NoReturn:
        """One line and exit code 1, as for every other mistake."""
        print(f"{self.prog}: {message}; see {self.prog} --help", file=sys.stderr)
        sys.exit(1)


def parser() -> argparse.ArgumentParser:
    """The whole command line; a command's help is its docstring."""
    top = Parser(
        prog=PROG,
        usage=f"{PROG} [-h] [--version] COMMAND ...",
        description="Google Landmark Recognition 2021: from photos to a submission.",
        epilog=overview(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(
        prog=PROG, metavar="COMMAND", required=True, help=argparse.SUPPRESS
    )
    families = {}  # of commands of two words, by the first
    for command in COMMANDS.values():
        first, _, second = command.name.partition(" ")
        if not second:
            _add(commands, first, command)
            continue
        if first not in families:
            families[first] = commands.add_parser(first).add_subparsers(
                title="commands", metavar="COMMAND", required=True
            )
        _add(families[first], second, command, help=command.summary)
    return top


def overview() -> str:
    """All commands below the headings of their groups, each with its summary."""
    blocks = []
    for group in GROUPS:
        lines = (f"  {c.name:{COLUMN - 2}}{c.summary}" for c in group.commands)
        wrapped = (fill(line, 80, subsequent_indent=" " * COLUMN) for line in lines)
        blocks.append("\n".join([f"{group.title}:", *wrapped]))
    more = f"{PROG} COMMAND --help says what a command takes, with an example."
    return "\n\n".join([*blocks, more])


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; 0, or an error's code after one line that says what is wrong."""
    args = parser().parse_args(argv)
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s"
    )
    logging.getLogger("absl").setLevel(logging.ERROR)  # TensorFlow's chatter
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    name = f"{PROG} {args.command.name}"
    try:
        result = args.command.function(args)
        if isinstance(result, str):
            _print(result)
            return 0
        _print(json.dumps(result, indent=2))
    except KitError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:  # a full disk, a folder without permission
        if error.filename is None:
            raise
        reason = f"{error.filename}: {error.strerror}"
        print(f"{name}: {reason}; nothing was left half-written", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{name}: interrupted; the same command starts again", file=sys.stderr)
        return 130
    return 0 if result.get("ok", True) else 1


def _print(text: str) -> None:
    """Print to stdout, whose reader, such as ``head``, may have seen enough."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _add(
    commands: "argparse._SubParsersAction[Parser]",
    name: str,
    command: Command,
    **options: Any,
) -> None:
    """Give a command its parser."""
    made = commands.add_parser(
        name,
        description=command.summary,
        epilog=f"example:\n  {command.example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **options,
    )
    for argument in command.arguments:
        made.add_argument(argument.flag, **argument.options)
    made.set_defaults(command=command)
