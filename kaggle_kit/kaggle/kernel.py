"""Push a kernel, wait for it, and bring home what it left."""

import json
import logging
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

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
from kaggle_kit.kaggle.kernel_output import check_room, collect
from kaggle_kit.storage.files import package_path

logger = logging.getLogger(__name__)
METADATA = "kernel-metadata.json"
SOURCES = ("dataset_sources", "competition_sources", "kernel_sources", "model_sources")
ROOM_S = 12 * 3600.0
RETIRED = {"NvidiaTeslaP100", "TpuV38", "Tpu1VmV38"}


def push(
    kernel: Path | None = None,
    handle: str | None = None,
    dataset: str | None = None,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Push a kernel folder, wait until it has run, and fetch and check its output.

    The metadata goes up written in full; the folder itself is not changed.

    Args:
        kernel: its folder; the kit's inference kernel if None.
        handle: the kernel's owner/slug; else its metadata's, whose INSERT_OWNER becomes
            the dataset's owner.
        dataset: the bundle's owner/slug, in place of the metadata's dataset sources.
        dry_run: send nothing; ``metadata`` and ``commands`` say what would be.

    Returns:
        kernel, version, and what ``collect`` returns.

    Raises:
        ArtefactError: the folder or its metadata is not what Kaggle takes, or there is no
            place for the output.
        KaggleError: by its kind. No submission was spent in any case.
    """
    kernel = Path(kernel or package_path("kernels") / "inference")
    metadata = completed(kernel, handle, dataset)
    check_room(metadata["id"])
    if dry_run:
        command = client.shown("kernels", "push", "-p", "STAGED")
        return {"metadata": metadata, "commands": [command]}
    metadata["kernel_sources"] = _reachable(metadata)
    version = send(kernel, metadata)
    return collect(metadata, version)


def completed(kernel: Path, handle: str | None, dataset: str | None) -> dict[str, Any]:
    """The metadata of a kernel folder with every field that Kaggle would guess at.

    Raises:
        ArtefactError: a field is missing or not what the competition allows, or the code
            file is not Python.
    """
    path = kernel / METADATA
    metadata = _read(path, {"id": handle} if handle else {})
    given = metadata["id"]
    script = kernel / metadata["code_file"]
    if not script.is_file():
        raise ArtefactError(f"{script}: expected the kernel's code file, found none")
    if script.suffix == ".py":
        parse(script)
    sources = [dataset] if dataset else list(metadata.get("dataset_sources", []))
    owner = check_handle(sources[0], DATASET)[0] if sources else PLACEHOLDER
    owner, slug = check_handle(given.replace(PLACEHOLDER, owner), KERNEL)
    if owner == PLACEHOLDER:
        raise ArtefactError(
            f"{path}: expected your name in the id, got {given}; give --handle OWNER/{slug}"
            f" or --dataset OWNER/SLUG"
        )
    sources = [source.replace(PLACEHOLDER, owner) for source in sources]
    own = metadata.get("kernel_sources", [])
    shape = metadata.get("machine_shape", "NvidiaTeslaT4")
    if str(metadata.get("enable_internet")).lower() != "false":
        raise ArtefactError(
            f"{path}: expected enable_internet false, got "
            f"{metadata.get('enable_internet')}; the competition does not allow it"
        )
    if shape in RETIRED:
        raise ArtefactError(
            f"{path}: expected a machine that Kaggle still has, got {shape}; set "
            f"machine_shape to NvidiaTeslaT4"
        )
    return {
        "id": f"{owner}/{slug}",
        "title": slug,  # Kaggle makes the slug from it
        "code_file": metadata["code_file"],
        "language": metadata.get("language", "python"),
        "kernel_type": metadata.get("kernel_type", "script"),
        "is_private": bool(metadata.get("is_private", True)),
        "enable_gpu": bool(metadata.get("enable_gpu", True)),
        "enable_tpu": bool(metadata.get("enable_tpu", False)),
        "enable_internet": False,
        "machine_shape": shape,
        "dataset_sources": sources,
        "competition_sources": list(metadata.get("competition_sources", [])),
        "kernel_sources": [source.replace(PLACEHOLDER, owner) for source in own],
        "model_sources": list(metadata.get("model_sources", [])),
        "keywords": [],
    }


def _read(path: Path, changes: dict[str, str]) -> dict[str, Any]:
    """A kernel's metadata with changes, once what is used of them is of the right kind."""
    try:
        metadata: dict[str, Any] = json.loads(path.read_text("utf-8")) | changes
        if Path(metadata["code_file"]).name != metadata["code_file"]:
            raise ValueError(f"code_file {metadata['code_file']!r}")
        for name in ("id", *SOURCES):
            values = metadata.get(name, []) if name in SOURCES else [metadata[name]]
            if not isinstance(values, list) or not all(
                isinstance(value, str) for value in values
            ):
                raise TypeError(f"{name} {values!r}")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtefactError(
            f"{path}: expected a kernel's metadata with an id, a code_file beside it and "
            f"lists of sources, got {error!r:.200}; correct it"
        ) from None
    if not metadata.get("competition_sources"):
        raise ArtefactError(
            f"{path}: expected the competition in competition_sources, got none; add it"
        )
    return metadata


def _reachable(metadata: dict[str, Any]) -> list[str]:
    """The kernel sources; itself only once it has left something.

    A training kernel names itself, to go on with what its last version left; its first
    version has none.
    """
    own, sources = metadata["id"], metadata["kernel_sources"]
    if own not in sources:
        return sources
    try:
        ran = 'COMPLETE"' in client.call("kernels", "status", own)
    except RulesError:  # there is no such kernel yet
        ran = False
    return sources if ran else [source for source in sources if source != own]


def send(kernel: Path, metadata: dict[str, Any]) -> int:
    """Push a kernel with the metadata given; the number of its new version.

    Where all of the account's GPU sessions are taken, it waits for one. A source that
    Kaggle does not know is an error, though the client pushes on without it.

    Raises:
        KaggleError: by its kind.
    """
    with tempfile.TemporaryDirectory(prefix="kaggle-kit-") as folder:
        shutil.copyfile(
            kernel / metadata["code_file"], Path(folder, metadata["code_file"])
        )
        Path(folder, METADATA).write_text(json.dumps(metadata, indent=2), "utf-8")

        unclear: list[UnreachableError] = []

        def pushed() -> str | None:
            try:
                return client.call("kernels", "push", "-p", folder, repeatable=False)
            except UnreachableError as error:  # it may have arrived: not to be repeated
                unclear.append(error)
                return ""
            except LimitError as error:
                if "session count" not in str(error):
                    raise
                logger.info("%s", error)
                return None

        said = client.wait(pushed, ROOM_S, "a free GPU session")
    if unclear:
        raise UnreachableError(
            f"{unclear[0]}, unless {client.WEB}/code/{metadata['id']} shows the new version"
        )
    number = re.search(r"Kernel version (\d+) successfully pushed", said)
    if not number:
        raise RefusedError(
            f"{metadata['id']}: expected the number of the pushed version, got "
            f"{said.strip()[:200]!r}; look at {client.WEB}/code/{metadata['id']}"
        )
    return int(number[1])
