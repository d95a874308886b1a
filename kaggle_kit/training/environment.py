"""What a run depends on besides its config: versions, commit and machine."""

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import kaggle_kit
from kaggle_kit.storage.json_files import JsonObject

PACKAGES = ("tensorflow", "keras", "keras-cv", "numpy", "pandas")


@dataclass(frozen=True)
class Environment(JsonObject):
    """The versions, the commit and the machine of a process.

    Attributes:
        kaggle_kit: version of the kit.
        commit: of the checkout; None if the kit is installed.
        python: version.
        packages: version of each package in ``PACKAGES``.
        machine: processor architecture.
        cores: number of CPU cores.
    """

    kaggle_kit: str
    commit: str | None
    python: str
    packages: dict[str, str]
    machine: str
    cores: int | None


def read_environment() -> Environment:
    """The versions, the commit and the machine of this process."""
    package = Path(kaggle_kit.__file__).parent
    git = shutil.which("git")
    commit = None
    if git and (package.parent / ".git").exists():
        command = [git, "-C", str(package.parent), "rev-parse", "HEAD"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        commit = done.stdout.strip() or None
    return Environment(
        kaggle_kit.__version__,
        commit,
        platform.python_version(),
        {name: metadata.version(name) for name in PACKAGES},
        platform.machine(),
        os.cpu_count(),
    )
