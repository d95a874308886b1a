"""Names in an archive that cannot all be files and folders at once."""

import zipfile
from collections.abc import Sequence
from pathlib import PurePosixPath

from kaggle_kit.errors import DataError


def require_distinct(name: str, members: Sequence[zipfile.ZipInfo]) -> None:
    """Refuse an archive with a file where another member needs a folder.

    Names are compared as the file system will: ``a//b`` and ``./a/b`` are ``a/b``.

    Raises:
        DataError: such a file, or two names of one file.
    """
    files = [PurePosixPath(m.filename) for m in members if not m.is_dir()]
    taken = set(files)
    if len(taken) < len(files):
        raise DataError(
            f"{name}: expected each file once, got two names of one file; do not use this "
            f"archive"
        )
    folders = {PurePosixPath(m.filename) for m in members if m.is_dir()}
    folders |= {parent for file in {*files, *folders} for parent in file.parents}
    both = sorted(map(str, taken & folders))
    if both:
        raise DataError(
            f"{name}: expected a file or a folder, got both by the name {both[0][:80]!r}; "
            f"do not use this archive"
        )
