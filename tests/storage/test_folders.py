"""A folder that is replaced keeps what the user put into it, whenever the kit is killed."""

import errno
import itertools
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from kaggle_kit.errors import ArtefactError, DataError
from kaggle_kit.storage import folders, places
from kaggle_kit.storage.folders import (
    INCOMPLETE,
    FolderKind,
    atomic_write_dir,
    check_replaceable,
)


def read_record(folder: Path) -> list[str]:
    return json.loads((folder / "list.json").read_text())


KIND = FolderKind("list.json", ("known/*", "table.csv"), read_record)
OLD = {"table.csv": "old", "known/a/1": "old", "known/b/2": "old"}
NEW = {"table.csv": "new", "known/a/1": "new", "known/c": "new", "more.txt": "new"}
MINE = {"thesis.txt": "mine", "notes/deep/plan.md": "mine too"}
EVENTS = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link"}


def write(path: Path, files: dict[str, str]) -> None:
    with atomic_write_dir(path, KIND) as part:
        fill(part, files)
        (part / "list.json").write_text(json.dumps(list(files)))


def fill(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    found = {path.relative_to(folder).as_posix(): path.read_text() for path in files}
    return {name: text for name, text in found.items() if name != "list.json"}


@pytest.fixture(params=["renamed", "filled in place"])
def out(request, tmp_path, monkeypatch):
    """A folder with an earlier result and files of the user's."""
    path = tmp_path / "out"
    write(path, OLD)
    fill(path, MINE)
    if request.param == "filled in place":
        monkeypatch.setattr(places, "can_rename", lambda *_: False)
    return path


def test_the_users_files_stay_as_they_were(out):
    thesis = out / "thesis.txt"
    thesis.chmod(0o640)
    os.utime(thesis, (1e9, 1e9))
    (out / "link").symlink_to("nowhere")
    before = thesis.stat()
    write(out, NEW)
    assert contents(out) == NEW | MINE
    after = thesis.stat()
    assert (after.st_ino, after.st_mtime, after.st_mode) == (
        *(before.st_ino, before.st_mtime, before.st_mode),
    )
    assert os.readlink(out / "link") == "nowhere"
    assert os.listdir(out.parent) == ["out"]
    write(out, OLD)
    assert contents(out) == OLD | MINE


def test_without_links_they_are_copied(out, monkeypatch):
    """As on FAT, or between two mounts."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    write(out, NEW)
    assert contents(out) == NEW | MINE


def test_a_file_that_the_user_adds_meanwhile_stays(out):
    with atomic_write_dir(out, KIND) as part:
        fill(part, NEW)
        (part / "list.json").write_text(json.dumps(list(NEW)))
        fill(out, {"late.txt": "mine"})
    assert contents(out) == NEW | MINE | {"late.txt": "mine"}


@pytest.mark.parametrize("name", ["known/mine", "known/a/mine.txt"])
def test_a_file_with_a_name_of_the_kits_is_refused_before_the_work(name, out):
    fill(out, {name: "mine"})
    for attempt in (
        check_replaceable,
        lambda *args: atomic_write_dir(*args).__enter__(),
    ):
        with pytest.raises(ArtefactError, match=f"{name}: .*does not list; move it"):
            attempt(out, KIND)
    assert contents(out) == OLD | MINE | {name: "mine"}


@pytest.mark.parametrize("name", ["more.txt", "more.txt/below"])
def test_a_file_in_the_way_of_one_that_nobody_foresaw_stays(name, out):
    fill(out, {name: "mine"})
    with pytest.raises(ArtefactError, match="name that the kit writes"):
        write(out, NEW)
    assert contents(out) == OLD | MINE | {name: "mine"}
    assert os.listdir(out.parent) == ["out"]


@pytest.mark.parametrize("text", ["", "{", "7", "null"])
def test_with_a_damaged_record_nothing_is_removed(text, out):
    (out / "list.json").write_text(text)
    with pytest.raises(ArtefactError, match="got a damaged one"):
        check_replaceable(out, KIND)
    assert contents(out) == OLD | MINE


def test_bytecode_is_not_the_users(out):
    fill(out, {"known/__pycache__/a.cpython-311.pyc": "x", "known/a/old.kit.part": "x"})
    write(out, NEW)
    found = contents(out)
    found.pop("known/a/old.kit.part", None)  # a later write of that file removes it
    assert found == NEW | MINE


def test_an_old_folder_that_cannot_be_restored_is_not_deleted(tmp_path, monkeypatch):
    path = tmp_path / "out"
    write(path, OLD)
    replace = os.replace

    def fail_from_the_second(source, target):
        if Path(target) == path:
            raise OSError(5, "Input/output error")
        replace(source, target)

    monkeypatch.setattr("os.replace", fail_from_the_second)
    with pytest.raises(OSError, match="Input/output"):
        write(path, NEW)
    monkeypatch.undo()
    assert contents(tmp_path / "out.kit.old") == OLD
    check_replaceable(path, KIND)
    assert contents(path) == OLD


def write_and_die(out: Path, kill_at: int) -> bool:
    """Write in a process that is killed before a change of a file; whether it was."""
    child = os.fork()
    if child == 0:
        counted = itertools.count(1)

        def count(event: str, args: tuple[object, ...]) -> None:
            if event in EVENTS and next(counted) == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        write(out, NEW)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL)
    return code != 0


def test_killed_before_any_change_nothing_of_the_users_is_lost(out, tried, monkeypatch):
    """And the folder is whole, or not taken for a whole one; then again, to the end."""
    monkeypatch.setattr("os.fsync", lambda _: None)  # a kill loses nothing in memory
    states = set()
    earlier = out.parent / "earlier"
    shutil.copytree(out, earlier)
    for kill_at in itertools.count(1):
        shutil.rmtree(out)
        shutil.copytree(earlier, out)
        if not write_and_die(out, kill_at):
            break
        there = out if out.exists() else out.with_name("out.kit.old")
        found = {
            name: text
            for name, text in contents(there).items()
            if ".kit." not in name and name != INCOMPLETE
        }
        assert {name: found[name] for name in MINE} == MINE
        if (there / "list.json").exists():
            assert found in (OLD | MINE, NEW | MINE)
            states.add(found == NEW | MINE)
        else:
            assert (there / INCOMPLETE).exists()
            with pytest.raises(ArtefactError, match="run the command"):
                folders.require_complete(there)
            states.add("incomplete")
        write(out, NEW)
        assert contents(out) == NEW | MINE
        assert sorted(os.listdir(out.parent)) == ["earlier", "out"]
        tried["kills survived: folders"] += 1
    assert states >= {False, True} and kill_at > 20


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_without_room_for_a_rename_the_earlier_folder_stays(
    number, tmp_path, monkeypatch
):
    write(tmp_path / "out", OLD)
    fill(tmp_path / "out", MINE)
    replace = os.replace

    def refuse(source, target):
        if str(source).endswith(".part"):
            raise OSError(number, os.strerror(number), str(target))
        replace(source, target)

    monkeypatch.setattr("os.replace", refuse)
    with pytest.raises(DataError, match="found the disk full"):
        write(tmp_path / "out", NEW)
    monkeypatch.undo()
    assert contents(tmp_path / "out") == OLD | MINE and os.listdir(tmp_path) == ["out"]
