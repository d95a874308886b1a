"""The real client, and what its tests give it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from tests.helpers.standin.server import Kaggle

CLIENT = shutil.which("kaggle", path=str(Path(sys.executable).parent)) or ""
SLUG = "landmark-recognition-2021"
KERNEL = "tester/landmark-inference"
FILES = {
    "train.csv": b"id,landmark_id\n0108dac4511cf183,7\n",
    "train/0/1/0/0108dac4511cf183.jpg": bytes(range(256)) * 40,
    "sample_submission.csv": b"id,landmarks\n",
}


class Client:
    """The real client, talking to one stand-in."""

    def __init__(self, kaggle: Kaggle, home: Path):
        self.kaggle, self.home = kaggle, home
        self.env = kaggle.env(home)

    def __call__(self, *argv: object, rc: int | None = 0):
        """Run a command, which must return ``rc`` unless that is None."""
        done = subprocess.run(
            [CLIENT, "-W", *map(str, argv)],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert rc in (None, done.returncode), (argv, done.stdout, done.stderr)
        return done


def kernel_dir(tmp_path: Path, **changes) -> Path:
    """A folder that the client can push."""
    out = tmp_path / "kernel"
    out.mkdir(exist_ok=True)
    (out / "run.py").write_text("print('hello')\n")
    metadata = {
        "id": KERNEL,
        "title": "landmark-inference",
        "code_file": "run.py",
        "language": "python",
        "kernel_type": "script",
        "enable_gpu": True,
        "enable_internet": False,
        "dataset_sources": ["tester/landmark-kit"],
        "competition_sources": [SLUG],
    }
    (out / "kernel-metadata.json").write_text(json.dumps(metadata | changes))
    return out
