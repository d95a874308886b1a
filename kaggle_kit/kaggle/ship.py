"""From a bundle to a row on the leaderboard, and on from where that stopped."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from kaggle_kit.errors import (
    ArtefactError,
    RefusedError,
    TableError,
)
from kaggle_kit.kaggle.dataset import publish, read_handle
from kaggle_kit.kaggle.kernel import completed, push, send
from kaggle_kit.kaggle.kernel_output import SUBMISSIONS, collect
from kaggle_kit.kaggle.submit import submit
from kaggle_kit.storage.files import shipped, written
from kaggle_kit.storage.manifest import MANIFEST

logger = logging.getLogger(__name__)
STATE = "ship.json"


def ship(
    bundle: Path,
    kernel: Path | None,
    slug: str,
    message: str,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Publish, push, wait, validate, submit, and wait for the score.

    ``submissions/ship.json`` keeps what has been done for this bundle, kernel and
    competition. Called again after an interruption it asks Kaggle where things stand and
    goes on; nothing is published or submitted twice, and nothing pushed twice but a
    kernel whose version number was never heard.

    Returns:
        What each step returned: dataset, kernel, submission.

    Raises:
        KitError: as the steps do.
    """
    bundle = Path(bundle)
    kernel = Path(kernel or shipped("kernels") / "inference")
    handle = read_handle(bundle)
    metadata = completed(kernel, None, handle)
    if slug not in metadata["competition_sources"]:
        raise ArtefactError(
            f"{kernel}: expected {slug} among its competition_sources, got "
            f"{metadata['competition_sources']}; add it"
        )
    if dry_run:
        return _planned(bundle, kernel, handle, metadata)
    state = _State(bundle, kernel, slug, metadata)
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
    scored = submit(slug, message, metadata["id"], version)
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
        digest = hashlib.sha256((bundle / MANIFEST).read_bytes())
        digest.update((kernel / metadata["code_file"]).read_bytes())
        digest.update(json.dumps([metadata, slug], sort_keys=True).encode())
        self.path = SUBMISSIONS / STATE
        self.values: dict[str, Any] = {"of": digest.hexdigest()}
        try:
            earlier = json.loads(self.path.read_text("utf-8"))
        except (OSError, ValueError):
            return
        if earlier.get("of") == self.values["of"]:
            self.values = earlier

    def get(self, name: str) -> Any:
        return self.values.get(name)

    def keep(self, name: str, value: Any) -> None:
        """Remember a value, at once."""
        self.values[name] = value
        with written(self.path) as part:
            part.write_text(json.dumps(self.values, indent=2) + "\n", encoding="utf-8")
