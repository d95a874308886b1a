"""The manifest of a bundle: every file that goes up, with its size and hash.

``dataset-metadata.json`` is not among them: Kaggle's client reads it and keeps it.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from kaggle_kit.errors import ArtefactError

MANIFEST = "kit-manifest.json"  # also what the kernel knows a bundle by


def verify(folder: Path) -> dict[str, Any]:
    """The manifest of a bundle, once every file is as it says.

    Raises:
        ArtefactError: no manifest, or the first file that is missing or differs.
    """
    path = Path(folder) / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        files = manifest["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtefactError(
            f"{path}: expected the manifest of a bundle, got {error!r}; run kaggle-kit "
            f"bundle first"
        ) from None
    for name, expected in files.items():
        file = path.parent / name
        if not file.is_file() or described(file) != expected:
            raise ArtefactError(
                f"{file}: expected {expected['bytes']} bytes with SHA-256 "
                f"{expected['sha256'][:12]}…, got {'other content' if file.exists() else 'no file'}"
                f"; make the bundle again"
            )
    return manifest


def described(path: Path) -> dict[str, Any]:
    """The size and SHA-256 of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}
