"""Offline landmark recognition: finds the bundle and writes submission.csv."""

import json
import os
import sys
import time
from pathlib import Path

START = time.monotonic()
VERSION = "0.2.0"  # the version of kaggle_kit that published this kernel
INTERFACE = 1  # kaggle_kit.kernel.INTERFACE that this kernel was written for
LIMIT_S = float(os.environ.get("KAGGLE_KIT_TIME_LIMIT_S", "43200"))  # 12 hours
INPUT = Path(os.environ.get("KAGGLE_KIT_INPUT", "/kaggle/input"))


def find(name: str) -> Path:
    """The folder that has a file. Kaggle mounts inputs at varying depths."""
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
    version = manifest.get("kit", {}).get("version", "an unknown version")
    remedy = "make the bundle again with kaggle-kit bundle and publish it"
    raise SystemExit(f"kernel of kaggle_kit {VERSION}, bundle of {version}: {remedy}")
sys.path.insert(0, str(bundle))

from kaggle_kit import kernel  # the only module that a kernel imports

kernel.check(VERSION, INTERFACE)
kernel.infer(INPUT, bundle, START, LIMIT_S)
