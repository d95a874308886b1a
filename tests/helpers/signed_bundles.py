"""Rewrite the manifest of a bundle that a test has changed."""

import json
import shutil
from pathlib import Path
from typing import Any

from kaggle_kit import config
from kaggle_kit.storage.manifest import MANIFEST, describe_file, upload_names

TINY = {
    "name": "tiny",
    "made_with": [{"commit": "0123abc"}],
    "validation": {"gap": 0.75},
    "test": None,
}


def sign(folder: Path) -> None:
    """List the files of a folder in its manifest; other entries of it are preserved."""
    path = folder / MANIFEST
    manifest = json.loads(path.read_text("utf-8")) if path.exists() else TINY
    names = [name for name in upload_names(folder) if name != MANIFEST]
    files = {name: describe_file(folder / name).as_json() for name in names}
    path.write_text(json.dumps(manifest | {"files": files}), "utf-8")


def with_settings(bundle: Path, out: Path, changes: dict[str, Any]) -> Path:
    """Copy a bundle and change its settings."""
    shutil.copytree(bundle, out)
    settings = config.override(config.read_json(out / "config.json"), changes)
    config.write_json(settings, out / "config.json")
    sign(out)
    return out
