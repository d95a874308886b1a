"""Atomic writing of folders, which keeps what the user put into an earlier one.

A new folder takes the place of an earlier one by two renames. Files of the earlier one that
the kit did not write are linked into the new one before. Where a folder cannot be renamed,
the new files are moved into it one by one; meanwhile it has the file ``kit.incomplete``,
which lists the kit's files, and lacks the file that identifies its kind.
"""

import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from kaggle_kit.errors import ArtefactError
from kaggle_kit.storage import flush, places
from kaggle_kit.storage.files import atomic_write, report_full_disk
from kaggle_kit.storage.json_files import DAMAGE, json_text, read_json
from kaggle_kit.storage.locks import lock

INCOMPLETE = "kit.incomplete"


@dataclass(frozen=True)
class FolderKind:
    """A kind of folder that a command writes.

    Attributes:
        marker: the file that identifies it.
        names: patterns (``fnmatch``) of the other files that the command writes.
        read_record: lists the files that the command wrote into an earlier folder, if that
            has a record of them; else those that fit ``names`` are taken for its own.
    """

    marker: str
    names: tuple[str, ...] = ()
    read_record: Callable[[Path], Iterable[str]] | None = None

    def has_name(self, name: str) -> bool:
        """Whether the command writes files of this name."""
        return any(fnmatchcase(name, pattern) for pattern in (self.marker, *self.names))

    def check(self, folder: Path) -> None:
        """Check that nothing of the user's is in the way of a new folder of this kind.

        Raises:
            ArtefactError: the folder has other content and not the marker, or a file that
                the kit did not write, but that has the name of one that it writes.
        """
        if not folder.exists():
            return
        if not self.is_replaceable(folder):
            raise ArtefactError(
                f"{folder}: expected a new or empty folder or one with {self.marker}, found "
                f"other files; choose another --out"
            )
        for name in self.list_others(folder):
            if self.has_name(name):
                raise ArtefactError(
                    f"{folder / name}: expected only files of the kit with such names, found "
                    f"one that {self.marker} does not list; move it, or choose another --out"
                )

    def is_replaceable(self, folder: Path) -> bool:
        """Whether a folder is empty, of this kind, or an incomplete one."""
        if not folder.is_dir():
            return False
        known = (self.marker, INCOMPLETE)
        return any((folder / n).exists() for n in known) or not list_files(folder)

    def list_own(self, folder: Path) -> set[str]:
        """The files of a folder that the kit wrote, by its record."""
        if (folder / INCOMPLETE).exists():
            record: Collection[str] = _read_incomplete(folder / INCOMPLETE)
        elif not (folder / self.marker).exists():
            return set()
        elif self.read_record:
            record = {*self._read_record(folder), self.marker}
        else:
            record = {name for name in list_files(folder) if self.has_name(name)}
        return {n for n in list_files(folder) if n in record or _is_bytecode(n)}

    def list_others(self, folder: Path) -> list[str]:
        """The files of a folder that the kit did not write."""
        own = self.list_own(folder)
        return [name for name in list_files(folder) if name not in own]

    def _read_record(self, folder: Path) -> set[str]:
        assert self.read_record
        try:
            return set(self.read_record(folder))
        except (*DAMAGE, ArtefactError, KeyError, TypeError, AttributeError):
            raise ArtefactError(
                f"{folder / self.marker}: expected the list of the files that the kit "
                f"wrote, got a damaged one; delete the folder if nothing in it is yours, or "
                f"choose another --out"
            ) from None


@contextmanager
def atomic_write_dir(path: Path, kind: FolderKind) -> Iterator[Path]:
    """Write a folder atomically: yield an empty folder, then rename it to ``path``.

    A link is followed. After an exception, ``path`` is unchanged; afterwards the folder is
    whole, also after power loss. An existing folder is replaced if it is of the same kind,
    and the files in it that the kit did not write stay. A folder that cannot be renamed is
    filled in place, in the end: if the process is killed then, the folder has the file
    ``kit.incomplete`` and not its marker, and the next call begins again.

    Raises:
        ArtefactError: ``path`` has other content, another process writes it, or it cannot
            be written (see ``places.resolve_folder``).
        DataError: the disk is full.
    """
    path = places.resolve_folder(path)
    with lock(path), report_full_disk(path):
        kind.check(path)
        stays, part = _plan(path)
        try:
            part.mkdir()
            yield part
            if stays:
                _fill(kind, path, part)
            else:
                _swap(kind, path, part)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def check_replaceable(path: Path, kind: FolderKind) -> None:
    """Check, before long work, that ``atomic_write_dir`` can write a folder.

    Raises:
        ArtefactError: as ``atomic_write_dir``.
    """
    path = places.check_folder(path)
    with lock(path):
        kind.check(path)


def require_complete(folder: Path) -> None:
    """Check that no killed command left a folder half filled.

    Raises:
        ArtefactError: one did.
    """
    if (Path(folder) / INCOMPLETE).exists():
        raise ArtefactError(
            f"{folder}: expected a whole folder, found one that a killed command left "
            f"incomplete ({INCOMPLETE}); run the command that makes it again"
        )


def list_files(folder: Path) -> list[str]:
    """The files and links below a folder, without the kit's temporary ones, sorted."""
    found = []
    for parent, folders, files in os.walk(folder):
        base = Path(parent)
        links = [name for name in folders if (base / name).is_symlink()]
        names = ((base / name).relative_to(folder).as_posix() for name in files + links)
        found += [name for name in names if not _is_temporary(name)]
        folders[:] = [name for name in folders if not name.endswith(places.TEMPORARY)]
    return sorted(name for name in found if name != INCOMPLETE)


def _plan(path: Path) -> tuple[bool, Path]:
    """Whether a folder has to be filled in place, and where its new files are written."""
    part = places.temporary(path, "part")
    stays = path.is_dir() and not places.can_rename(path, part)
    return stays, path / ".kit.part" if stays else part


def _swap(kind: FolderKind, path: Path, part: Path) -> None:
    """Rename ``part`` to ``path``, after the user's files were linked into it."""
    flush.flush_tree(part)
    if not path.exists():
        flush.replace(part, path)
        return
    old = places.temporary(path, "old")
    others = kind.list_others(path)
    shutil.copymode(path, part)
    if others:
        _carry(others, path, part)
        flush.flush_tree(part)
    os.replace(path, old)
    try:
        flush.replace(part, path)
    except OSError:
        os.replace(old, path)
        raise
    late = set(kind.list_others(old)).difference(others)  # made in the meantime
    _carry([name for name in late if not os.path.lexists(path / name)], old, path)
    shutil.rmtree(old, ignore_errors=True)


def _carry(names: Collection[str], source: Path, target: Path) -> None:
    """Link files into another folder, or copy them where links are not possible.

    Raises:
        ArtefactError: a file has the name of one there.
    """
    _require_no_clash(names, list_files(target), source)
    for name in names:
        new = target / name
        new.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source / name, new, follow_symlinks=False)
        except (OSError, NotImplementedError):
            shutil.copy2(source / name, new, follow_symlinks=False)


def _fill(kind: FolderKind, path: Path, part: Path) -> None:
    """Move all files of ``part`` into ``path``, in place of the earlier ones of the kit."""
    new, own = list_files(part), kind.list_own(path)
    _require_no_clash(kind.list_others(path), new, path)
    flush.flush_tree(part)
    with atomic_write(path / INCOMPLETE) as record:
        record.write_text(json_text(sorted(own.union(new))), encoding="utf-8")
    if kind.marker in own:
        (path / kind.marker).unlink()
        flush.flush_folder(path)
    for name in own - {kind.marker}:
        (path / name).unlink()
    _remove_empty({path / name for name in own.difference(new)}, path)
    for name in sorted(new, key=lambda name: name == kind.marker):  # the marker last
        if name == kind.marker:
            _flush_folders(path, new)
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(part / name, path / name)
    flush.flush_folder(path)
    (path / INCOMPLETE).unlink()
    flush.flush_folder(path)


def _flush_folders(top: Path, names: Iterable[str]) -> None:
    """Flush every folder that one of these files is in."""
    for folder in {parent for name in names for parent in (top / name).parents}:
        if folder.is_relative_to(top):
            flush.flush_folder(folder)


def _remove_empty(removed: Iterable[Path], top: Path) -> None:
    """Remove the folders that are empty now that these files are removed."""
    for path in sorted({p for r in removed for p in r.parents}, reverse=True):
        if path != top and path.is_relative_to(top) and not any(path.iterdir()):
            path.rmdir()


def _require_no_clash(names: Iterable[str], new: Collection[str], folder: Path) -> None:
    """Refuse files of the user's that have the name of a new file, or of its folder."""
    files = set(new)
    folders = {str(parent) for name in files for parent in PurePosixPath(name).parents}
    for name in names:
        above = {str(parent) for parent in PurePosixPath(name).parents}
        if name in files or name in folders or above & files:
            raise ArtefactError(
                f"{folder / name}: expected no file with a name that the kit writes, found "
                f"one that it did not write; move it, then run the same command again"
            )


def _read_incomplete(path: Path) -> set[str]:
    try:
        return {str(name) for name in read_json(path)}
    except (*DAMAGE, TypeError):
        raise ArtefactError(
            f"{path}: expected the list of the files that the kit wrote, got a damaged one; "
            f"delete the folder if nothing in it is yours, or choose another --out"
        ) from None


def _is_temporary(name: str) -> bool:
    """Whether a name is that of a temporary file of the kit."""
    return any(part.endswith(places.TEMPORARY) for part in PurePosixPath(name).parts)


def _is_bytecode(name: str) -> bool:
    """Whether Python wrote a file as it imported a module."""
    path = PurePosixPath(name)
    return path.suffix == ".pyc" and "__pycache__" in path.parts
