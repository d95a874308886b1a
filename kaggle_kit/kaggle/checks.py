"""What is looked at before anything is sent, as it could fail after."""

import os
import shutil
import tempfile
import unicodedata
from pathlib import Path

from kaggle_kit.errors import ArtefactError, KitError

# The kit's own limit: a submission is found again by the end of its text, which nobody
# may cut, and a row of the ledger has to be readable.
MOST_CHARACTERS = 1000
ROOM_MB = 64  # for what a kernel leaves, its log, and the ledger
LINE_BREAKING = {"Cc", "Cs", "Zl", "Zp"}  # Unicode's control characters and the like


def check_text(what: str, text: str) -> None:
    """Refuse a text that would not come back from Kaggle or the ledger as it is.

    Args:
        what: what to call it.

    Raises:
        KitError: it is too long, or has a line break or a control character.
    """
    strange = [c for c in text if unicodedata.category(c) in LINE_BREAKING]
    if strange:
        raise KitError(
            f"{what}: expected one line of text, got {strange[0]!r} in it; leave it out"
        )
    if len(text) > MOST_CHARACTERS:
        raise KitError(
            f"{what}: expected at most {MOST_CHARACTERS} characters, got {len(text)}; "
            f"shorten it"
        )


def check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be made, or written to, or that has no room.

    It is not made; where it is not there yet, the folder counts that it would be in.

    Raises:
        ArtefactError: it says which folder and why.
    """
    place = Path(folder).absolute()
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"room")
        free_mb = shutil.disk_usage(place).free / 1e6
    except OSError as error:
        raise ArtefactError(
            f"{place}: expected a folder to write to, got: {error.strerror}; nothing was "
            f"sent: make it one, then run the same command again"
        ) from None
    if free_mb < ROOM_MB:
        raise ArtefactError(
            f"{place}: expected {ROOM_MB} MB of room, got {free_mb:.0f} MB; nothing was "
            f"sent: make room, then run the same command again"
        )
