"""The saved run of a pushed kernel: its output folder and its ``push.json``."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kaggle_kit.errors import ArtefactError, KitError
from kaggle_kit.kaggle.checks import check_text, check_writable
from kaggle_kit.metrics.score import Validation
from kaggle_kit.storage import json_files
from kaggle_kit.storage.folders import FolderKind
from kaggle_kit.storage.json_files import INLINE, OPTIONAL

RESULT = "push.json"  # in the output folder of a version
OUTPUT = FolderKind(RESULT)
SUBMISSIONS = Path("submissions")
COUNTS = ("valid", "n_images", "n_guesses")  # the keys that ``validate`` returns
_MALFORMED = (*json_files.DAMAGE, KeyError, TypeError, AttributeError)


@dataclass(frozen=True, slots=True)
class BundleInfo:
    """What the ledger records about the bundle that a kernel ran with."""

    dataset: str  # owner/slug
    bundle: str  # the first 12 hex digits of the SHA-256 of its manifest
    config: str | None
    commit: str | None
    local_gap: float | None


@dataclass(frozen=True, slots=True)
class KernelRun:
    """A version of a kernel that has run, and its output; saved as ``push.json``."""

    kernel: str  # owner/slug
    version: int
    folder: str  # where its output is
    # The counts that ``validate`` returns
    submission: Validation | None = field(default=None, metadata=INLINE)
    # The ``session.json`` of a training kernel
    session: Mapping[str, Any] | None = field(default=None, metadata=OPTIONAL)
    # None if no dataset source is a bundle
    bundle: BundleInfo | None = field(default=None, metadata=INLINE)


def output_folder(kernel: str, version: int) -> Path:
    """Where the output of a version of a kernel (owner/slug) is saved."""
    return SUBMISSIONS / f"{kernel.split('/')[1]}-v{version}"


def read_kernel_run(kernel: str, version: int) -> KernelRun | None:
    """The saved result of ``collect``; None if the version was not downloaded yet.

    Args:
        kernel: owner/slug.

    Raises:
        ArtefactError: the file is damaged, or is of another kernel or version.
    """
    path = output_folder(kernel, version) / RESULT
    if not path.exists():
        return None
    try:
        values = json_files.read_json(path)
        origin = (values.get("kernel", kernel), values.get("version", version))
        if origin != (kernel, version):
            raise ValueError(f"{origin[0]} version {origin[1]}")
        counts = None
        if all(name in values for name in COUNTS):
            counts = Validation(*(values[name] for name in COUNTS))
        return KernelRun(
            *(kernel, version, str(path.parent)),
            submission=counts,
            session=values.get("session"),
            bundle=_parse_bundle_info(values),
        )
    except (*_MALFORMED, KitError) as error:
        raise ArtefactError(
            f"{path}: expected the output of {kernel} version {version}, got "
            f"{error!r:.200}; move the folder away"
        ) from None


def check_output_folders(kernel: str) -> None:
    """Check that the output of a new version can be saved, before it is pushed.

    Args:
        kernel: owner/slug.

    Raises:
        ArtefactError: ``submissions`` cannot be written to, or a version's folder in it
            holds other files.
    """
    check_writable(SUBMISSIONS)
    for folder in sorted(SUBMISSIONS.glob(f"{kernel.split('/')[1]}-v*")):
        number = re.fullmatch(r"[1-9]\d*", folder.name.rpartition("-v")[2])
        if number is None:
            continue
        if not OUTPUT.is_replaceable(folder):
            raise ArtefactError(
                f"{folder}: expected the output of {kernel}, which has {RESULT}, found "
                f"other files; move the folder away"
            )
        read_kernel_run(kernel, int(number[0]))


def _parse_bundle_info(values: dict[str, Any]) -> BundleInfo | None:
    """The bundle's part of ``push.json``; None if it has no such keys."""
    if not values.keys() & {"dataset", "bundle", "config", "commit", "local_gap"}:
        return None
    gap = values.get("local_gap")
    if gap is not None and (isinstance(gap, bool) or not 0 <= gap <= 1):
        raise ValueError(f"local_gap {gap!r:.40}")
    return BundleInfo(
        dataset=_parse_text(values, "dataset") or "",
        bundle=_parse_text(values, "bundle") or "",
        config=_parse_text(values, "config"),
        commit=_parse_text(values, "commit"),
        local_gap=gap,
    )


def _parse_text(values: dict[str, Any], name: str) -> str | None:
    """A text that the ledger can hold; None if it is null or missing."""
    text = values.get(name)
    if text is not None and not isinstance(text, str):
        raise TypeError(f"{name} {text!r}")
    check_text(name, text or "")
    return text
