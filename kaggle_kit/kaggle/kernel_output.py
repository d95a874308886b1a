"""What a pushed kernel left: waited for, brought home, checked."""

import hashlib
import json
import logging
import re
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from kaggle_kit.errors import (
    ArtefactError,
    IncompleteError,
    KitError,
    RefusedError,
    RulesError,
)
from kaggle_kit.kaggle import client
from kaggle_kit.kaggle.checks import check_folder, check_text
from kaggle_kit.kaggle.dataset import remote_file
from kaggle_kit.metrics.score import validate
from kaggle_kit.storage.files import atomic_write_dir, replaceable
from kaggle_kit.storage.json_files import json_text
from kaggle_kit.storage.manifest import MANIFEST

logger = logging.getLogger(__name__)
PUSHED = "push.json"  # in the folder of what a version left
SUBMISSIONS = Path("submissions")
RUN_S = 13 * 3600.0  # a session's 12 hours, and some in the queue
FETCHES = 3
STALE_LOOKS = 3  # an ending seen this often is the new session's, not the one before
ENDED = {"complete", "error", "cancel_acknowledged"}
SESSION = "session.json"  # what a training kernel leaves in place of a submission
_DAMAGE = (
    *(OSError, ValueError, RecursionError),
    *(KeyError, TypeError, AttributeError),
)


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
        ArtefactError: what has been fetched is damaged.
    """
    kernel = metadata["id"]
    slug = kernel.split("/")[1]
    folder = SUBMISSIONS / f"{slug}-v{version}"
    fetched = read_pushed(kernel, version)
    if fetched is not None:
        return fetched
    ending = client.wait(
        _ending_of(kernel), RUN_S, f"kernel {kernel} version {version}"
    )
    with atomic_write_dir(folder, PUSHED) as part:
        _fetch(kernel, part)
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
        (part / PUSHED).write_text(json_text(result), encoding="utf-8")
    return result


def read_pushed(kernel: str, version: int) -> dict[str, Any] | None:
    """What ``collect`` returned of a version; None if it has not been fetched.

    Args:
        kernel: owner/slug.

    Raises:
        ArtefactError: it is damaged, or of another kernel.
    """
    path = SUBMISSIONS / f"{kernel.split('/')[1]}-v{version}" / PUSHED
    if not path.exists():
        return None
    try:
        said: dict[str, Any] = json.loads(path.read_text("utf-8"))
        of = (said.get("kernel", kernel), said.get("version", version))
        if of != (kernel, version):
            raise ValueError(f"{of[0]} version {of[1]}")
        for name in ("config", "commit", "bundle"):  # which go into the ledger
            check_text(name, said.get(name) or "")
        float(said.get("local_gap") or 0)
    except (*_DAMAGE, KitError) as error:
        raise ArtefactError(
            f"{path}: expected what {kernel} version {version} left, got {error!r:.200}; "
            f"move the folder away"
        ) from None
    return said


def check_room(kernel: str) -> None:
    """See that what a version will leave can be kept, before it is pushed.

    Args:
        kernel: owner/slug.

    Raises:
        ArtefactError: ``submissions`` cannot be written to, or holds, where a version
            belongs, something else.
    """
    check_folder(SUBMISSIONS)
    for folder in sorted(SUBMISSIONS.glob(f"{kernel.split('/')[1]}-v*")):
        number = re.fullmatch(r"[1-9]\d*", folder.name.rpartition("-v")[2])
        if number is None:
            continue
        if not replaceable(folder, PUSHED):
            raise ArtefactError(
                f"{folder}: expected what a version of {kernel} left, with {PUSHED}, found "
                f"other files; move it away"
            )
        read_pushed(kernel, int(number[0]))


def sample_of(slug: str, folder: Path) -> Path:
    """Fetch a competition's ``sample_submission.csv`` into a folder.

    Raises:
        KaggleError: there is none, or it did not arrive.
    """
    path = folder / "sample_submission.csv"
    client.call("competitions", "download", slug, "-f", path.name, "-p", str(folder))
    packed = path.with_name(f"{path.name}.zip")
    try:
        if packed.is_file():  # which Kaggle makes of large ones
            shutil.unpack_archive(packed, folder)
    except (shutil.ReadError, OSError, zipfile.BadZipFile):
        pass
    if not path.is_file():
        raise IncompleteError(
            f"{slug}: expected {path.name}, got no such file; run the same command again"
        )
    return path


def _fetch(kernel: str, folder: Path) -> None:
    """Fetch the output of a kernel's newest version.

    The client keeps what the storage answers, be it an error: a file that begins as one
    is fetched once more.

    Raises:
        IncompleteError: it is an error again.
    """
    for _ in range(FETCHES):
        client.call("kernels", "output", kernel, "-p", str(folder), "-o")
        files = [path for path in folder.rglob("*") if path.is_file()]
        wrong = [path.name for path in files if _begins_as_error(path)]
        if not wrong:
            return
    raise IncompleteError(
        f"{kernel}: expected the content of {wrong[0]}, got an error of Kaggle's storage; "
        f"run the same command again later"
    )


def _begins_as_error(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(5) in (b"<?xml", b"<Erro", b"<html", b"<!DOC")


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
        try:
            return {"session": json.loads(session.read_text("utf-8"))}
        except _DAMAGE as error:
            raise IncompleteError(
                f"{kernel}: expected JSON in {SESSION}, got {error!r:.200}; read its log"
            ) from None
    if not submission.is_file() or not competitions:
        raise IncompleteError(
            f"{kernel}: expected submission.csv in its output, found "
            f"{sorted(p.name for p in folder.iterdir())[:5]}; read its log"
        )
    with tempfile.TemporaryDirectory(prefix="kaggle-kit-") as place:
        sample = sample_of(competitions[0], Path(place))
        return validate(submission, sample).as_json()


def _bundle_of(metadata: dict[str, Any]) -> dict[str, Any]:
    """What the ledger wants to know of the bundle that the kernel ran with."""
    for handle in metadata["dataset_sources"]:
        try:
            raw = remote_file(handle, MANIFEST)
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
        except (RulesError, IncompleteError, *_DAMAGE):  # another dataset
            continue
    return {}
