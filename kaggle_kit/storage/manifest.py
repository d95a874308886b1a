"""The manifest of a bundle: every file that goes up, with its size and hash.

``dataset-metadata.json`` is not among them: Kaggle's client reads it and keeps it.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from kaggle_kit.errors import ArtefactError
from kaggle_kit.storage import json_files

MANIFEST = "kit-manifest.json"  # also what the kernel knows a bundle by
METADATA = "dataset-metadata.json"
# What the client does not upload, at the top of the folder and, for folders, anywhere.
SKIPPED_FILES = {
    METADATA,
    "datapackage.json",
    *(f"dataset-cover-image.{kind}" for kind in ("png", "jpg", "jpeg", "webp")),
    "kernel-metadata.json",
    "model-metadata.json",
    "model-instance-metadata.json",
}
SKIPPED_FOLDERS = {".git", ".cache", ".huggingface"}


def verify(folder: Path) -> dict[str, Any]:
    """The manifest of a bundle, once every file that it lists is as it says.

    All of it is read: about a second for each gigabyte, if it is in memory. Files beside
    them do no harm: bytecode of the library, or what Kaggle may add where it mounts them.

    Raises:
        ArtefactError: no manifest, or the first file that is missing or differs.
    """
    path = Path(folder) / MANIFEST
    try:
        manifest: dict[str, Any] = json_files.read_json(path)
        files = {name: _entry(name, file) for name, file in manifest["files"].items()}
        if not isinstance(manifest.get("name", ""), str):
            raise TypeError(f"the name {manifest['name']!r}")
    except _DAMAGE as error:
        raise ArtefactError(
            f"{path}: expected the manifest of a bundle, got {error!r:.200}; run "
            f"kaggle-kit bundle first"
        ) from None
    for name, expected in files.items():
        got = _difference(path.parent / name, expected)
        if got:
            raise ArtefactError(
                f"{path.parent / name}: expected {expected['bytes']} bytes with SHA-256 "
                f"{expected['sha256'][:12]}…, got {got}; make the bundle again"
            )
    return manifest


def verify_upload(folder: Path) -> dict[str, Any]:
    """As ``verify``, of a bundle that is to go up.

    Raises:
        ArtefactError: also of a file that is not listed, and of a link, that may lead to
            any file of this machine.
    """
    folder = Path(folder)
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise ArtefactError(
                f"{path}: expected files and folders alone, got a link; make the bundle "
                f"again"
            )
    manifest = verify(folder)
    for name in uploaded(folder):
        if name not in manifest["files"] and name != MANIFEST:
            raise ArtefactError(
                f"{folder / name}: expected the files of {MANIFEST} alone, got one that "
                f"it does not list; remove it or make the bundle again"
            )
    return manifest


def uploaded(folder: Path) -> list[str]:
    """The files of a folder that the client uploads with ``-r zip``, sorted, as a/b/c."""
    return sorted(_uploaded(Path(folder)))


def described(path: Path) -> dict[str, Any]:
    """The size and SHA-256 of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


_DAMAGE = (*json_files.DAMAGE, KeyError, TypeError, AttributeError)


def _entry(name: str, file: dict[str, Any]) -> dict[str, Any]:
    """What a manifest says of a file, once it can be of one."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or str(path) != name or "\\" in name:
        raise ValueError(f"the name {name!r}, which leads elsewhere")
    return {"bytes": file["bytes"], "sha256": str(file["sha256"])}


def _difference(path: Path, expected: dict[str, Any]) -> str | None:
    """What is wrong with a file, if anything."""
    if not path.is_file():
        return "other content" if path.exists() else "no file"
    try:
        return None if described(path) == expected else "other content"
    except OSError as error:
        return error.strerror or repr(error)


def _uploaded(folder: Path) -> Iterator[str]:
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in SKIPPED_FOLDERS]
        at_top = Path(place) == folder
        for name in files:
            if not (at_top and name in SKIPPED_FILES):
                yield (Path(place) / name).relative_to(folder).as_posix()
