"""Landmark training, offline: goes on with its last version's output, and ends in time."""

import json
import os
import sys
import time
from pathlib import Path

BEGAN = time.monotonic()
VERSION = "0.2.0"  # of kaggle_kit, which this kernel came with
INTERFACE = 1  # of its module kernel, which this kernel was written for
STOP_S = float(os.environ.get("KAGGLE_KIT_STOP_AFTER_S", "41400"))  # of 12 h, 11.5
INPUT = Path(os.environ.get("KAGGLE_KIT_INPUT", "/kaggle/input"))


def find(name: str) -> Path:
    """The folder with a file; where Kaggle mounts a source is not the same always."""
    level = [INPUT]
    for _ in range(6):
        for folder in level:
            if (folder / name).exists():
                return folder
        below = [child for folder in level for child in sorted(folder.iterdir())]
        level = [c for c in below if c.is_dir() and c.name not in ("train", "test")]
    raise SystemExit(f"no folder with {name} in {INPUT}: add it as input")


bundle = find("kit-manifest.json")
if not (bundle / "kaggle_kit" / "kernel.py").exists():
    manifest = json.loads((bundle / "kit-manifest.json").read_text("utf-8"))
    made = manifest.get("kit", {}).get("version", "an unknown version")
    do = "make the bundle again with kaggle-kit bundle and publish it"
    raise SystemExit(f"kernel of kaggle_kit {VERSION}, bundle of {made}: {do}")
sys.path.insert(0, str(bundle))

from kaggle_kit import kernel  # from the bundle, and nothing else of it

kernel.check(VERSION, INTERFACE)
kernel.train(INPUT, bundle, BEGAN + STOP_S)
