"""Put a bundle on Kaggle as a dataset, and see that all of it arrived."""

import json
import logging
import tempfile
from pathlib import Path
from typing import Any

from kaggle_kit.bundling.metadata import PLACEHOLDER, check_files, check_metadata
from kaggle_kit.errors import (
    ArtefactError,
    IncompleteError,
    KaggleError,
    RefusedError,
    RulesError,
    UnreachableError,
)
from kaggle_kit.kaggle import client
from kaggle_kit.kaggle.checks import check_text
from kaggle_kit.storage.manifest import MANIFEST, METADATA, describe_file, verify_upload

logger = logging.getLogger(__name__)
READY_S = 3600.0  # Kaggle takes minutes for a gigabyte
TRIES = 2
SETTLED_LOOKS = 3  # what is seen so often is no leftover of the version before
BROKEN = {"failed", "deleted"}


def publish(
    bundle: Path, notes: str | None = None, dry_run: bool = False
) -> dict[str, Any]:
    """Create the dataset of a bundle, or a new version of it, and wait until it is whole.

    Nothing is sent when the newest version is this bundle already. What is on Kaggle
    afterwards is compared with the manifest, name by name and size by size: the client
    leaves out a file whose upload failed, and says 0.

    Args:
        notes: what changed; a version's note.
        dry_run: look, but send nothing; ``commands`` says what would be.

    Returns:
        dataset: its handle. version: its number. changed: whether it was sent.

    Raises:
        KitError: the note is not one line.
        ArtefactError: the bundle is damaged, or its name or title is not as it must be.
        KaggleError: by its kind.
    """
    bundle = Path(bundle)
    check_text("the version's note", notes or "")
    manifest = verify_upload(bundle)
    handle = read_handle(bundle)
    expected = {name: file.bytes for name, file in manifest.files.items()}
    expected[MANIFEST] = (bundle / MANIFEST).stat().st_size
    before = status(handle)
    notes = (
        notes
        or f"{manifest.name or 'bundle'} {describe_file(bundle / MANIFEST).sha256[:12]}"
    )
    if before and before["status"] == "ready" and _unchanged(bundle, handle, expected):
        logger.info("%s: version %s is this bundle", handle, before["version"])
        return {"dataset": handle, "version": before["version"], "changed": False}
    if dry_run:
        command = client.shown(*_command(bundle, notes, before is not None))
        return {"dataset": handle, "commands": [command]}
    version = _sent(bundle, notes, handle, expected)
    return {"dataset": handle, "version": version, "changed": True}


def read_handle(bundle: Path) -> str:
    """The owner/slug that a bundle is to have on Kaggle.

    Raises:
        ArtefactError: it has none yet, or Kaggle would not take its metadata or files.
    """
    path = bundle / METADATA
    try:
        metadata = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ArtefactError(
            f"{path}: expected a dataset's metadata, got {error!r:.200}; run kaggle-kit bundle "
            f"--handle OWNER/SLUG"
        ) from None
    check_metadata(metadata, str(path))
    check_files(bundle)
    handle = metadata["id"]
    if handle.startswith(f"{PLACEHOLDER}/"):
        raise ArtefactError(
            f"{path}: expected your name in the id, got {handle}; run kaggle-kit bundle "
            f"--handle OWNER/SLUG, or write it there"
        )
    return handle


def status(handle: str) -> dict[str, Any] | None:
    """``status`` (lower case) and ``version`` of a dataset; None if there is none.

    Raises:
        KaggleError: Kaggle did not say.
    """
    try:
        found = client.call_json("datasets", "status", handle, "--format", "json")
    except RulesError:  # Kaggle says 403 or 404 of what is not there
        return None
    version = int(found.get("current_version_number") or 0)
    return {"status": str(found["status"]).lower(), "version": version}


def remote_files(handle: str) -> dict[str, int]:
    """Name and size in bytes of every file in a dataset's newest version.

    Raises:
        KaggleError: Kaggle did not say.
    """
    rows = client.call_pages("datasets", "files", handle)
    return {row["name"]: int(row["size"]) for row in rows}


def remote_file(handle: str, name: str) -> bytes:
    """The content of one top-level file in a dataset's newest version.

    Raises:
        KaggleError: there is no such file, or it did not arrive.
    """
    with tempfile.TemporaryDirectory(prefix="kaggle-kit-") as folder:
        client.call("datasets", "download", handle, "-f", name, "-p", folder)
        path = Path(folder, name)
        if not path.is_file():
            raise IncompleteError(
                f"{handle}: expected {name}, got none; publish the bundle again"
            )
        return path.read_bytes()


def _command(bundle: Path, notes: str, exists: bool) -> list[str]:
    """Never without ``-r zip``, which is what keeps folders, nor with ``-q``, which hides
    a failed upload."""
    if exists:
        return ["datasets", "version", "-p", str(bundle), "-r", "zip", "-m", notes]
    return ["datasets", "create", "-p", str(bundle), "-r", "zip"]


def _unchanged(bundle: Path, handle: str, expected: dict[str, int]) -> bool:
    if remote_files(handle) != expected:
        return False
    return remote_file(handle, MANIFEST) == (bundle / MANIFEST).read_bytes()


def _sent(bundle: Path, notes: str, handle: str, expected: dict[str, int]) -> int:
    """Send until the newest version is whole; its number."""
    wrong: list[str] = []
    failed: KaggleError | None = None
    for _ in range(TRIES):
        before = status(handle)
        failed = None
        try:
            client.call(*_command(bundle, notes, before is not None), repeatable=False)
        except (UnreachableError, RefusedError) as error:
            failed = error  # a version may have come about all the same
        version = _ready(handle, before, failed)
        if version is None:
            logger.info("%s; sending it again", failed)
            continue
        wrong = _differences(expected, remote_files(handle))
        if not wrong:
            return version
        logger.info("%s version %d: %s; sending it again", handle, version, wrong[0])
    if failed and not wrong:
        raise failed
    raise IncompleteError(
        f"{handle}: expected its newest version to hold what the bundle does, got "
        f"{wrong[0]} (and {len(wrong) - 1} others); run the same command again"
    )


def _ready(
    handle: str, before: dict[str, Any] | None, failed: KaggleError | None
) -> int | None:
    """The number of the version after ``before`` once Kaggle is done with it.

    None if the sending failed and none shows itself for a while.
    """
    earlier = before or {"version": 0, "status": ""}
    looks = 0

    def look() -> int | None:
        nonlocal looks
        looks += 1
        now = status(handle) or {"version": 0, "status": ""}
        settled = looks >= SETTLED_LOOKS
        if now["status"] in BROKEN and (settled or earlier["status"] not in BROKEN):
            raise RefusedError(
                f"{handle}: expected the new version to become ready, got "
                f"{now['status']}; look at {client.WEB}/datasets/{handle}"
            )
        if now["version"] <= earlier["version"]:
            return 0 if failed and settled else None
        return now["version"] if now["status"] == "ready" else None

    return client.wait(look, READY_S, f"dataset {handle}") or None


def _differences(expected: dict[str, int], found: dict[str, int]) -> list[str]:
    """One sentence for each file that is missing, too many, or of another size."""
    wrong = [f"no {name}" for name in sorted(expected.keys() - found.keys())]
    wrong += [f"{name} too" for name in sorted(found.keys() - expected.keys())]
    wrong += [
        f"{name} of {found[name]} bytes for {expected[name]}"
        for name in sorted(expected.keys() & found.keys())
        if found[name] != expected[name]
    ]
    return wrong
