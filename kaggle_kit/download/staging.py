"""The folder ``.download``, where files lie until they are whole.

One run at a time holds its lock, and so does every client that the run starts: a client
that outlives a killed run still writes, and the next run waits until it has ended. What
such clients left whole is then taken, not fetched again.
"""

import fcntl
import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from kaggle_kit.errors import ArtefactError, DataError, WaitError
from kaggle_kit.kaggle import client
from kaggle_kit.storage.csv_files import write_rows
from kaggle_kit.storage.files import atomic_write
from kaggle_kit.storage.json_files import read_json

logger = logging.getLogger(__name__)
FOLDER = ".download"
SIDECAR = ".kaggle-partial"  # beside a file that the client has not finished
HEADS = (b"PK", b"\xff\xd8")  # how archives and JPEGs begin; no error page does
TRIES = 8  # some four minutes of patience with "too many requests"
WAIT_S = 600.0  # for the clients of a killed run
POLL_S = 0.2
RESERVE = 200 * 2**20  # bytes that are always left free


@dataclass
class Stage:
    """The staging folder of a download, held by this run; see ``held``."""

    root: Path
    source: str
    descriptor: int
    _claiming: threading.Lock = field(default_factory=threading.Lock)

    @property
    def folder(self) -> Path:
        """Where files lie until they are whole."""
        return self.root / FOLDER

    def call(
        self,
        *args: str,
        watch: Callable[[], None] | None = None,
        before: Callable[[], None] | None = None,
    ) -> str:
        """``client.call`` of a client that holds the lock as long as it lives."""
        return client.call(
            *args,
            watch=watch,
            before=before,
            pass_fds=[self.descriptor],
            tries=TRIES,
        )

    def place(self, path: Path, name: str) -> None:
        """Move a whole file to ``name`` below the root, where it appears at once."""
        with self._claiming:
            if not (self.folder / "source").exists():
                with atomic_write(self.folder / "source") as part:
                    part.write_text(self.source, "utf-8")
        target = self.root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)

    def fresh_dir(self, name: str) -> Path:
        """An empty folder of the stage."""
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def require_room(self, n_bytes: int, what: str) -> None:
        """Refuse to begin what the disk cannot hold.

        Raises:
            DataError: less is free than ``n_bytes`` and a reserve.
        """
        free = free_bytes(self.root)
        if free < n_bytes + RESERVE:
            raise DataError(
                f"{self.root}: expected {size_text(n_bytes + RESERVE)} free for {what}, "
                f"found {size_text(free)}; make room, then run the same command again"
            )

    def _require_same_source(self) -> None:
        path = self.folder / "source"
        source = path.read_text("utf-8") if path.exists() else self.source
        if source != self.source:
            raise ArtefactError(
                f"{self.root}: expected a folder for {self.source}, found photos of "
                f"{source}; choose another --out"
            )


class Broken:
    """The photos that came whole and yet do not decode, kept over interruptions."""

    def __init__(self, stage: Stage):
        self._journal = stage.folder / "broken.txt"
        self._out = stage.root / "download.broken.csv"
        self._lock = threading.Lock()

    def add(self, name: str, reason: str) -> None:
        """Note a photo, before it is put in its place."""
        with self._lock, self._journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps([name, reason]) + "\n")

    def write(self) -> int:
        """Write ``download.broken.csv`` (file, reason) if there are any; how many."""
        rows: dict[str, str] = {}
        if self._journal.exists():
            for line in self._journal.read_text("utf-8").splitlines():
                with suppress(ValueError):  # a line cut by the end of a killed run
                    name, reason = json.loads(line)
                    rows[name] = reason
        if rows:
            write_rows(self._out, ("file", "reason"), sorted(rows.items()))
            logger.warning("%d photos do not decode: see %s", len(rows), self._out)
        return len(rows)


@contextmanager
def held(root: Path, source: str) -> Iterator[Stage]:
    """The staging folder of ``root``, for as long as no other run uses it.

    Raises:
        ArtefactError: the folder holds photos of another source.
        WaitError: another run, or a client that one left behind, does not end.
    """
    root = Path(root)
    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    with (root / FOLDER / "lock").open("wb") as lock:
        stage = Stage(root, source, lock.fileno())
        stage._require_same_source()
        _wait_for(lock.fileno(), root)
        stage._require_same_source()
        yield stage


def free_bytes(folder: Path) -> int:
    """How many bytes the disk of a folder has left."""
    return shutil.disk_usage(folder).free


def size_text(n_bytes: float) -> str:
    """A size for people.

    >>> size_text(1_530_000_000), size_text(2_000_000)
    ('1.5 GB', '2.0 MB')
    """
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"


def is_partial(path: Path) -> bool:
    """Whether the client has not finished a file."""
    return path.with_name(path.name + SIDECAR).exists()


def partial_size(path: Path) -> int | None:
    """How large the file will be that the client is writing, if it noted that."""
    try:
        noted = read_json(path.with_name(path.name + SIDECAR))
        return int(noted["size"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def drop_unfit(path: Path) -> None:
    """Delete a partial file that the client would go on with, to a damaged end.

    Versions up to 2.2.4 write the storage's error page over a partial file when a signed
    address has run out, and later append the rest of the file to that page.
    """
    sidecar = path.with_name(path.name + SIDECAR)
    size = partial_size(path)
    have = path.stat().st_size if path.exists() else 0
    with suppress(FileNotFoundError), path.open("rb") as file:
        if file.read(2) in HEADS and size is not None and have < size:
            return
    path.unlink(missing_ok=True)
    sidecar.unlink(missing_ok=True)


def _wait_for(descriptor: int, root: Path) -> None:
    end = time.monotonic() + WAIT_S
    said = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            pass
        if time.monotonic() > end:
            raise WaitError(
                f"{root}: expected no other download into this folder, found one that "
                f"goes on after {WAIT_S:.0f} s; wait for it or end it, then run the same "
                f"command again"
            )
        if not said:
            logger.info("%s: waiting for another download into it to end", root)
            said = True
        time.sleep(POLL_S)
