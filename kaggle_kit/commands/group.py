"""What a command is made of, and how commands come together in groups."""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

Result = dict[str, Any] | str  # shown as JSON; text as it is
Function = Callable[[argparse.Namespace], Result]


@dataclass(frozen=True)
class Argument:
    """A flag, or a place, and what ``argparse`` is to know of it."""

    flag: str
    options: Mapping[str, Any]

    def but(self, **differences: Any) -> "Argument":
        """The same one, as another command takes it."""
        return replace(self, options={**self.options, **differences})


@dataclass(frozen=True)
class Command:
    """A function of the kit that is called from the command line.

    Attributes:
        function: its docstring is the summary in the help.
        arguments: in the order of the help.
        example: how it is called, on lines of a terminal's width.
    """

    function: Function
    arguments: tuple[Argument, ...]
    example: str

    @property
    def name(self) -> str:
        """One word, or two of which the first is common to several commands."""
        return self.function.__name__.replace("_", " ")

    @property
    def summary(self) -> str:
        """One sentence."""
        return self.function.__doc__ or ""


@dataclass(frozen=True)
class Group:
    """Commands below one heading of the help."""

    title: str
    commands: list[Command] = field(default_factory=list)

    def command(
        self, *arguments: Argument, example: str
    ) -> Callable[[Function], Function]:
        """Make a function, which reads the arguments, a command of the group."""

        def add(function: Function) -> Function:
            self.commands.append(Command(function, arguments, example))
            return function

        return add


def argument(flag: str, **options: Any) -> Argument:
    """An argument, with the options of ``argparse``."""
    return Argument(flag, options)
