"""Names of files that come out of a file, an archive or an answer: they stay in a folder."""

import os
import re
from pathlib import Path, PurePosixPath

from kaggle_kit.errors import ArtefactError

# What another system, or a terminal, reads as more than a name: backslashes, drives, NUL.
UNUSUAL = re.compile(r"[\\\x00-\x1f\x7f]|^[A-Za-z]:")
LONGEST = 255  # bytes of a name on the usual file systems


def check_name(name: str) -> str:
    """Check that a relative path, with forward slashes, cannot lead out of its folder.

    Links are not looked at: see ``resolve_inside``.

    Returns:
        The name.

    Raises:
        ValueError: it is empty, absolute or too long, or has a part ``.`` or
            ``..``, a backslash, a drive or a control character.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or str(path) != name or name == ".":
        raise ValueError(f"the name {name[:80]!r}, which leads out of its folder")
    if UNUSUAL.search(name) or any(len(os.fsencode(p)) > LONGEST for p in path.parts):
        raise ValueError(f"the unusual name {name[:80]!r}")
    return name


def resolve_inside(folder: Path, name: str) -> Path:
    """The path of a file that a stranger named; it need not exist.

    Args:
        folder: the path is below it, also after links have been followed. It may itself
            be reached by a link.
        name: relative to the folder, with forward slashes.

    Raises:
        ArtefactError: the name leads out of the folder, by itself or by a link.
    """
    folder = Path(folder)
    try:
        path = folder / check_name(name)
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"a link {name!r:.80} that leads out of it")
    except (
        ValueError,
        OSError,
        RuntimeError,
    ) as error:  # RuntimeError: links in a circle
        raise ArtefactError(
            f"{folder}: expected files within this folder, got {error}; do not use it"
        ) from None
    return path


def require_no_link(folder: Path, name: str) -> None:
    """Check that a file of a folder, and no folder on the way to it, is a link.

    Args:
        folder: it may itself be reached by a link.
        name: relative to the folder, with forward slashes.

    Raises:
        ArtefactError: there is a link, or the name leads out of the folder.
    """
    path = resolve_inside(folder, name)
    if path.resolve() != Path(folder).resolve() / name:
        raise ArtefactError(
            f"{path}: expected files and folders only, got a link; replace it by the file"
        )
