"""Find out at once that a folder of images is not in the competition's layout."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from kaggle_kit.errors import DataError

DEPTH = 3  # folders between the root and an image
MAX_ENTRIES = 20_000  # looked at before a folder is taken for what it claims to be
SUFFIX = ".jpg"
IMAGES = (  # and archives of them
    *(
        ".jpg",
        ".jpeg",
        ".png",
        ".webp",
        ".gif",
        ".bmp",
        ".tif",
        ".tiff",
        ".heic",
        ".avif",
    ),
    *(".tar", ".zip", ".tgz", ".gz"),
)
N_SHOWN = 3  # kinds of files in the message
EXPECTED = "images as a/b/c/<id>.jpg, where a, b, c are the first characters of the id"


def require_images(folder: Path) -> None:
    """Check that the images of a folder are at their places, ``a/b/c/<id>.jpg``.

    The search ends at the first one at its place, and after ``MAX_ENTRIES`` entries.

    Raises:
        DataError: there are images, and none at its place; the message says where they are.
    """
    seen: Counter[str] = Counter()
    n_entries, elsewhere = 0, False
    for place, name in _files(folder):
        n_entries += 1
        if _is_at_its_place(place, name):
            return
        if name:
            seen[_describe(place, name)] += 1
            elsewhere |= name.lower().endswith(IMAGES)
        if n_entries >= MAX_ENTRIES:
            break
    if not elsewhere:
        return  # no image at all: whoever needs one says which
    kinds = [f"{n} files {kind}" for kind, n in seen.most_common(N_SHOWN)]
    more = " and others" if len(seen) > N_SHOWN or n_entries >= MAX_ENTRIES else ""
    found = ", ".join(kinds) + more
    raise DataError(
        f"{folder}: expected {EXPECTED}, found {found}; arrange the images so, and convert "
        f"those of other formats to JPEG"
    )


def _files(folder: Path) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the folders above each file and its name; the name is empty for a folder."""
    waiting: list[tuple[str, ...]] = [()]
    while waiting:
        place = waiting.pop()
        with os.scandir(os.path.join(folder, *place)) as entries:
            for entry in entries:
                if not entry.is_dir():
                    yield place, entry.name
                    continue
                yield place, ""
                if len(place) <= DEPTH + 1:
                    waiting.append((*place, entry.name))


def _is_at_its_place(place: tuple[str, ...], name: str) -> bool:
    return (
        len(place) == DEPTH and name.endswith(SUFFIX) and tuple(name[:DEPTH]) == place
    )


def _describe(place: tuple[str, ...], name: str) -> str:
    """A kind of files: the form of their path, such as ``*/*.jpeg`` or ``train/*.jpg``."""
    suffix = os.path.splitext(name)[1]
    folders = [
        part if len(part) > 1 and len(place) - DEPTH == 1 else "*" for part in place
    ]
    return "/".join([*folders, f"*{suffix}"])
