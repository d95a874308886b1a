"""Push a kernel, wait for it, and bring home what it left."""

import hashlib
import json
import logging
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from kaggle_kit import client
from kaggle_kit.errors import (
    ArtefactError,
    IncompleteError,
    LimitError,
    RefusedError,
    RulesError,
    UnreachableError,
)
from kaggle_kit.paths import shipped, written_dir
from kaggle_kit.publish.dataset import remote_file
from kaggle_kit.publish.manifest import MANIFEST
from kaggle_kit.publish.metadata import DATASET, KERNEL, PLACEHOLDER, check_handle
from kaggle_kit.score import validate

logger = logging.getLogger(__name__)
METADATA = "kernel-metadata.json"
PUSHED = "push.json"  # in the folder of what a version left
SUBMISSIONS = Path("submissions")
RUN_S = 13 * 3600.0  # a session's 12 hours, and some in the queue
ROOM_S = 12 * 3600.0
STALE_LOOKS = 3  # an ending seen this often is the new session's, not the one before
RETIRED = {"NvidiaTeslaP100", "TpuV38", "Tpu1VmV38"}
ENDED = {"complete", "error", "cancel_acknowledged"}
SESSION = "session.json"  # what a training kernel leaves in place of a submission


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
        ArtefactError: the folder or its metadata is not what Kaggle takes.
        KaggleError: by its kind. No submission was spent in any case.
    """
    kernel = Path(kernel or shipped("kernels") / "inference")
    metadata = completed(kernel, handle, dataset)
    if dry_run:
        command = client.shown("kernels", "push", "-p", "STAGED")
        return {"metadata": metadata, "commands": [command]}
    metadata["kernel_sources"] = _reachable(metadata)
    version = send(kernel, metadata)
    return collect(metadata, version)


def completed(kernel: Path, handle: str | None, dataset: str | None) -> dict[str, Any]:
    """The metadata of a kernel folder with every field that Kaggle would guess at.

    Raises:
        ArtefactError: a field is missing or not what the competition allows.
    """
    path = kernel / METADATA
    try:
        metadata = json.loads(path.read_text("utf-8"))
        script = kernel / metadata["code_file"]
        given = handle or metadata["id"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtefactError(
            f"{path}: expected a kernel's metadata with id and code_file, got {error!r}"
        ) from None
    if not script.is_file():
        raise ArtefactError(f"{script}: expected the kernel's code file, found none")
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

        def pushed() -> str | UnreachableError | None:
            try:
                return client.call("kernels", "push", "-p", folder, repeatable=False)
            except UnreachableError as error:  # it may have arrived: not to be repeated
                return error
            except LimitError as error:
                if "session count" not in str(error):
                    raise
                logger.info("%s", error)
                return None

        said: str | UnreachableError
        said = client.wait(pushed, ROOM_S, "a free GPU session")
    if isinstance(said, UnreachableError):
        raise UnreachableError(
            f"{said}, unless {client.WEB}/code/{metadata['id']} shows the new version"
        )
    number = re.search(r"Kernel version (\d+) successfully pushed", said)
    if not number:
        raise RefusedError(
            f"{metadata['id']}: expected the number of the pushed version, got "
            f"{said.strip()[:200]!r}; look at {client.WEB}/code/{metadata['id']}"
        )
    return int(number[1])


def collect(metadata: dict[str, Any], version: int) -> dict[str, Any]:
    """Wait until a pushed version has run, then fetch its output and check it.

    It comes to ``submissions/<slug>-v<version>``, with the result in ``push.json``; what
    has been fetched is not fetched again.

    Returns:
        kernel, version, folder. n_images, n_guesses of its ``submission.csv``; session:
        what a training kernel says of itself in place of these. Of the bundle it ran
        with: dataset, bundle (its manifest's hash), config, commit, local_gap.

    Raises:
        RefusedError: it ended with an error; the log's end has been logged.
        IncompleteError: it left no valid submission.
        TableError: the submission is not one for the competition.
    """
    kernel = metadata["id"]
    slug = kernel.split("/")[1]
    folder = SUBMISSIONS / f"{slug}-v{version}"
    if (folder / PUSHED).exists():
        return json.loads((folder / PUSHED).read_text("utf-8"))
    ending = client.wait(
        _ending_of(kernel), RUN_S, f"kernel {kernel} version {version}"
    )
    with written_dir(folder, PUSHED) as part:
        client.call("kernels", "output", kernel, "-p", str(part), "-o")
        lines = _log_lines(part / f"{slug}.log")
        if ending != "complete":
            for line in lines[-20:]:
                logger.info("| %s", line)
            last = lines[-1] if lines else "nothing in its log"
            raise RefusedError(
                f"{kernel} version {version}: expected it to end by itself, got {ending}: "
                f"{last[:200]}; rehearse the kernel, then push again"
            )
        result = {"kernel": kernel, "version": version, "folder": str(folder)}
        result |= _checked(part, kernel, metadata["competition_sources"])
        result |= _bundle_of(metadata)
        text = json.dumps(result, indent=2) + "\n"
        (part / PUSHED).write_text(text, encoding="utf-8")
    return result


def _ending_of(kernel: str) -> Any:
    """A look at how the newest session ended; None while it has not.

    Right after a push Kaggle may still speak of the session before: an ending counts
    once the new one was seen at work, or when it is all that is seen for a while.
    """
    seen = {"active": False, "looks": 0}

    def look() -> str | None:
        said = client.call("kernels", "status", kernel)
        found = re.search(r'has status "(?:\w+\.)?(\w+)"', said)
        if not found:
            raise RefusedError(
                f"{kernel}: expected a status, got {said.strip()[:200]!r}"
            )
        now = found[1].lower()
        if now not in ENDED:
            seen["active"] = True
            return None
        seen["looks"] += 1
        return now if seen["active"] or seen["looks"] >= STALE_LOOKS else None

    return look


def _log_lines(path: Path) -> list[str]:
    """The lines of a kernel's log, which Kaggle keeps as JSON."""
    if not path.exists():
        return []
    text = path.read_text("utf-8", "replace")
    try:
        text = "".join(entry["data"] for entry in json.loads(text))
    except (ValueError, KeyError, TypeError):
        pass
    return [line for line in text.splitlines() if line.strip()]


def _checked(folder: Path, kernel: str, competitions: list[str]) -> dict[str, Any]:
    """What a version left, once it is what it should be."""
    submission, session = folder / "submission.csv", folder / SESSION
    if not submission.is_file() and session.is_file():
        return {"session": json.loads(session.read_text("utf-8"))}
    if not submission.is_file() or not competitions:
        raise IncompleteError(
            f"{kernel}: expected submission.csv in its output, found "
            f"{sorted(p.name for p in folder.iterdir())[:5]}; read its log"
        )
    with tempfile.TemporaryDirectory(prefix="kaggle-kit-") as sample:
        name = "sample_submission.csv"
        client.call(
            "competitions", "download", competitions[0], "-f", name, "-p", sample
        )
        return validate(submission, _plain(Path(sample, name)))


def _plain(path: Path) -> Path:
    """A downloaded file, unpacked where Kaggle sent it as ``.zip``."""
    packed = path.with_name(f"{path.name}.zip")
    if packed.is_file():
        shutil.unpack_archive(packed, path.parent)
    return path


def _bundle_of(metadata: dict[str, Any]) -> dict[str, Any]:
    """What the ledger wants to know of the bundle that the kernel ran with."""
    for handle in metadata["dataset_sources"]:
        try:
            raw = remote_file(handle, MANIFEST)
        except (RulesError, IncompleteError):  # another dataset
            continue
        manifest = json.loads(raw)
        scores = manifest.get("test") or manifest.get("validation") or {}
        made_with = manifest.get("made_with") or [{}]
        return {
            "dataset": handle,
            "bundle": hashlib.sha256(raw).hexdigest()[:12],
            "config": manifest.get("name"),
            "commit": made_with[0].get("commit"),
            "local_gap": scores.get("gap"),
        }
    return {}
