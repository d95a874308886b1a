"""Commands among mounts of their own, and as another user: what only root can try."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kaggle_kit.errors import KitError

ROOT = Path(__file__).parents[2]
CANNOT = 77  # the exit code of a script whose mounts are not possible here
OTHER_USER = 12345  # without an entry
KIT = f"{sys.executable} -m kaggle_kit"


def run_among_mounts(
    folder: Path, mounts: str, script: str
) -> subprocess.CompletedProcess[str]:
    """Run a Bash script in a namespace of its own, after its mounts; skip without them.

    Args:
        folder: where it runs.
        mounts: commands that mount.
        script: has ``$KIT`` for the kit's command line, ``$PYTHON`` for Python.
    """
    if os.geteuid():
        pytest.skip("mounts need root")
    text = (
        f"mount --make-rprivate / && {{ {mounts}\n}} || exit {CANNOT}\n"
        f"set +e\n{script}\n"
    )
    environment = os.environ | {"KIT": KIT, "PYTHON": sys.executable}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        ["unshare", "--mount", "bash", "-e", "-c", text],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == CANNOT or "unshare failed" in done.stderr:
        pytest.skip(f"this cannot be mounted here: {done.stderr.strip()[:200]}")
    return done


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that any user may enter and write to."""
    with tempfile.TemporaryDirectory(prefix="kaggle-kit-") as name:
        Path(name).chmod(0o777)
        yield Path(name)


def run_as_user(folder: Path, function: Callable[[], object]) -> str:
    """Call a function in a folder as an ordinary user: another one, if this is root.

    It runs in a fork of this process, since the other user may not be able to read Python.

    Returns:
        The error that it raised; empty if none.
    """
    import filelock  # noqa: F401  # while it can be read

    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        error = "an error that no user can cause"
        try:
            os.chdir(folder)
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(OTHER_USER)
                os.setuid(OTHER_USER)
            function()
            error = ""
        except (OSError, KitError) as caught:
            error = f"{type(caught).__name__}: {caught}"
        finally:
            os.write(writing, error.encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        text = answer.read().decode()
    os.waitpid(child, 0)
    return text
