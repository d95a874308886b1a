"""The staging folder ``.download``, where files stay until they are complete.

Only one run at a time uses it. The run holds a file lock, which its clients inherit. A
client that outlives a killed run keeps the lock while it writes, and the next run waits
for it. The next run then uses the complete files that such clients left.
"""

import errno
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
from typing import TYPE_CHECKING

from kaggle_kit.errors import ArtefactError, DataError, WaitError
from kaggle_kit.kaggle import client
from kaggle_kit.storage import flush, places
from kaggle_kit.storage.csv_files import write_rows
from kaggle_kit.storage.files import atomic_write
from kaggle_kit.storage.json_files import read_json
from kaggle_kit.storage.locks import NO_LOCKS

if TYPE_CHECKING:
    from filelock import SoftFileLock

logger = logging.getLogger(__name__)
FOLDER = ".download"
SIDECAR = ".kaggle-partial"  # suffix of the client's file beside an unfinished download
MAGIC_BYTES = (b"PK", b"\xff\xd8")  # of zip files and JPEGs; error pages lack them
TRIES = 8  # about four minutes of retries after "too many requests"
WAIT_TIMEOUT_S = 600.0  # for the clients of a killed run
POLL_S = 0.2
RESERVE = 200 * 2**20  # bytes of disk that are always left free


@dataclass
class StagingFolder:
    """The staging folder of a download, locked by this run; see ``open_staging``.

    Attributes:
        root: the folder of the download.
        source: what is downloaded; a folder holds images of one source only. None: what
            has a folder of its own beside the images of any source.
        descriptor: the lock file.
    """

    root: Path
    source: str | None
    descriptor: int
    _source_lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def folder(self) -> Path:
        """The staging folder itself."""
        return self.root / FOLDER

    def call(
        self,
        *args: str,
        watch: Callable[[], None] | None = None,
        before: Callable[[], None] | None = None,
    ) -> str:
        """``client.call`` with a client that inherits the lock."""
        return client.call(
            *args,
            watch=watch,
            before=before,
            pass_fds=[self.descriptor],
            tries=TRIES,
        )

    def install(self, path: Path, name: str) -> None:
        """Move a complete file atomically to the relative path ``name`` below ``root``.

        Its content is on the disk before; for its name call ``flush.flush_disk``.
        """
        with self._source_lock:
            if self.source and not (self.folder / "source").exists():
                with atomic_write(self.folder / "source") as part:
                    part.write_text(self.source, "utf-8")
        target = self.root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        flush.flush_file(path)
        try:
            os.replace(path, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            with atomic_write(target) as part:  # a folder of images is on another disk
                shutil.copyfile(path, part)
            path.unlink()

    def empty_folder(self, name: str) -> Path:
        """Create an empty folder in the staging folder, replacing an earlier one."""
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def require_space(self, n_bytes: int, what: str) -> None:
        """Check that the disk has space for ``n_bytes`` and the reserve.

        Args:
            what: what needs the space, for the error message.

        Raises:
            DataError: it has less.
        """
        free = free_bytes(self.root)
        if free < n_bytes + RESERVE:
            raise DataError(
                f"{self.root}: expected {format_size(n_bytes + RESERVE)} free for {what}, "
                f"found {format_size(free)}; make room, then run the same command "
                f"again"
            )

    def _require_same_source(self) -> None:
        path = self.folder / "source"
        source = path.read_text("utf-8") if path.exists() else self.source
        if self.source and source != self.source:
            raise ArtefactError(
                f"{self.root}: expected a folder for {self.source}, found images of "
                f"{source}; choose another --out"
            )


class BrokenImages:
    """The downloaded images that do not decode, recorded across interruptions."""

    def __init__(self, staging: StagingFolder):
        self._journal = staging.folder / "broken.txt"
        self._table = staging.root / "download.broken.csv"
        self._lock = threading.Lock()

    def add(self, name: str, reason: str) -> None:
        """Record an image. Call this before the image is installed."""
        with self._lock, self._journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps([name, reason]) + "\n")

    def read(self) -> dict[str, str]:
        """The reason by file, below the root."""
        rows: dict[str, str] = {}
        if self._journal.exists():
            for line in self._journal.read_text("utf-8").splitlines():
                with suppress(ValueError):  # a killed run may leave an incomplete line
                    name, reason = json.loads(line)
                    rows[name] = reason
        return rows

    def write_table(self) -> int:
        """Write ``download.broken.csv`` (file, reason) if there are any; return how many."""
        rows = self.read()
        if rows:
            write_rows(self._table, ("file", "reason"), sorted(rows.items()))
            logger.warning("%d images do not decode: see %s", len(rows), self._table)
        return len(rows)


@contextmanager
def open_staging(root: Path, source: str | None) -> Iterator[StagingFolder]:
    """Lock the staging folder of ``root``; wait while another run uses it.

    Args:
        source: see ``StagingFolder``.

    Raises:
        ArtefactError: the folder holds images of another source.
        WaitError: timed out waiting for another run, or for a client of a killed run.
    """
    root = Path(root)
    places.check_folder(root)
    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    with (root / FOLDER / "lock").open("wb") as lock:
        staging = StagingFolder(root, source, lock.fileno())
        staging._require_same_source()
        with _hold(lock.fileno(), root):
            staging._require_same_source()
            yield staging


def free_bytes(folder: Path) -> int:
    """The free bytes on the disk of a folder."""
    return shutil.disk_usage(folder).free


def format_size(n_bytes: float) -> str:
    """A size in MB or GB.

    >>> format_size(1_530_000_000), format_size(2_000_000)
    ('1.5 GB', '2.0 MB')
    """
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"


def is_partial(path: Path) -> bool:
    """Whether the client has not finished downloading a file."""
    return path.with_name(path.name + SIDECAR).exists()


def expected_size(path: Path) -> int | None:
    """The final size of an unfinished download, if the client recorded it."""
    try:
        sidecar = read_json(path.with_name(path.name + SIDECAR))
        return int(sidecar["size"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def drop_unusable_partial(path: Path) -> None:
    """Delete an unfinished download that the client would resume to a damaged file.

    When a signed URL has expired, versions up to 2.2.4 overwrite the unfinished file
    with an error page, and later append the rest of the real file to that page.
    """
    sidecar = path.with_name(path.name + SIDECAR)
    size = expected_size(path)
    current = path.stat().st_size if path.exists() else 0
    with suppress(FileNotFoundError), path.open("rb") as file:
        if file.read(2) in MAGIC_BYTES and size is not None and current < size:
            return
    path.unlink(missing_ok=True)
    sidecar.unlink(missing_ok=True)


@contextmanager
def _hold(descriptor: int, root: Path) -> Iterator[None]:
    """Hold the lock of a staging folder.

    On a file system without locks, clients that outlive a killed run are not waited for.
    """
    from filelock import SoftFileLock

    end = time.monotonic() + WAIT_TIMEOUT_S
    if _acquire(lambda: _lock_descriptor(descriptor), root, end):
        yield
        return
    soft = SoftFileLock(root / FOLDER / "lock.soft", thread_local=False)
    _acquire(lambda: _lock_softly(soft), root, end)
    try:
        yield
    finally:
        soft.release()


def _acquire(attempt: Callable[[], bool | None], root: Path, end: float) -> bool:
    """Try to lock until that succeeds; False if ``attempt`` returns None: impossible."""
    logged = False
    while not (result := attempt()):
        if result is None:
            return False
        if time.monotonic() > end:
            raise WaitError(
                f"{root}: expected no other download into this folder, found one that "
                f"is still running after {WAIT_TIMEOUT_S:.0f} s; wait for it or stop it, "
                f"then run the same command again"
            )
        if not logged:
            logger.info("%s: waiting for another download into this folder", root)
            logged = True
        time.sleep(POLL_S)
    return True


def _lock_descriptor(descriptor: int) -> bool | None:
    from filelock import lock_descriptor

    try:
        return lock_descriptor(descriptor, blocking=False)
    except OSError as error:
        if error.errno in NO_LOCKS:
            return None
        raise


def _lock_softly(soft: "SoftFileLock") -> bool:
    from filelock import Timeout

    try:
        soft.acquire(blocking=False)
        return True
    except Timeout:
        return False
