"""Folders that all processes of one test run share, each made once."""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kaggle_kit.storage.locks import lock


class Shared:
    """What the fixtures of a test run have made, whichever process made it.

    Read only: a test that changes a folder copies it.
    """

    def __init__(self, root: Path):
        self.root = root

    def make(self, name: str, stage: Callable[[Path], Any]) -> tuple[Path, Any]:
        """The folder or file ``name`` and what ``stage`` returned when it was made there.

        Other processes wait until it is there; after a stage that failed the next one
        tries again.
        """
        path = self.root / name / name
        returned = self.root / name / "returned.pickle"
        with lock(self.root / name / "lock", wait=True):
            if not returned.exists():
                if path.is_dir():
                    shutil.rmtree(path)
                value = stage(path)
                part = returned.with_suffix(".part")
                part.write_bytes(pickle.dumps(value))
                part.rename(returned)
        return path, pickle.loads(returned.read_bytes())
