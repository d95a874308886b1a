"""Check that an upload contains no credentials and no paths of this machine."""

import mmap
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from kaggle_kit import credentials
from kaggle_kit.errors import ArtefactError

ARRAYS = (".npy", ".npz")  # not read: they hold only numbers, and most of the bytes
MIN_PATH = 5  # characters; the weights of any network contain shorter ones by chance
TOKEN = re.compile(rb"KGAT_[0-9A-Za-z_-]{8,}")
KEY_FILE = re.compile(rb'"username"\s*:\s*"[^"]*"\s*,\s*"key"\s*:\s*"[^"]')
WORD = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"


def check_no_leaks(folder: Path, private_paths: Iterable[Path]) -> None:
    """Refuse a folder if a file contains a private path or a credential.

    These are the path of the home folder, the given paths, the user's Kaggle key or
    token, and any text of that form. Files of arrays are not read.

    Args:
        private_paths: their absolute forms must not be in any file.

    Raises:
        ArtefactError: it names the first such file, and does not quote a credential.
    """
    paths = {str(path.absolute()) for path in private_paths}
    paths |= {str(path.resolve()) for path in private_paths}
    paths |= {str(Path.home()), str(Path.home().resolve())}
    private = sorted(path for path in paths if len(path) >= MIN_PATH)
    secrets = credentials.secrets()
    for path in sorted(Path(folder).rglob("*")):
        if not path.is_file() or path.suffix in ARRAYS or not path.stat().st_size:
            continue
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            leak = next(_find_leaks(data, private, secrets), None)
        if leak:
            name = path.relative_to(folder).as_posix()
            raise ArtefactError(
                f"{name}: expected no private path and no credential, found {leak}; "
                f"remove it from the run or the config"
            )


def _find_leaks(
    data: mmap.mmap, paths: Iterable[str], secrets: Mapping[str, str]
) -> Iterator[str]:
    """Yield a description of each leak in a file."""
    for value, name in secrets.items():
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
    """Whether a file contains a path other than as a part of another one (``x/root``)."""
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
