"""Check, before a command begins, that what it writes does no harm to what it reads."""

import argparse
import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from kaggle_kit.commands.group import Argument, Command, Input, Output
from kaggle_kit.errors import ArtefactError
from kaggle_kit.storage import places

BEGINNING = 4000  # characters of a file in which its kind is looked for


def check_outputs(command: Command, args: argparse.Namespace) -> None:
    """Check the outputs of a command against its inputs, and that they can be written.

    Raises:
        ArtefactError: an output is an input, or in one where no output may be; an input is
            in a folder that is replaced; or an output cannot be written (``storage.places``).
    """
    for argument, out in _list_paths(command, args, Output):
        assert isinstance(argument.role, Output)
        resolved = _check_place(out, argument.role)
        further = [_check_beside(resolved, *kind) for kind in argument.role.beside]
        for other, path in _list_paths(command, args, Input):
            for place in (resolved, *further):
                _compare(argument, place, other, path)


def _list_paths(
    command: Command, args: argparse.Namespace, role: type
) -> Iterator[tuple[Argument, Path]]:
    """The paths that were given for arguments of a role."""
    for argument in command.arguments:
        value = getattr(args, argument.dest, None)
        if isinstance(argument.role, role) and value:
            for path in value if isinstance(value, list) else [value]:
                yield argument, path


def _check_place(path: Path, role: Output) -> Path:
    """Check that an output can be written; return its path without links."""
    if role.kind == "record":
        return places.resolve_file(path)
    return places.check_file(path) if role.kind == "file" else places.check_folder(path)


def _check_beside(path: Path, end: str, beginning: str) -> Path:
    """Check that a further output does not replace a file that the kit did not write."""
    path = places.resolve_file(path.with_name(f"{path.stem}{end}"))
    if path.exists():
        with path.open(encoding="utf-8", errors="replace") as file:
            found = file.read(BEGINNING)
        if beginning not in found:
            raise ArtefactError(
                f"{path}: expected no file or one of an earlier run, found another, which "
                f"would be overwritten; move it, or choose another --out"
            )
    return path


def _compare(argument: Argument, out: Path, other: Argument, path: Path) -> None:
    """Refuse an output that is an input, in one, or a folder around one.

    Args:
        out: the output, without links.
    """
    assert isinstance(argument.role, Output) and isinstance(other.role, Input)
    source = Path(os.path.realpath(path))
    where = None
    if out == source or (out.exists() and source.exists() and out.samefile(source)):
        where = f"{other.flag} itself"
    elif out.is_relative_to(source):
        name = out.relative_to(source).as_posix()
        names = (
            {name} if argument.role.kind in ("file", "record") else {name, f"{name}/"}
        )
        if any(
            fnmatchcase(n, pattern) for n in names for pattern in other.role.content
        ):
            where = f"a place in {other.flag} {path}, which is read"
    elif argument.role.kind == "folder" and source.is_relative_to(out):
        where = f"a folder that holds {other.flag} {path}, and is replaced"
    if where:
        raise ArtefactError(
            f"{out}: expected {argument.flag} apart from what the command reads, got "
            f"{where}; choose another {argument.flag}"
        )
