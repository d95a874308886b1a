"""The manifest of a bundle: every file that goes up, with its size and hash.

``dataset-metadata.json`` is not among them: Kaggle's client reads it and keeps it.
"""

import hashlib
import json
from collections.abc import Container
from pathlib import Path, PurePosixPath
from typing import Any

from kaggle_kit.errors import ArtefactError
from kaggle_kit.publish.metadata import uploaded

MANIFEST = "kit-manifest.json"  # also what the kernel knows a bundle by


def verify(folder: Path) -> dict[str, Any]:
    """The manifest of a bundle, once every file is as it says, and there is no other.

    Raises:
        ArtefactError: no manifest, or the first file that is missing, differs, is not
            listed, or is a link: that may lead to any file of this machine.
    """
    path = Path(folder) / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        files = {name: _entry(name, file) for name, file in manifest["files"].items()}
        if not isinstance(manifest.get("name", ""), str):
            raise TypeError(f"the name {manifest['name']!r}")
    except _DAMAGE as error:
        raise ArtefactError(
            f"{path}: expected the manifest of a bundle, got {error!r:.200}; run "
            f"kaggle-kit bundle first"
        ) from None
    _refuse_others(path.parent, files)
    for name, expected in files.items():
        file = path.parent / name
        if not file.is_file() or described(file) != expected:
            raise ArtefactError(
                f"{file}: expected {expected['bytes']} bytes with SHA-256 "
                f"{expected['sha256'][:12]}…, got {'other content' if file.exists() else 'no file'}"
                f"; make the bundle again"
            )
    return manifest


_DAMAGE = (
    *(OSError, ValueError, RecursionError),
    *(KeyError, TypeError, AttributeError),
)


def _entry(name: str, file: dict[str, Any]) -> dict[str, Any]:
    """What a manifest says of a file, once it can be of one."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or str(path) != name or "\\" in name:
        raise ValueError(f"the name {name!r}, which leads elsewhere")
    return {"bytes": file["bytes"], "sha256": str(file["sha256"])}


def _refuse_others(folder: Path, listed: Container[str]) -> None:
    """Refuse links, and what would go up beside the files of the manifest."""
    for file in sorted(folder.rglob("*")):
        if file.is_symlink():
            raise ArtefactError(
                f"{file}: expected files and folders alone, got a link; make the bundle "
                f"again"
            )
    for name in uploaded(folder):
        if name not in listed and name != MANIFEST:
            raise ArtefactError(
                f"{folder / name}: expected the files of {MANIFEST} alone, got one that "
                f"it does not list; remove it or make the bundle again"
            )


def described(path: Path) -> dict[str, Any]:
    """The size and SHA-256 of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}
