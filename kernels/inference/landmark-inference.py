"""Landmark recognition, offline: find the competition and the bundle, write the guesses."""

import logging
import os
import sys
from pathlib import Path

INPUT = Path(os.environ.get("KAGGLE_KIT_INPUT", "/kaggle/input"))


def find(*names: str) -> Path:
    """The folder with all names; where Kaggle mounts a source is not the same always."""
    level = [INPUT]
    for _ in range(6):
        for folder in level:
            if all((folder / name).exists() for name in names):
                return folder
        below = [child for folder in level for child in sorted(folder.iterdir())]
        level = [c for c in below if c.is_dir() and c.name not in ("train", "test")]
    raise SystemExit(f"no folder with {', '.join(names)} in {INPUT}: add it as input")


logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
bundle = find("kit-manifest.json")
competition = find("sample_submission.csv", "train.csv")
sys.path.insert(0, str(bundle))

from kaggle_kit.recognition.predict import predict  # from the bundle

predict(bundle, competition, Path("submission.csv"))
