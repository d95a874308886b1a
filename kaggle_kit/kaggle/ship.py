"""From a bundle to a row on the leaderboard, and on from where that stopped."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from kaggle_kit.bundling.library import check_fit
from kaggle_kit.errors import ArtefactError, RefusedError, TableError
from kaggle_kit.kaggle.checks import check_text
from kaggle_kit.kaggle.dataset import publish, read_handle
from kaggle_kit.kaggle.kernel import completed, push, send
from kaggle_kit.kaggle.kernel_output import SUBMISSIONS, check_room, collect
from kaggle_kit.kaggle.ledger import LEDGER, check_ledger
from kaggle_kit.kaggle.submit import submit
from kaggle_kit.storage.files import package_path
from kaggle_kit.storage.json_files import write_json
from kaggle_kit.storage.manifest import MANIFEST

logger = logging.getLogger(__name__)
STATE = "ship.json"


def ship(
    bundle: Path,
    kernel: Path | None,
    slug: str,
    message: str,
    dry_run: bool = False,
    ledger: Path = LEDGER,
) -> dict[str, Any]:
    """Publish, push, wait, validate, submit, and wait for the score.

    ``submissions/ship.json`` keeps what has been done for this bundle, kernel and
    competition. Called again after an interruption it asks Kaggle where things stand and
    goes on; nothing is published or submitted twice, and nothing pushed twice but a
    kernel whose version number was never heard. What can be looked at here is looked at
    before anything is sent.

    Args:
        ledger: the file that gets the submission's row.

    Returns:
        What each step returned: dataset, kernel, submission.

    Raises:
        KitError: as the steps do.
    """
    bundle = Path(bundle)
    kernel = Path(kernel or package_path("kernels") / "inference")
    handle = read_handle(bundle)
    metadata = completed(kernel, None, handle)
    if slug not in metadata["competition_sources"]:
        raise ArtefactError(
            f"{kernel}: expected {slug} among its competition_sources, got "
            f"{metadata['competition_sources']}; add it"
        )
    check_fit(bundle, kernel / metadata["code_file"])
    check_text("the message", message)
    check_room(metadata["id"])
    check_ledger(ledger)
    state = _State(bundle, kernel, slug, metadata)
    if dry_run:
        return _planned(bundle, kernel, handle, metadata)
    published = publish(bundle, message)
    state.keep("dataset_version", published["version"])
    if state.get("kernel_version") is None:
        state.keep("kernel_version", send(kernel, metadata))
    version = state.get("kernel_version")
    try:
        ran = collect(metadata, version)
    except (RefusedError, TableError):
        state.keep("kernel_version", None)  # the next call pushes again
        raise
    scored = submit(slug, message, metadata["id"], version, ledger=ledger)
    state.keep("ref", scored["ref"])
    return {"dataset": published, "kernel": ran, "submission": scored}


def _planned(
    bundle: Path, kernel: Path, handle: str, metadata: dict[str, Any]
) -> dict[str, Any]:
    return {
        "dataset": publish(bundle, dry_run=True),
        "kernel": push(kernel, metadata["id"], handle, dry_run=True),
    }


class _State:
    """What has been done, in a file that belongs to one bundle, kernel and competition."""

    def __init__(
        self, bundle: Path, kernel: Path, slug: str, metadata: dict[str, Any]
    ) -> None:
        if not (bundle / MANIFEST).is_file():
            raise ArtefactError(
                f"{bundle}: expected a bundle with {MANIFEST}, found none; run kaggle-kit "
                f"bundle first"
            )
        digest = hashlib.sha256((bundle / MANIFEST).read_bytes())
        digest.update((kernel / metadata["code_file"]).read_bytes())
        digest.update(json.dumps([metadata, slug], sort_keys=True).encode())
        self.path = SUBMISSIONS / STATE
        self.values: dict[str, Any] = {"of": digest.hexdigest()}
        if not self.path.exists():
            return
        try:
            earlier = json.loads(self.path.read_text("utf-8"))
            if earlier["of"] == self.values["of"]:
                int(earlier.get("kernel_version") or 0)
                self.values = earlier
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise ArtefactError(
                f"{self.path}: expected how far a ship has come, got {error!r:.200}; "
                f"remove it to begin anew: the kernel is then pushed again"
            ) from None

    def get(self, name: str) -> Any:
        return self.values.get(name)

    def keep(self, name: str, value: Any) -> None:
        """Remember a value, at once."""
        self.values[name] = value
        write_json(self.values, self.path)
