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
from kaggle_kit.streams import (
    flush_streams,
    print_error,
    print_result,
    repair_streams,
)

GROUPS = (DATA, TRAINING, BUNDLING, KAGGLE, INSPECTION)
COMMANDS = {command.name: command for group in GROUPS for command in group.commands}
PROG = "kaggle-kit"
SUMMARY_COLUMN = 17  # where the summaries in the help begin


class Parser(argparse.ArgumentParser):
    """A parser that reports errors like the rest of the kit."""

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with code 1."""
        print_error(clean(f"{self.prog}: {message}; see {self.prog} --help"))
        sys.exit(1)

    def _print_message(self, message: str, file: object = None) -> None:
        """Print the help or the version; argparse would ignore that it cannot be."""
        print_result(message.rstrip())


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
    repair_streams()
    logging.raiseExceptions = False  # a message that cannot be written ends nothing
    name = PROG
    try:
        args = parser().parse_args(argv)
        name = f"{PROG} {args.command.name}"
        return _run(args)
    except KitError as error:
        print_error(clean(f"{name}: {error}"))
        return error.exit_code
    except OSError as error:  # a full disk, a folder without permission
        if error.errno is None:
            raise
        print_error(clean(f"{name}: {_describe(error)}; no incomplete file was left"))
        return 1
    except MemoryError:
        print_error(
            f"{name}: expected enough memory, got none left; free memory, or give the "
            f"command less at once"
        )
        return 1
    except KeyboardInterrupt:
        print_error(f"{name}: interrupted; run the same command again")
        return 130
    finally:
        if not flush_streams():
            print_error(f"{name}: stdout: expected room for all output, got none")
            sys.exit(1)


def _run(args: argparse.Namespace) -> int:
    """Run the command of parsed arguments, and print its result."""
    set_up_logging()
    logging.getLogger("absl").setLevel(logging.ERROR)  # used by TensorFlow
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    check_outputs(args.command, args)
    result = args.command.function(args)
    if isinstance(result, str):
        print_result(clean(result))
        return 0
    print_result(redact(json.dumps(to_json(result), indent=2)))
    return 0 if getattr(result, "ok", True) else 1  # of ``doctor``


def _describe(error: OSError) -> str:
    """The place and the reason of an error of the operating system, on one line."""
    reason = error.strerror or str(error)
    if error.filename is not None:
        return str(KitError(f"{error.filename}: {reason}"))
    try:
        os.getcwd()
    except OSError:
        return "the current folder: expected it to exist, found it deleted; leave it"
    return f"expected files, streams and connections to work, got {reason}"


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
