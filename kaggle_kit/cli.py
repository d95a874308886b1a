"""The command line: parse the arguments, run one command and print its result.

The result goes to stdout as JSON, or as text for some commands. Everything else goes to
stderr. The commands are in ``kaggle_kit/commands``.
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
from kaggle_kit.commands.inspection import INSPECTION
from kaggle_kit.commands.kaggle import KAGGLE
from kaggle_kit.commands.outputs import check_outputs
from kaggle_kit.commands.training import TRAINING
from kaggle_kit.credentials import redact
from kaggle_kit.errors import KitError
from kaggle_kit.log import clean, set_up_logging
from kaggle_kit.storage.json_files import to_json

GROUPS = (DATA, TRAINING, BUNDLING, KAGGLE, INSPECTION)
COMMANDS = {command.name: command for group in GROUPS for command in group.commands}
PROG = "kaggle-kit"
SUMMARY_COLUMN = 17  # where the summaries in the help begin


class Parser(argparse.ArgumentParser):
    """A parser that reports errors like the rest of the kit."""

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with code 1."""
        print(clean(f"{self.prog}: {message}; see {self.prog} --help"), file=sys.stderr)
        sys.exit(1)


def parser() -> argparse.ArgumentParser:
    """The parser with all commands."""
    top = Parser(
        prog=PROG,
        usage=f"{PROG} [-h] [--version] COMMAND ...",
        description="Google Landmark Recognition 2021: from images to a submission.",
        epilog=overview(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(
        prog=PROG, metavar="COMMAND", required=True, help=argparse.SUPPRESS
    )
    families = {}  # subparsers for commands of two words, by the first word
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
    """The commands with their summaries, under the headings of their groups."""
    blocks = []
    for group in GROUPS:
        lines = (f"  {c.name:{SUMMARY_COLUMN - 2}}{c.summary}" for c in group.commands)
        wrapped = (
            fill(line, 80, subsequent_indent=" " * SUMMARY_COLUMN) for line in lines
        )
        blocks.append("\n".join([f"{group.title}:", *wrapped]))
    hint = f"{PROG} COMMAND --help lists a command's arguments, with an example."
    return "\n\n".join([*blocks, hint])


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code, after a line on stderr if it failed."""
    args = parser().parse_args(argv)
    set_up_logging()
    logging.getLogger("absl").setLevel(logging.ERROR)  # used by TensorFlow
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    name = f"{PROG} {args.command.name}"
    try:
        check_outputs(args.command, args)
        result = args.command.function(args)
        if isinstance(result, str):
            _print(clean(result))
            return 0
        _print(redact(json.dumps(to_json(result), indent=2)))
    except KitError as error:
        print(clean(f"{name}: {error}"), file=sys.stderr)
        return error.exit_code
    except OSError as error:  # a full disk, a folder without permission
        if error.filename is None:
            raise
        reason = clean(f"{error.filename}: {error.strerror}")
        print(f"{name}: {reason}; no incomplete file was left", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{name}: interrupted; run the same command again", file=sys.stderr)
        return 130
    return 0 if getattr(result, "ok", True) else 1  # of ``doctor``


def _print(text: str) -> None:
    """Print to stdout; ignore that a reader such as ``head`` has closed it."""
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
    """Add the parser of a command."""
    subparser = commands.add_parser(
        name,
        description=command.summary,
        epilog=f"example:\n  {command.example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **options,
    )
    for argument in command.arguments:
        subparser.add_argument(argument.flag, **argument.options)
    subparser.set_defaults(command=command)
