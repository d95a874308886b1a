"""Push a kernel, wait until it has run, and download its output."""

import json
import logging
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from kaggle_kit.bundling.library import parse
from kaggle_kit.bundling.metadata import DATASET, KERNEL, PLACEHOLDER, check_handle
from kaggle_kit.errors import (
    ArtefactError,
    LimitError,
    RefusedError,
    RulesError,
    UnreachableError,
)
from kaggle_kit.kaggle import client
from kaggle_kit.kaggle.kernel_output import Manifest, collect, download_manifest
from kaggle_kit.kaggle.kernel_run import KernelRun, check_output_folders
from kaggle_kit.kaggle.polling import wait_for
from kaggle_kit.rehearsal.kernel_folder import (
    METADATA,
    KernelMetadata,
    find_code_file,
    find_kernel,
    read_kernel_metadata,
)
from kaggle_kit.rehearsal.kernel_sources import (
    fill_in,
    make_sources,
    require_one_competition,
    takes_sources,
    trains,
)
from kaggle_kit.storage.json_files import to_json

logger = logging.getLogger(__name__)
SESSION_TIMEOUT_S = 12 * 3600.0  # until a GPU session is free
RETIRED_MACHINES = {"NvidiaTeslaP100", "TpuV38", "Tpu1VmV38"}


@dataclass(frozen=True, slots=True)
class PushPlan:
    """What ``push`` would do."""

    metadata: KernelMetadata
    commands: list[str]


def push(
    kernel: Path | None = None, handle: str | None = None, dataset: str | None = None
) -> KernelRun:
    """Push a kernel folder, wait until it has run, download its output and validate it.

    The complete metadata is sent; the folder itself is not changed.

    A kernel of the kit is told which competition and bundle are meant; see
    ``rehearsal.kernel_sources``.

    Args:
        kernel: the kernel folder; None means the kit's inference kernel.
        handle: owner/slug of the kernel; None means the id in its metadata, where the
            owner of the dataset replaces INSERT_OWNER.
        dataset: owner/slug of the bundle; None means the metadata's dataset sources.

    Raises:
        ArtefactError: the folder or its metadata is invalid, several competitions or
            bundles could be meant, a manifest is damaged, or the output could not be
            saved.
        KaggleError: the subclass says what failed. No submission is used up.
    """
    kernel, metadata = _prepare(kernel, handle, dataset)
    script = find_code_file(kernel, metadata)
    bundle = _find_bundle(script, metadata) if takes_sources(script) else None
    metadata = replace(metadata, kernel_sources=_existing_kernel_sources(metadata))
    slug, digest = metadata.competition_sources[0], bundle.sha256 if bundle else None
    version = send(kernel, metadata, make_sources(metadata, slug, digest))
    return collect(metadata, version, bundle.info if bundle else None)


def plan_push(
    kernel: Path | None = None, handle: str | None = None, dataset: str | None = None
) -> PushPlan:
    """What ``push`` would do; sends nothing.

    Raises:
        ArtefactError: as ``push``.
    """
    _, metadata = _prepare(kernel, handle, dataset)
    return make_plan(metadata)


def make_plan(metadata: KernelMetadata) -> PushPlan:
    """What a push with complete metadata would do."""
    command = client.format_command("kernels", "push", "-p", "STAGED")
    return PushPlan(metadata, [command])


def complete_metadata(
    kernel: Path, handle: str | None, dataset: str | None
) -> KernelMetadata:
    """A kernel's metadata with every field set, so that Kaggle has nothing to guess.

    Args:
        kernel, handle, dataset: as in ``push``.

    Raises:
        KitError: a field is missing or violates the competition's rules, or the code
            file is not Python.
    """
    path = kernel / METADATA
    metadata = read_kernel_metadata(kernel)
    if handle:
        metadata = replace(metadata, id=handle)
    if not metadata.id:
        raise ArtefactError(f"{path}: expected an id as OWNER/SLUG, got none; add it")
    if not metadata.competition_sources:
        raise ArtefactError(
            f"{path}: expected the competition in competition_sources, got none; add it"
        )
    script = find_code_file(kernel, metadata)
    if script.suffix == ".py":
        parse(script)
    datasets = [dataset] if dataset else metadata.dataset_sources
    owner = check_handle(datasets[0], DATASET)[0] if datasets else PLACEHOLDER
    owner, slug = check_handle(metadata.id.replace(PLACEHOLDER, owner), KERNEL)
    if owner == PLACEHOLDER:
        raise ArtefactError(
            f"{path}: expected your user name in the id, got {metadata.id}; give --handle "
            f"OWNER/{slug} or --dataset OWNER/SLUG"
        )
    if metadata.machine_shape in RETIRED_MACHINES:
        raise ArtefactError(
            f"{path}: expected a machine that Kaggle offers, got "
            f"{metadata.machine_shape}; set machine_shape to NvidiaTeslaT4"
        )
    kernels = metadata.kernel_sources
    return replace(
        metadata,
        id=f"{owner}/{slug}",
        title=slug,  # Kaggle derives the slug from the title
        dataset_sources=[source.replace(PLACEHOLDER, owner) for source in datasets],
        kernel_sources=[source.replace(PLACEHOLDER, owner) for source in kernels],
    )


def send(kernel: Path, metadata: KernelMetadata, sources: Mapping[str, str]) -> int:
    """Push a kernel folder with the given metadata; return the new version's number.

    Waits while all of the account's GPU sessions are in use.

    Args:
        sources: what a kernel of the kit is told.

    Raises:
        KaggleError: the subclass says what failed. An unknown source is an error, too,
            although the client only warns about it.
    """
    page = f"{client.WEB}/code/{metadata.id}"
    with tempfile.TemporaryDirectory(prefix="kaggle-kit-") as folder:
        code = fill_in(find_code_file(kernel, metadata), sources)
        Path(folder, metadata.code_file).write_bytes(code)
        text = json.dumps(to_json(metadata), indent=2)
        Path(folder, METADATA).write_text(text, "utf-8")

        def try_push() -> tuple[str, UnreachableError | None] | None:
            command = ("kernels", "push", "-p", folder)
            try:
                return client.call(*command, idempotent=False), None
            except UnreachableError as error:  # it may have arrived: do not retry
                return "", error
            except LimitError as error:
                if "session count" not in str(error):
                    raise
                logger.info("%s", error)
                return None

        what = "a free GPU session"
        output, failure = wait_for(try_push, SESSION_TIMEOUT_S, what)
    if failure:
        raise UnreachableError(f"{failure}, unless {page} shows the new version")
    number = re.search(r"Kernel version (\d+) successfully pushed", output)
    if not number:
        raise RefusedError(
            f"{metadata.id}: expected the number of the pushed version, got "
            f"{output.strip()[:200]!r}; look at {page}"
        )
    return int(number[1])


def _prepare(
    kernel: Path | None, handle: str | None, dataset: str | None
) -> tuple[Path, KernelMetadata]:
    """Check a kernel folder before anything is sent; return it with its metadata."""
    kernel = find_kernel(Path(kernel) if kernel else None)
    metadata = complete_metadata(kernel, handle, dataset)
    require_one_competition(kernel, metadata)
    check_output_folders(metadata.id)
    return kernel, metadata


def _find_bundle(script: Path, metadata: KernelMetadata) -> Manifest | None:
    """The bundle that a kernel of the kit needs; None if no dataset source is a bundle.

    Raises:
        ArtefactError: several dataset sources are such bundles, or one is damaged.
    """
    manifests = [download_manifest(handle) for handle in metadata.dataset_sources]
    bundles = [manifest for manifest in manifests if manifest]
    kind = "training" if trains(script) else "recognition"
    bundles = [bundle for bundle in bundles if bundle.kind == kind] or bundles
    if len(bundles) > 1:
        raise ArtefactError(
            f"{metadata.id}: expected one {kind} bundle in dataset_sources, got "
            f"{' and '.join(bundle.info.dataset for bundle in bundles)}; keep the one that "
            f"is meant, or name it with --dataset"
        )
    return bundles[0] if bundles else None


def _existing_kernel_sources(metadata: KernelMetadata) -> list[str]:
    """The kernel sources; without the kernel itself if it has no output yet.

    A training kernel names itself as a source, to resume from the output of its previous
    version. The first version has none.
    """
    sources = metadata.kernel_sources
    if metadata.id not in sources:
        return sources
    try:
        has_output = 'COMPLETE"' in client.call("kernels", "status", metadata.id)
    except RulesError:  # the kernel does not exist yet
        has_output = False
    return [source for source in sources if has_output or source != metadata.id]
