"""Checks that are made before anything is sent to Kaggle."""

import shutil
import unicodedata
from pathlib import Path

from kaggle_kit.credentials import holds_secret
from kaggle_kit.errors import ArtefactError, KitError
from kaggle_kit.storage import places

# The kit's own limit. A submission is recognised by the end of its description, which
# must not be cut off, and a row of the ledger should stay readable.
MAX_TEXT_LENGTH = 1000
MIN_FREE_MB = 64  # for the output of a kernel, its log and the ledger
FORBIDDEN_CATEGORIES = {
    "Cc",
    "Cs",
    "Zl",
    "Zp",
}  # Unicode: control characters, line breaks


def check_text(what: str, text: str) -> None:
    """Refuse a text that Kaggle or the ledger would not return unchanged.

    Args:
        what: the name of the text, for the error message.

    Raises:
        KitError: the text is too long, has a line break or a control character, or holds a
            credential.
    """
    forbidden = [c for c in text if unicodedata.category(c) in FORBIDDEN_CATEGORIES]
    if forbidden:
        raise KitError(
            f"{what}: expected one line of text, got the character {forbidden[0]!r}; "
            f"remove it"
        )
    if holds_secret(text):
        raise KitError(
            f"{what}: expected a text without a credential, got one with it; remove it"
        )
    if len(text) > MAX_TEXT_LENGTH:
        raise KitError(
            f"{what}: expected at most {MAX_TEXT_LENGTH} characters, got {len(text)}; "
            f"shorten it"
        )


def check_writable(folder: Path) -> None:
    """Refuse a folder that cannot be created or written to, or whose disk is full.

    The folder is not created. If it does not exist, its nearest existing parent is
    checked.

    Raises:
        ArtefactError: names the folder and the reason.
    """
    parent = places.nearest_folder(folder)
    reason = places.find_obstacle(parent)
    if reason:
        raise ArtefactError(
            f"{parent}: expected a writable folder, got: {reason}; nothing was sent: make "
            f"it writable, then run the same command again"
        )
    free_mb = shutil.disk_usage(parent).free / 1e6
    if free_mb < MIN_FREE_MB:
        raise ArtefactError(
            f"{parent}: expected {MIN_FREE_MB} MB of free space, got {free_mb:.0f} MB; "
            f"nothing was sent: make room, then run the same command again"
        )
