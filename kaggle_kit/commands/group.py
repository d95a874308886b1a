"""Commands and groups of commands."""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

# What a command prints: a dataclass or a dict as JSON, a text as it is
Result = object
Function = Callable[[argparse.Namespace], Result]


@dataclass(frozen=True)
class Input:
    """A file or folder that a command reads.

    Attributes:
        content: patterns of the names in a folder that no output may have.
    """

    content: tuple[str, ...] = ("*",)


@dataclass(frozen=True)
class Output:
    """A file or folder that a command writes.

    Attributes:
        kind: "file" and "folder" are replaced as a whole, though the user's files in a
            folder stay. To "place", a folder, and to "record", a file, a command adds.
        beside: ends of the names of further files, after the stem of a file, each with a
            text that is at the beginning of such a file of the kit.
    """

    kind: Literal["file", "folder", "place", "record"]
    beside: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Argument:
    """An option or a positional argument, with its options for ``argparse``.

    Attributes:
        role: what the command does with a path; None: it is no path.
    """

    flag: str
    options: Mapping[str, Any]
    role: Input | Output | None = None

    @property
    def dest(self) -> str:
        """The name of the attribute with its value."""
        return self.flag.lstrip("-").replace("-", "_")

    def but(self, **changes: Any) -> "Argument":
        """The same argument with some options changed."""
        return replace(self, options={**self.options, **changes})


@dataclass(frozen=True)
class Command:
    """A function that can be called from the command line.

    Attributes:
        function: takes the parsed arguments; its docstring is the summary in the help.
        arguments: in the order of the help.
        example: a call of the command, at most 84 characters per line.
    """

    function: Function
    arguments: tuple[Argument, ...]
    example: str

    @property
    def name(self) -> str:
        """One word, or two for a command that belongs to a family, as ``config show``."""
        return self.function.__name__.replace("_", " ")

    @property
    def summary(self) -> str:
        """The docstring of the function: one sentence."""
        return self.function.__doc__ or ""


@dataclass(frozen=True)
class Group:
    """Commands that are listed under one heading of the help."""

    title: str
    commands: list[Command] = field(default_factory=list)

    def command(
        self, *arguments: Argument, example: str
    ) -> Callable[[Function], Function]:
        """A decorator that adds a function to the group as a command."""

        def add(function: Function) -> Function:
            self.commands.append(Command(function, arguments, example))
            return function

        return add


def argument(flag: str, **options: Any) -> Argument:
    """An argument with the given options for ``argparse``."""
    return Argument(flag, options)
