"""Where a result can be written: links, mounts, devices, names, permissions.

All is looked at before the work, and nothing is changed. A folder that cannot be renamed
is filled in place: a mount, a folder of a lower layer of an overlay, the current folder, or
one in a folder that cannot be written to.
"""

import errno
import os
import re
import tempfile
from pathlib import Path

from kaggle_kit.errors import ArtefactError

MOUNTS = Path("/proc/self/mountinfo")
TEMPORARY = (".kit.part", ".kit.old", ".kit.lock", ".kit.soft")  # ends of names
# What renaming a folder to a folder with content answers where renaming works.
NOT_EMPTY = (errno.ENOTEMPTY, errno.EEXIST)


def resolve(path: Path) -> Path:
    """The path that the links in ``path`` lead to; it need not exist.

    Raises:
        ArtefactError: a dead link is in the path, the path is the root of the file system,
            or its name is too long for the temporary names beside it.
    """
    try:
        path = Path(path).absolute()
    except FileNotFoundError:
        raise ArtefactError(
            f"{path}: expected a current folder, found that it was removed; change to "
            f"another folder, then run the same command again"
        ) from None
    link, resolved = nearest_folder(path), Path(os.path.realpath(path))
    if not link.exists():
        raise ArtefactError(
            f"{link}: expected a file, a folder or nothing there, got a dead link to "
            f"{os.path.realpath(link)}; make what it leads to, or choose another --out"
        )
    if resolved == resolved.parent:
        raise ArtefactError(
            f"{resolved}: expected a file or a folder of its own, got the root of the file "
            f"system; choose another --out"
        )
    _require_short(resolved)
    return resolved


def resolve_file(path: Path) -> Path:
    """As ``resolve``, for a file that will be replaced.

    Raises:
        ArtefactError: as for ``resolve``; or there is a folder, a device, a pipe or a
            mounted file.
    """
    path = resolve(path)
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "a device, a pipe or a socket"
        raise ArtefactError(
            f"{path}: expected a file or nothing there, got {kind}; choose another --out"
        )
    if path in list_mounts():
        raise ArtefactError(
            f"{path}: expected a file that can be replaced, got a mounted one; mount its "
            f"folder, or choose another --out"
        )
    return path


def resolve_folder(path: Path) -> Path:
    """As ``resolve``, for a folder.

    Raises:
        ArtefactError: as for ``resolve``; or there is a file.
    """
    path = resolve(path)
    if path.exists() and not path.is_dir():
        raise ArtefactError(
            f"{path}: expected a new or empty folder, got a file; choose another --out"
        )
    return path


def check_file(path: Path) -> Path:
    """As ``resolve_file``, and check that the folder of the file can be written to."""
    path = resolve_file(path)
    require_writable(path.parent)
    return path


def check_folder(path: Path) -> Path:
    """As ``resolve_folder``, and check that the folder can be made or written to."""
    path = resolve_folder(path)
    require_writable(path)
    return path


def require_writable(folder: Path) -> None:
    """Check that a folder, or the nearest one above it that exists, can be written to.

    Raises:
        ArtefactError: names the folder and the reason.
    """
    folder = nearest_folder(folder)
    reason = find_obstacle(folder)
    if reason:
        raise ArtefactError(
            f"{folder}: expected a folder that can be written to, got: {reason}; make it "
            f"writable, or choose another --out"
        )


def nearest_folder(path: Path) -> Path:
    """The path itself if it exists, else the nearest one above it that does."""
    path = Path(path).absolute()
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return path


def find_obstacle(folder: Path) -> str | None:
    """Why no file can be made in a folder; None if one can."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"test")
            return None
    except OSError as error:
        return error.strerror or repr(error)


def temporary(path: Path, end: str) -> Path:
    """The temporary path of a file or folder: beside it, or in a folder that stays.

    Args:
        path: resolved.
        end: "part", "old", "lock" or "soft".
    """
    if must_stay(path):
        return path / f".kit.{end}"
    return path.with_name(f"{path.name}.kit.{end}")


def must_stay(path: Path) -> bool:
    """Whether a folder is a mount, or in a folder that cannot be written to.

    Every process finds the same, so that all of them use the same lock.
    """
    if not path.is_dir():
        return False
    return path in list_mounts() or not os.access(path.parent, os.W_OK | os.X_OK)


def can_rename(path: Path, other: Path) -> bool:
    """Whether a folder can be renamed to another name in the same folder.

    That is tried without a change: the other name is that of a folder with content.

    Args:
        path: an existing folder, which is locked.
        other: the temporary name; nothing has it.
    """
    if must_stay(path) or Path.cwd().is_relative_to(path):
        return False
    if any(mount.is_relative_to(path) for mount in list_mounts()):
        return False
    try:
        (other / "content").mkdir(parents=True)
        os.rename(path, other)
    except OSError as error:
        return error.errno in NOT_EMPTY
    else:
        os.rename(other, path)  # a system that replaces what has content
        return False
    finally:
        for folder in (other / "content", other):
            if folder.is_dir():
                folder.rmdir()


def list_mounts() -> set[Path]:
    """The paths where something is mounted, files included; empty without ``/proc``."""
    try:
        lines = MOUNTS.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return set()
    return {Path(_unescape(line.split(" ")[4])) for line in lines}


def _unescape(text: str) -> str:
    """Replace the octal numbers that stand for blanks in the table of mounts."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _require_short(path: Path) -> None:
    try:
        most = os.pathconf(nearest_folder(path), "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):
        most = 255
    most -= max(map(len, TEMPORARY))
    if len(os.fsencode(path.name)) > most:
        raise ArtefactError(
            f"{path}: expected a name of at most {most} bytes, since temporary names are "
            f"longer, got {len(os.fsencode(path.name))}; choose a shorter name"
        )
