"""Take a bundle to a score on the leaderboard; resume after an interruption."""

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path

from kaggle_kit.bundling.library import check_fit
from kaggle_kit.errors import ArtefactError, RefusedError, TableError
from kaggle_kit.kaggle.checks import check_text
from kaggle_kit.kaggle.dataset import (
    Publication,
    PublicationPlan,
    plan_publish,
    publish,
    read_handle,
)
from kaggle_kit.kaggle.kernel import PushPlan, complete_metadata, make_plan, send
from kaggle_kit.kaggle.kernel_output import Manifest, collect, parse_manifest
from kaggle_kit.kaggle.kernel_run import SUBMISSIONS, KernelRun, check_output_folders
from kaggle_kit.kaggle.ledger import LEDGER, check_ledger
from kaggle_kit.kaggle.submit import ScoredSubmission, submit
from kaggle_kit.rehearsal.kernel_folder import (
    KernelMetadata,
    find_code_file,
    find_kernel,
)
from kaggle_kit.rehearsal.kernel_sources import make_sources
from kaggle_kit.storage import json_files
from kaggle_kit.storage.json_files import OPTIONAL, to_json
from kaggle_kit.storage.manifest import MANIFEST

PROGRESS = SUBMISSIONS / "ship.json"
_MALFORMED = (*json_files.DAMAGE, KeyError, TypeError, AttributeError)


@dataclass(frozen=True, slots=True)
class Shipment:
    """The results of the three steps."""

    dataset: Publication
    kernel: KernelRun
    submission: ScoredSubmission


@dataclass(frozen=True, slots=True)
class ShipmentPlan:
    """What ``ship`` would do before the submission.

    The submission needs the version number that the push returns, so it is not planned.
    """

    dataset: Publication | PublicationPlan
    kernel: PushPlan


@dataclass(frozen=True, slots=True)
class _Progress:
    """The steps that are done, saved as ``ship.json``."""

    of: str  # a hash of the bundle, the kernel and the competition
    dataset_version: int | None = field(default=None, metadata=OPTIONAL)
    kernel_version: int | None = field(default=None, metadata=OPTIONAL)
    ref: str | None = field(default=None, metadata=OPTIONAL)

    def save(self) -> None:
        json_files.write_json(self, PROGRESS)


@dataclass(frozen=True, slots=True)
class _Job:
    """A bundle and a kernel that may be shipped."""

    bundle: Path
    manifest: Manifest
    kernel: Path
    metadata: KernelMetadata
    progress: _Progress


def ship(
    bundle: Path, kernel: Path | None, slug: str, message: str, ledger: Path = LEDGER
) -> Shipment:
    """Publish, push, wait for the kernel, validate, submit, and wait for the score.

    ``submissions/ship.json`` records the steps that are done for this bundle, kernel and
    competition. After an interruption, the same call asks Kaggle for the current state
    and resumes. Nothing is published or submitted twice. A kernel is pushed twice only
    if the version number of the first push was lost. Everything that can be checked
    locally is checked before anything is sent.

    Args:
        kernel: the kernel folder; None means the kit's inference kernel.
        ledger: the file that gets the submission's row.

    Raises:
        KitError: as ``publish``, ``push`` and ``submit``.
    """
    job = _prepare(bundle, kernel, slug, message, ledger)
    publication = publish(job.bundle, message)
    progress = replace(job.progress, dataset_version=publication.version)
    progress.save()
    version = progress.kernel_version
    if version is None:
        sources = make_sources(job.metadata, slug, job.manifest.sha256)
        version = send(job.kernel, job.metadata, sources)
        progress = replace(progress, kernel_version=version)
        progress.save()
    try:
        of_slug = replace(job.metadata, competition_sources=[slug])
        kernel_run = collect(of_slug, version, job.manifest.info)
    except (RefusedError, TableError):
        replace(progress, kernel_version=None).save()  # the next call pushes again
        raise
    submission = submit(slug, message, job.metadata.id, version, ledger=ledger)
    replace(progress, ref=submission.ref).save()
    return Shipment(publication, kernel_run, submission)


def plan_ship(
    bundle: Path, kernel: Path | None, slug: str, message: str, ledger: Path = LEDGER
) -> ShipmentPlan:
    """What ``ship`` would do; sends nothing.

    Raises:
        KitError: as ``ship``.
    """
    job = _prepare(bundle, kernel, slug, message, ledger)
    return ShipmentPlan(plan_publish(job.bundle), make_plan(job.metadata))


def _prepare(
    bundle: Path, kernel: Path | None, slug: str, message: str, ledger: Path
) -> _Job:
    """Check everything that can be checked before anything is sent."""
    bundle = Path(bundle)
    kernel = find_kernel(Path(kernel) if kernel else None)
    handle = read_handle(bundle)
    metadata = complete_metadata(kernel, None, handle)
    if slug not in metadata.competition_sources:
        raise ArtefactError(
            f"{kernel}: expected {slug} in competition_sources, got "
            f"{metadata.competition_sources}; add it"
        )
    check_fit(bundle, find_code_file(kernel, metadata))
    check_text("the message", message)
    check_output_folders(metadata.id)
    check_ledger(ledger)
    manifest = _read_manifest(bundle, handle)
    progress = _load_progress(_digest(bundle, kernel, slug, metadata))
    return _Job(bundle, manifest, kernel, metadata, progress)


def _read_manifest(bundle: Path, handle: str) -> Manifest:
    path = bundle / MANIFEST
    if not path.is_file():
        raise ArtefactError(
            f"{bundle}: expected a bundle with {MANIFEST}, found none; run kaggle-kit "
            f"bundle first"
        )
    return parse_manifest(handle, path.read_bytes())


def _digest(bundle: Path, kernel: Path, slug: str, metadata: KernelMetadata) -> str:
    """A hash of all that the steps depend on."""
    digest = hashlib.sha256((bundle / MANIFEST).read_bytes())
    digest.update(find_code_file(kernel, metadata).read_bytes())
    digest.update(json.dumps([to_json(metadata), slug], sort_keys=True).encode())
    return digest.hexdigest()


def _load_progress(digest: str) -> _Progress:
    """The saved progress; none yet if the file is missing or is of other inputs."""
    if not PROGRESS.exists():
        return _Progress(digest)
    try:
        values = json_files.read_json(PROGRESS)
        if values["of"] != digest:
            return _Progress(digest)
        return _Progress(
            digest,
            dataset_version=int(values.get("dataset_version") or 0) or None,
            kernel_version=int(values.get("kernel_version") or 0) or None,
            ref=values.get("ref"),
        )
    except _MALFORMED as error:
        raise ArtefactError(
            f"{PROGRESS}: expected the progress of an earlier ship command, got "
            f"{error!r:.200}; delete it to start again: the kernel is then pushed again"
        ) from None
