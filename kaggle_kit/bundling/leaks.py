"""No credentials and no paths of this machine in what goes up."""

import mmap
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from kaggle_kit import credentials
from kaggle_kit.errors import ArtefactError

ARRAYS = (".npy", ".npz")  # numbers alone, and most of a bundle
SHORTEST_PATH = 5  # "/c" would be found in any network's weights
TOKEN = re.compile(rb"KGAT_[0-9A-Za-z_-]{8,}")
KEY_FILE = re.compile(rb'"username"\s*:\s*"[^"]*"\s*,\s*"key"\s*:\s*"[^"]')
WORD = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"


def check_no_leaks(folder: Path, places: Iterable[Path]) -> None:
    """Refuse a folder in which a file tells what should stay here.

    That is the home folder, the given folders, the user's Kaggle key or token, or
    anything of the form of one. Files of arrays are not read.

    Args:
        places: folders whose absolute paths must not be in any file.

    Raises:
        ArtefactError: the first such file; what was found is not quoted if it is secret.
    """
    paths = {str(place.absolute()) for place in places}
    paths |= {str(place.resolve()) for place in places}
    paths |= {str(Path.home()), str(Path.home().resolve())}
    known = sorted(p for p in paths if len(p) >= SHORTEST_PATH)
    keys = credentials.secrets()
    for path in sorted(Path(folder).rglob("*")):
        if not path.is_file() or path.suffix in ARRAYS or not path.stat().st_size:
            continue
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            what = next(_found(data, known, keys), None)
        if what:
            name = path.relative_to(folder).as_posix()
            raise ArtefactError(
                f"{name}: expected nothing that tells of this machine or its user, found "
                f"{what}; take it out of the run or the config"
            )


def _found(
    data: mmap.mmap, paths: Iterable[str], keys: Mapping[str, str]
) -> Iterator[str]:
    for value, name in keys.items():
        if data.find(value.encode()) >= 0:
            yield f"the secret of {name}"
    if data.find(b"KGAT_") >= 0 and TOKEN.search(data):
        yield "a token (KGAT_…)"
    if data.find(b'"username"') >= 0 and KEY_FILE.search(data):
        yield "the content of a kaggle.json"
    for path in paths:
        if _has_path(data, os.fsencode(path)):
            yield f"the path {path}"


def _has_path(data: mmap.mmap, path: bytes) -> bool:
    """Whether a path is there, and not as a part of another such as ``x/root`` is."""
    start = data.find(path)
    while start >= 0:
        before = data[start - 1 : start] if start else b""
        after = data[start + len(path) : start + len(path) + 1]
        if not (before in (b".", b"/") or (before and before in WORD)) and not (
            after and after in WORD
        ):
            return True
        start = data.find(path, start + 1)
    return False
