"""Single files of a competition: each is fetched, checked, and only then put in place."""

import logging
import re
import shutil
import threading
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

from kaggle_kit.data.index import look
from kaggle_kit.data.layout import Competition
from kaggle_kit.download.archives import DAMAGE
from kaggle_kit.download.staging import SIDECAR, Stage, drop_unfit, is_partial
from kaggle_kit.errors import (
    IncompleteError,
    RulesError,
    TableError,
)
from kaggle_kit.progress import progress
from kaggle_kit.storage import tables
from kaggle_kit.storage.csv_files import write_rows
from kaggle_kit.storage.files import atomic_write

logger = logging.getLogger(__name__)
AT_ONCE = 4
HOPELESS = 20  # photos in a row that Kaggle does not have, and none that it has
ABSENT = re.compile(r"\b404\b|not found", re.IGNORECASE)


class Counts(NamedTuple):
    """What became of the photos that were asked for."""

    fetched: int
    there: int
    missing: int
    n_bytes: int


class _Stopped(Exception):
    """The run ends, and with it the clients that are still at work."""


def fetch_tables(stage: Stage, slug: str) -> int:
    """Fetch ``train.csv`` and ``sample_submission.csv``, if absent; how many bytes.

    Raises:
        KaggleError: what Kaggle did not let pass.
        TableError: a table that is not what it should be.
    """
    place = Competition(stage.root)
    n_bytes = 0
    for path, read in (
        (place.train_csv, tables.read_labels),
        (place.sample_csv, tables.read_sample),
    ):
        if path.exists():
            continue
        staged = _fetch_table(stage, slug, path.name)
        try:
            read(staged)
        except TableError as error:
            shutil.rmtree(_table_dir(stage, path.name))
            text = str(error).replace(f"{staged}", path.name)
            raise TableError(f"{slug}: {text}") from None
        n_bytes += staged.stat().st_size
        stage.place(staged, path.name)
        shutil.rmtree(_table_dir(stage, path.name))
    return n_bytes


def fetch_photos(stage: Stage, slug: str, names: Sequence[str]) -> Counts:
    """Fetch photos (``train/a/b/c/<id>.jpg``), a few at once; those there are left alone.

    Those that Kaggle does not have, or only broken, go to ``download.missing.csv``
    (file, reason).

    Raises:
        KaggleError: what Kaggle did not let pass; no further photo is asked for then.
        IncompleteError: it has none of the photos.
        DataError: the disk is full.
    """
    waiting = [name for name in names if not (stage.root / name).exists()]
    there = len(names) - len(waiting)
    run = _Run(stage, slug)
    n_bytes, fetched = 0, 0
    missing: dict[str, str] = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures = {pool.submit(run.fetch, name): name for name in waiting}
        ended = as_completed(futures)
        try:
            for future in progress(ended, total=len(waiting), label="photos"):
                got = future.result()
                if isinstance(got, int):
                    n_bytes, fetched = n_bytes + got, fetched + 1
                else:
                    missing[futures[future]] = got
                if len(missing) == HOPELESS and not fetched and not there:
                    break
        finally:
            run.stop.set()
            pool.shutdown(cancel_futures=True)
    listed = stage.root / "download.missing.csv"
    listed.unlink(missing_ok=True)
    if missing:
        write_rows(listed, ("file", "reason"), sorted(missing.items()))
        logger.warning("%d photos could not be had: see %s", len(missing), listed)
    if missing and not fetched and not there:
        raise IncompleteError(
            f"{slug}: expected {len(names)} photos, got none of the {len(missing)} asked "
            f"for; see {listed}, and check --slug and the ids"
        )
    return Counts(fetched, there, len(missing), n_bytes)


class _Run:
    """What the workers of a run share."""

    def __init__(self, stage: Stage, slug: str):
        self.stop = threading.Event()
        self._stage, self._slug = stage, slug
        self._asking = threading.Lock()
        self._known = False

    def fetch(self, name: str) -> int | str:
        """Bytes of the photo that was put in its place, or why there is none."""
        if self.stop.is_set():
            raise _Stopped
        folder = self._stage.folder / "photos" / Path(name).name
        folder.mkdir(parents=True, exist_ok=True)
        try:
            found = self._whole(name, folder)
        except RulesError as error:
            if not ABSENT.search(str(error)):
                raise
            self._require_competition()
            found = "Kaggle does not have it"
        n_bytes = 0
        if isinstance(found, Path):
            n_bytes = found.stat().st_size
            self._stage.place(found, name)
        shutil.rmtree(folder)
        return n_bytes if isinstance(found, Path) else found

    def _whole(self, name: str, folder: Path) -> Path | str:
        """The photo in ``folder``, left there by an earlier run or fetched now.

        One that does not decode is fetched once more: then it is Kaggle's that is broken.
        """
        found = _photo(folder)
        for _ in range(2):
            if isinstance(found, Path):
                break
            args = ("competitions", "download", self._slug, "-f", name)
            self._stage.call(
                *args,
                *("-p", str(folder)),
                watch=self._watch,
                before=lambda: _clear(folder),
            )
            found = _photo(folder)
        return found

    def _watch(self) -> None:
        if self.stop.is_set():
            raise _Stopped
        self._stage.require_room(0, "photos")

    def _require_competition(self) -> None:
        """Tell a photo that is not there from a competition that is not there."""
        with self._asking:
            if not self._known:
                self._stage.call("competitions", "files", self._slug, watch=self._watch)
            self._known = True


def _photo(folder: Path) -> Path | str:
    """The one photo in a folder, if the client finished it and it decodes, or why not."""
    fault = "no file"
    for path in _files(folder):
        if is_partial(path):
            continue
        try:
            path = _unzipped(path)
        except DAMAGE as error:
            fault = f"a damaged archive: {error}"
            continue
        seen = look(path)
        if not isinstance(seen, str):
            return path
        fault = seen
    return fault


def _clear(folder: Path) -> None:
    """Leave nothing but what the client can go on with."""
    for path in _files(folder):
        drop_unfit(path)


def _files(folder: Path) -> list[Path]:
    """The files in a folder; newer clients keep the folders of a name."""
    other = (SIDECAR, ".part")
    return [p for p in folder.rglob("*") if p.is_file() and p.suffix not in other]


def _unzipped(path: Path) -> Path:
    """A file out of the archive that Kaggle made of it, if it did."""
    if not zipfile.is_zipfile(path):
        return path
    with zipfile.ZipFile(path) as archive:
        members = [m for m in archive.infolist() if not m.is_dir()]
        if len(members) != 1:
            raise zipfile.BadZipFile(f"{len(members)} files in it, expected one")
        unpacked = path.with_name(f"{path.name}.unpacked")
        with (
            archive.open(members[0]) as source,
            atomic_write(unpacked) as part,
            part.open("wb") as out,
        ):
            shutil.copyfileobj(source, out)
    path.unlink()
    return unpacked


def _table_dir(stage: Stage, name: str) -> Path:
    return stage.folder / f"table-{name}"


def _fetch_table(stage: Stage, slug: str, name: str) -> Path:
    """A table, in the staging folder: left there by an earlier run, or fetched now."""
    folder = _table_dir(stage, name)

    def clear() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()

    if not any(map(_is_finished, _files(folder))):
        stage.call(
            *("competitions", "download", slug, "-f", name, "-p", str(folder)),
            before=clear,
            watch=lambda: stage.require_room(0, name),
        )
    try:
        (path,) = _files(folder)
        return _unzipped(path)
    except ValueError:
        found = ", ".join(p.name for p in _files(folder)) or "nothing"
        raise IncompleteError(
            f"{slug}: expected {name} to be fetched, got {found}; run the same command "
            f"again"
        ) from None
    except DAMAGE as error:
        clear()
        raise IncompleteError(
            f"{slug}: expected {name}, got a damaged archive of it ({error}); run the "
            f"same command again"
        ) from None


def _is_finished(path: Path) -> bool:
    """Whether the client wrote a file to its end: it then gives it the date at Kaggle."""
    seen = path.stat()
    return not is_partial(path) and seen.st_ctime - seen.st_mtime > 60
