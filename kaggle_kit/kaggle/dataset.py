"""Publish a bundle as a Kaggle dataset, and verify that every file arrived."""

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kaggle_kit.bundling.metadata import PLACEHOLDER, check_files, check_metadata
from kaggle_kit.errors import (
    ArtefactError,
    IncompleteError,
    KaggleError,
    RefusedError,
    UnreachableError,
)
from kaggle_kit.kaggle import client
from kaggle_kit.kaggle.checks import check_text
from kaggle_kit.kaggle.polling import wait_for
from kaggle_kit.kaggle.preview import ask_for_preview
from kaggle_kit.kaggle.replies import DatasetStatus, dataset_files, dataset_status
from kaggle_kit.storage import json_files
from kaggle_kit.storage.manifest import MANIFEST, METADATA, describe_file, verify_upload

logger = logging.getLogger(__name__)
READY_TIMEOUT_S = 3600.0  # Kaggle takes minutes for a gigabyte
TRIES = 2
STALE_CHECKS = 3  # a status seen this often does not belong to the previous version
FAILED_STATUSES = {"failed", "deleted"}


@dataclass(frozen=True, slots=True)
class Publication:
    """A dataset whose newest version is the bundle."""

    dataset: str  # owner/slug
    version: int
    changed: bool  # whether this call uploaded it


@dataclass(frozen=True, slots=True)
class PublicationPlan:
    """What ``publish`` would do."""

    dataset: str  # owner/slug
    commands: list[str]


@dataclass(frozen=True, slots=True)
class _Upload:
    """A bundle that is ready for upload."""

    bundle: Path
    handle: str
    notes: str
    sizes: dict[str, int]  # bytes of each file, by its name in the dataset

    def command(self, exists: bool) -> list[str]:
        """The client's arguments that create the dataset or a new version of it.

        ``-r zip`` preserves folders. ``-q`` is not used because it hides failed uploads.
        """
        if exists:
            options = ("-r", "zip", "-m", self.notes)
            return ["datasets", "version", "-p", str(self.bundle), *options]
        return ["datasets", "create", "-p", str(self.bundle), "-r", "zip"]

    def find_published(self, status: DatasetStatus | None) -> Publication | None:
        """The newest version, if its files are those of the bundle; else None."""
        if status is None or status.status != "ready":
            return None
        if dataset_files(self.handle) != self.sizes:
            return None
        manifest = (self.bundle / MANIFEST).read_bytes()
        if download_file(self.handle, MANIFEST) != manifest:
            return None
        logger.info("%s: version %s is this bundle", self.handle, status.version)
        return Publication(self.handle, status.version, False)


def publish(bundle: Path, notes: str | None = None) -> Publication:
    """Create the dataset of a bundle, or a new version of it, and wait until it is ready.

    Nothing is sent if the newest version already is this bundle. Afterwards the names
    and sizes of the files on Kaggle are compared with the manifest, because the client
    leaves out a file whose upload failed and still exits with 0.

    Args:
        notes: the version's note on what changed.

    Raises:
        KitError: the note is not one line.
        ArtefactError: the bundle is damaged, or Kaggle would reject its metadata.
        KaggleError: the subclass says what failed.
    """
    upload = _prepare(bundle, notes)
    existing = upload.find_published(dataset_status(upload.handle))
    return existing or Publication(upload.handle, _send(upload), True)


def plan_publish(
    bundle: Path, notes: str | None = None
) -> Publication | PublicationPlan:
    """What ``publish`` would do; sends nothing.

    Without an account or a connection, the plan has the commands for a new dataset and for
    a new version, of which ``publish`` would run one.

    Raises:
        KitError: as ``publish``.
    """
    upload = _prepare(bundle, notes)

    def plan() -> Publication | PublicationPlan:
        status = dataset_status(upload.handle)
        existing = upload.find_published(status)
        return existing or _plan(upload, [status is not None])

    return ask_for_preview(plan) or _plan(upload, [False, True])


def _plan(upload: _Upload, cases: Sequence[bool]) -> PublicationPlan:
    """The commands for each case: whether the dataset exists."""
    commands = [client.format_command(*upload.command(exists)) for exists in cases]
    return PublicationPlan(upload.handle, commands)


def read_handle(bundle: Path) -> str:
    """The owner/slug in a bundle's ``dataset-metadata.json``.

    Raises:
        ArtefactError: the owner is still the placeholder, or Kaggle would reject the
            metadata or a file.
    """
    path = bundle / METADATA
    try:
        metadata = json_files.read_json(path)
    except json_files.DAMAGE as error:
        raise ArtefactError(
            f"{path}: expected a dataset's metadata, got {error!r:.200}; run kaggle-kit "
            f"bundle --handle OWNER/SLUG"
        ) from None
    check_metadata(metadata, str(path))
    check_files(bundle)
    handle = str(metadata["id"])
    if handle.startswith(f"{PLACEHOLDER}/"):
        raise ArtefactError(
            f"{path}: expected your user name in the id, got {handle}; run kaggle-kit "
            f"bundle --handle OWNER/SLUG, or edit the file"
        )
    return handle


def download_file(handle: str, name: str) -> bytes:
    """The content of a top-level file in a dataset's newest version.

    Raises:
        KaggleError: there is no such file, or the download failed.
    """
    with tempfile.TemporaryDirectory(prefix="kaggle-kit-") as folder:
        client.call("datasets", "download", handle, "-f", name, "-p", folder)
        path = Path(folder, name)
        if not path.is_file():
            raise IncompleteError(
                f"{handle}: expected {name}, got no file; publish the bundle again"
            )
        return path.read_bytes()


def _prepare(bundle: Path, notes: str | None) -> _Upload:
    """Check a bundle and its note before anything is sent."""
    bundle = Path(bundle)
    check_text("the version's note", notes or "")
    manifest = verify_upload(bundle)
    handle = read_handle(bundle)
    sizes = {name: file.bytes for name, file in manifest.files.items()}
    sizes[MANIFEST] = (bundle / MANIFEST).stat().st_size
    if not notes:
        digest = describe_file(bundle / MANIFEST).sha256
        notes = f"{manifest.name or 'bundle'} {digest[:12]}"
    return _Upload(bundle, handle, notes, sizes)


def _send(upload: _Upload) -> int:
    """Upload until the newest version is complete; return its number."""
    differences: list[str] = []
    failure: KaggleError | None = None
    for _ in range(TRIES):
        before = dataset_status(upload.handle)
        failure = None
        try:
            client.call(*upload.command(before is not None), idempotent=False)
        except (UnreachableError, RefusedError) as error:
            failure = error  # the version may exist all the same
        version = _wait_until_ready(upload.handle, before, failure)
        if version is None:
            logger.info("%s; uploading it again", failure)
            continue
        differences = _differences(upload.sizes, dataset_files(upload.handle))
        if not differences:
            return version
        logger.info(
            "%s version %d: %s; uploading it again",
            *(upload.handle, version, differences[0]),
        )
    if failure and not differences:
        raise failure
    raise IncompleteError(
        f"{upload.handle}: expected the bundle's files in the newest version, got "
        f"{differences[0]} (and {len(differences) - 1} other differences); run the same "
        f"command again"
    )


def _wait_until_ready(
    handle: str, before: DatasetStatus | None, failure: KaggleError | None
) -> int | None:
    """Wait for the version after ``before``; return its number.

    Returns None if the upload failed and no new version appeared for some time.
    """
    no_dataset = DatasetStatus("", 0)
    previous = before or no_dataset
    n_checks = 0

    def check() -> int | None:
        nonlocal n_checks
        n_checks += 1
        now = dataset_status(handle) or no_dataset
        settled = n_checks >= STALE_CHECKS
        is_new = settled or previous.status not in FAILED_STATUSES
        if now.status in FAILED_STATUSES and is_new:
            raise RefusedError(
                f"{handle}: expected the new version to become ready, got {now.status}; "
                f"look at {client.WEB}/datasets/{handle}"
            )
        if now.version <= previous.version:
            return 0 if failure and settled else None
        return now.version if now.status == "ready" else None

    return wait_for(check, READY_TIMEOUT_S, f"dataset {handle}") or None


def _differences(expected: dict[str, int], actual: dict[str, int]) -> list[str]:
    """One phrase for each file that is missing, unexpected or of another size."""
    missing = [f"no {name}" for name in sorted(expected.keys() - actual.keys())]
    extra = [f"an extra {name}" for name in sorted(actual.keys() - expected.keys())]
    resized = [
        f"{name} of {actual[name]} instead of {expected[name]} bytes"
        for name in sorted(expected.keys() & actual.keys())
        if actual[name] != expected[name]
    ]
    return missing + extra + resized
