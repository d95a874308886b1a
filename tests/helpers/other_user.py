"""Run commands as an ordinary user without an entry, as containers do."""

import os
import shutil
import subprocess
import sys
from functools import cache

import pytest

UID = 12345  # of nobody
SKIP = "cannot become a user without an entry here"


@cache
def as_other_user() -> list[str]:
    """The beginning of a command that runs as such a user; the test is skipped without it.

    The user may read what root may, since Python itself can lie in root's home folder.
    """
    setpriv = shutil.which("setpriv")
    if os.name != "posix" or os.geteuid() != 0 or setpriv is None:
        pytest.skip(f"{SKIP}: needs root and setpriv")
    command = [setpriv, f"--reuid={UID}", f"--regid={UID}", "--clear-groups"]
    command += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    probe = [*command, sys.executable, "-c", "import ssl"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip(f"{SKIP}: setpriv is refused")
    return command
