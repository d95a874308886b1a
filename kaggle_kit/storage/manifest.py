"""The manifest of a bundle: the size and the SHA-256 of every file that is uploaded.

``dataset-metadata.json`` is not listed: Kaggle's client reads it and does not upload it.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kaggle_kit.errors import ArtefactError
from kaggle_kit.storage import json_files
from kaggle_kit.storage.inside import check_name
from kaggle_kit.storage.json_files import JsonObject
from kaggle_kit.storage.regular_files import open_regular

MANIFEST = "kit-manifest.json"  # the kernel identifies a bundle by this file
METADATA = "dataset-metadata.json"
# What the client does not upload: files at the top of the folder, folders at any depth.
SKIPPED_FILES = {
    METADATA,
    "datapackage.json",
    *(f"dataset-cover-image.{kind}" for kind in ("png", "jpg", "jpeg", "webp")),
    "kernel-metadata.json",
    "model-metadata.json",
    "model-instance-metadata.json",
}
SCORES = ("validation", "test", "validation_in_float")  # keys of the scores of a pool
SKIPPED_FOLDERS = {".git", ".cache", ".huggingface"}


@dataclass(frozen=True)
class FileEntry(JsonObject):
    """A file as the manifest lists it: size in bytes, and SHA-256 in hexadecimal."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class BundleManifest:
    """The manifest of a bundle. Only what it lists is part of the bundle.

    Kaggle and Python may add files to the folder: they are never read.

    Attributes:
        folder: of the bundle; manifests of two folders may be equal.
        name: of the config; None if the manifest has no name.
        files: by path relative to the bundle, with forward slashes.
        content: the whole JSON object; its other keys depend on the kind of bundle.
    """

    folder: Path = field(compare=False)
    name: str | None
    files: Mapping[str, FileEntry]
    content: Mapping[str, Any]

    def path(self, name: str) -> Path:
        """The path of a file that the bundle must have.

        Raises:
            ArtefactError: the manifest does not list it, also if it is in the folder.
        """
        path = self.find(name)
        if path is None:
            raise ArtefactError(
                f"{self.folder / name}: expected a file that {MANIFEST} lists, found "
                f"none; make the bundle again"
            )
        return path

    def find(self, name: str) -> Path | None:
        """The path of a file; None if the manifest does not list it."""
        return self.folder / name if name in self.files else None

    def subfolder(self, name: str, files: Iterable[str]) -> Path:
        """The path of a folder that must have these files.

        Raises:
            ArtefactError: the manifest does not list one of them.
        """
        for file in files:
            self.path(f"{name}/{file}")
        return self.folder / name

    def list_names(self, folder: str) -> list[str]:
        """The names of all files below a folder of the bundle, sorted."""
        return sorted(name for name in self.files if name.startswith(f"{folder}/"))

    def measure(self, folder: str) -> int:
        """The bytes of all files below a folder of the bundle."""
        return sum(self.files[name].bytes for name in self.list_names(folder))


def read_manifest(folder: Path) -> BundleManifest:
    """Read the manifest of a bundle; no file that it lists is read.

    Raises:
        ArtefactError: the manifest is missing or damaged.
    """
    path = Path(folder) / MANIFEST
    try:
        content: dict[str, Any] = json_files.read_json(path)
        files = {name: _entry(name, file) for name, file in content["files"].items()}
        name = content.get("name")
        for split in SCORES:
            read_scores(content, split)
        if "name" in content and not isinstance(name, str):
            raise TypeError(f"the name {name!r}")
    except _DAMAGE as error:
        raise ArtefactError(
            f"{path}: expected the manifest of a bundle, got {error!r:.200}; run "
            f"kaggle-kit bundle first"
        ) from None
    return BundleManifest(path.parent, name, files, content)


def verify(folder: Path) -> BundleManifest:
    """Read the manifest of a bundle, and check every file that it lists.

    Every listed file is read: about a second per gigabyte from the page cache. Files that
    are not listed are ignored, such as bytecode of the library, or files that Kaggle adds
    where it mounts a dataset. So open only what the manifest returns a path of.

    Raises:
        ArtefactError: the manifest is missing or damaged, or a file is missing or differs.
    """
    manifest = read_manifest(folder)
    for name, expected in manifest.files.items():
        path = manifest.folder / name
        difference = _difference(path, expected)
        if difference:
            raise ArtefactError(
                f"{path}: expected {expected.bytes} bytes with SHA-256 "
                f"{expected.sha256[:12]}…, got {difference}; make the bundle again"
            )
    return manifest


def read_scores(content: Mapping[str, Any], split: str) -> Mapping[str, Any] | None:
    """The scores of a pool of images in a manifest; None without images.

    Args:
        split: one of ``SCORES``.

    Raises:
        ValueError: the GAP is neither null nor a number from 0 to 1.
        TypeError, AttributeError: it is no JSON object.
    """
    scores: Mapping[str, Any] | None = content.get(split)
    if scores is None:
        return None
    gap = scores.get("gap")
    if gap is not None and (isinstance(gap, bool) or not 0 <= gap <= 1):
        raise ValueError(f"{split}: the gap {gap!r:.40}")
    return scores


def verify_upload(folder: Path) -> BundleManifest:
    """As ``verify``, and check that nothing else would be uploaded.

    Raises:
        ArtefactError: as for ``verify``; a file is not listed; or there is a symbolic link,
            which could lead to any file of this machine.
    """
    folder = Path(folder)
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise ArtefactError(
                f"{path}: expected files and folders only, got a link; make the bundle "
                f"again"
            )
    manifest = verify(folder)
    for name in upload_names(folder):
        if name not in manifest.files and name != MANIFEST:
            raise ArtefactError(
                f"{folder / name}: expected only files that {MANIFEST} lists, got one that "
                f"it does not list; move it out of the bundle"
            )
    return manifest


def upload_names(folder: Path) -> list[str]:
    """The files that the client uploads with ``-r zip``: relative paths, sorted."""
    return sorted(_walk_uploads(Path(folder)))


def describe_file(path: Path) -> FileEntry:
    """Compute the size and the SHA-256 of a file."""
    with open_regular(path) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return FileEntry(os.fstat(file.fileno()).st_size, digest)


_DAMAGE = (*json_files.DAMAGE, KeyError, TypeError, AttributeError)


def _entry(name: str, file: dict[str, Any]) -> FileEntry:
    """Parse an entry of the manifest; refuse a name that leads out of the bundle."""
    check_name(name)
    return FileEntry(file["bytes"], str(file["sha256"]))


def _difference(path: Path, expected: FileEntry) -> str | None:
    """How a file differs from its entry; None if it does not."""
    if not path.is_file():
        return "other content" if path.exists() else "no file"
    try:
        if path.stat().st_size != expected.bytes:  # before a terabyte is read
            return "other content"
        return None if describe_file(path) == expected else "other content"
    except OSError as error:
        return error.strerror or repr(error)


def _walk_uploads(folder: Path) -> Iterator[str]:
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in SKIPPED_FOLDERS]
        at_top = Path(parent) == folder
        for name in files:
            if not (at_top and name in SKIPPED_FILES):
                yield (Path(parent) / name).relative_to(folder).as_posix()
