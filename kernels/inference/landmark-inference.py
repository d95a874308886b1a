"""Landmark recognition, offline: find the competition and the bundle, write the guesses."""

import logging
import os
import sys
import time
from pathlib import Path

BEGAN = time.monotonic()
LIMIT_S = float(os.environ.get("KAGGLE_KIT_TIME_LIMIT_S", "43200"))  # 12 hours
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

from kaggle_kit.storage.tables import read_sample, write_submission  # from the bundle

out = Path("submission.csv")
write_submission(out, read_sample(competition / "sample_submission.csv"), {})

from kaggle_kit.inference.predict import predict  # takes seconds to import

predict(bundle, competition, out, LIMIT_S, BEGAN)
