"""Check that an upload contains no credentials and no paths of this machine."""

import mmap
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kaggle_kit import credentials
from kaggle_kit.errors import ArtefactError

ARRAYS = (".npy", ".npz")  # not read: they hold only numbers, and most of the bytes
LIBRARY = "kaggle_kit"  # the kit's own code, whose text is not of this machine
MIN_PATH = 5  # characters; the weights of any network contain shorter ones by chance
TOKEN = re.compile(rb"KGAT_[0-9A-Za-z_-]{8,}")
KEY_FILE = re.compile(rb'"username"\s*:\s*"[^"]*"\s*,\s*"key"\s*:\s*"[^"]')
WORD = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
NEXT_PART = re.compile(rb"/+([^/\x00-\x1f\x7f\"'<>|]{1,255})")
PLAIN_PART = re.compile(rb"[\w.-]+")


@dataclass(frozen=True)
class _PrivatePath:
    """A path that no file may contain.

    Attributes:
        home: whether it is the home folder, whose name may be that of the user.
    """

    path: Path
    home: bool

    def is_distinct(self, in_library: bool) -> bool:
        """Whether its text is hardly anything else.

        A short path or one of a single part is ordinary text, too. So it is found only
        together with the name of something that is in that folder on this machine.
        """
        text, n_parts = str(self.path), len(self.path.parts) - 1
        long_enough = len(text) >= MIN_PATH
        return long_enough and (n_parts > 1 or (self.home and not in_library))


def check_no_leaks(folder: Path, private_paths: Iterable[Path]) -> None:
    """Refuse a folder if a file contains a private path or a credential.

    These are the path of the home folder, the given paths, the user's Kaggle key or
    token, and any text of that form. A path of one part, such as ``/data``, is also
    ordinary text: it is private together with a name that is below it on this machine.
    Files of arrays are not read.

    Args:
        private_paths: their absolute forms must not be in any file.

    Raises:
        ArtefactError: it names the first such file, and does not quote a credential.
    """
    home = credentials.home_dir()
    private = {
        str(form): _PrivatePath(form, path == home)
        for path in (*private_paths, *([home] if home else []))
        for form in (path.absolute(), path.resolve())
        if len(form.parts) > 1  # of "/" nothing could be found
    }
    paths = [private[text] for text in sorted(private)]
    secrets = credentials.secrets()
    for path in sorted(Path(folder).rglob("*")):
        if not path.is_file() or path.suffix in ARRAYS or not path.stat().st_size:
            continue
        name = path.relative_to(folder)
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            in_library = name.parts[0] == LIBRARY
            leak = next(_find_leaks(data, paths, secrets, in_library), None)
        if leak:
            raise ArtefactError(
                f"{name.as_posix()}: expected no private path and no credential, found "
                f"{leak}; remove it from the run or the config"
            )


def _find_leaks(
    data: mmap.mmap,
    paths: Iterable[_PrivatePath],
    secrets: Mapping[str, str],
    in_library: bool,
) -> Iterator[str]:
    """Yield a description of each leak in a file."""
    for value, name in secrets.items():
        if data.find(value.encode()) >= 0:
            yield f"the secret of {name}"
    if data.find(b"KGAT_") >= 0 and TOKEN.search(data):
        yield "a token (KGAT_…)"
    if data.find(b'"username"') >= 0 and KEY_FILE.search(data):
        yield "the content of a kaggle.json"
    for private in paths:
        ends = _find_path(data, os.fsencode(private.path))
        if private.is_distinct(in_library):
            found = next(ends, None) is not None
        else:
            found = any(_continues(data, end, private.path) for end in ends)
        if found:
            yield f"the path {private.path}"


def _find_path(data: mmap.mmap, path: bytes) -> Iterator[int]:
    """Where a path ends in a file, other than as a part of another one (``x/root``)."""
    is_binary = data.find(b"\0") >= 0
    start = data.find(path)
    while start >= 0:
        end = start + len(path)
        before, after = data[max(start - 1, 0) : start], data[end : end + 1]
        starts = not before or before not in b"./" + WORD
        ends = not after or after not in WORD
        if is_binary and before and _has_length(data, start, before[0]):
            starts, ends = True, ends or before[0] == len(path)
        if starts and ends:
            yield end
        start = data.find(path, start + 1)


def _has_length(data: mmap.mmap, start: int, length: int) -> bool:
    """Whether a text of this length may begin here.

    A SavedModel has the length of a text in the byte before it, which can look like a
    letter.
    """
    text = data[start : start + length]
    return len(text) == length and text.isascii() and text.decode().isprintable()


def _continues(data: mmap.mmap, end: int, path: Path) -> bool:
    """Whether what follows a path is the name of something in that folder."""
    part = NEXT_PART.match(data, end)
    if not part:
        return False
    plain = PLAIN_PART.match(part[1])
    names = {part[1], plain[0] if plain else part[1]}
    return any(
        name.strip(b".") and os.path.lexists(os.path.join(os.fsencode(path), name))
        for name in names
    )
