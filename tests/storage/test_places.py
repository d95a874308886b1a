"""Where a result can be written is known before the work, and links are followed."""

import os
import re
from pathlib import Path

import pytest

from kaggle_kit.errors import ArtefactError
from kaggle_kit.storage import places
from kaggle_kit.storage.files import atomic_write
from kaggle_kit.storage.folders import FolderKind, atomic_write_dir, check_replaceable
from tests.helpers.mounts import open_folder, run_among_mounts, run_as_user
from tests.helpers.stages import DEMO

KIND = FolderKind("marker")


def write(path: Path, text: str) -> None:
    with atomic_write_dir(path, KIND) as part:
        (part / "marker").write_text(text)


def test_a_link_to_a_folder_stays_and_what_it_leads_to_is_written(tmp_path):
    (tmp_path / "big" / "subset").mkdir(parents=True)
    link = tmp_path / "subset"
    link.symlink_to("big/subset")
    for text in ("one", "two"):
        write(link, text)
        assert link.is_symlink() and os.readlink(link) == "big/subset"
        assert (tmp_path / "big" / "subset" / "marker").read_text() == text
    assert sorted(os.listdir(tmp_path)) == ["big", "subset"]
    assert os.listdir(tmp_path / "big") == ["subset"]


def test_a_link_to_a_file_stays_and_what_it_leads_to_is_written(tmp_path):
    (tmp_path / "big").mkdir()
    (tmp_path / "big" / "index.csv").write_text("old")
    link = tmp_path / "index.csv"
    link.symlink_to(tmp_path / "big" / "index.csv")
    with atomic_write(link) as part:
        part.write_text("new")
    assert link.is_symlink()
    assert (tmp_path / "big" / "index.csv").read_text() == "new"


@pytest.mark.parametrize("out", ["dead", "dead/subset"])
def test_a_dead_link_is_refused_before_the_work(out, tmp_path):
    (tmp_path / "dead").symlink_to(tmp_path / "not mounted")
    for check in (places.check_file, places.check_folder, places.resolve):
        with pytest.raises(ArtefactError, match="dead link to .*not mounted"):
            check(tmp_path / out)
    with pytest.raises(ArtefactError, match="dead link"):
        check_replaceable(tmp_path / out, KIND)
    assert os.listdir(tmp_path) == ["dead"]


def test_a_link_left_by_an_earlier_version_is_removed_and_not_followed(tmp_path):
    (tmp_path / "big").mkdir()
    (tmp_path / "big" / "thesis.txt").write_text("mine")
    (tmp_path / "subset").mkdir()
    (tmp_path / "subset.kit.old").symlink_to("big")
    write(tmp_path / "subset", "new")
    assert (tmp_path / "big" / "thesis.txt").read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["big", "subset"]


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (Path("/dev/null"), Path("/dev/stdout").resolve(), tmp_path / "pipe"):
        if path.exists() and not path.is_file():
            with pytest.raises(ArtefactError, match="got a device, a pipe"):
                places.check_file(path)
    with pytest.raises(ArtefactError, match="got a folder"):
        places.check_file(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ArtefactError, match="got a file"):
        places.check_folder(tmp_path / "file")
    with pytest.raises(ArtefactError, match="Not a directory"):
        places.check_folder(tmp_path / "file" / "below")


def test_the_root_is_refused():
    for path in ("/", "/..", "//"):
        for check in (places.check_file, places.check_folder):
            with pytest.raises(ArtefactError, match="the root of the file system"):
                check(Path(path))


def test_a_name_that_leaves_no_room_for_temporary_ones_is_refused(tmp_path):
    most = os.pathconf(tmp_path, "PC_NAME_MAX")
    path = tmp_path / ("ä" * ((most - 9) // 2))
    write(path, "as long as possible")
    with pytest.raises(ArtefactError, match=rf"at most {most - 9} bytes"):
        places.check_folder(tmp_path / f"{path.name}ab")


def test_a_current_folder_that_was_removed_is_named(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(ArtefactError, match="expected a current folder"):
        places.check_file(Path("x.csv"))
    monkeypatch.undo()


def test_a_folder_that_cannot_be_written_to_is_named_before_the_work():
    with open_folder() as folder:
        (folder / "closed").mkdir(mode=0o555)
        error = run_as_user(folder, lambda: places.check_folder(Path("closed/new")))
        (folder / "closed").chmod(0o777)
    assert re.fullmatch("ArtefactError: .*closed: .*got: Permission denied; .*", error)


def test_a_folder_in_one_that_cannot_be_written_to_is_filled_in_place():
    """As an administrator sets it up: the user's folder below the root's."""
    with open_folder() as folder:
        mine = folder / "closed" / "mine"
        mine.mkdir(parents=True)
        mine.chmod(0o777)
        (folder / "closed").chmod(0o555)
        for text in ("one", "two"):
            assert (
                run_as_user(folder, lambda t=text: write(Path("closed/mine"), t)) == ""
            )
            assert (mine / "marker").read_text() == text
        assert os.listdir(mine) == ["marker"] and os.listdir(folder / "closed") == [
            "mine"
        ]
        (folder / "closed").chmod(0o777)


def test_the_current_folder_is_filled_in_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inode = tmp_path.stat().st_ino
    for text in ("one", "two"):
        write(Path(), text)
    assert tmp_path.stat().st_ino == inode
    assert os.listdir(tmp_path) == ["marker"] and Path("marker").read_text() == "two"


# Mounts

WRITE = """
import sys
from pathlib import Path
from kaggle_kit.storage.folders import FolderKind, atomic_write_dir
for path in map(Path, sys.argv[1:]):
    for text in ("one", "two"):
        with atomic_write_dir(path, FolderKind("marker", ("deep/*",))) as part:
            (part / "marker").write_text(text)
            (part / "deep" / text).mkdir(parents=True)
            (part / "deep" / text / "file").write_text(text)
        (path / "thesis.md").write_text("mine")
"""


@pytest.fixture
def work(tmp_path):
    """A folder with a script that writes folders, each anew and then over the earlier."""
    (tmp_path / "write.py").write_text(WRITE)
    return tmp_path


def check_written(folder: Path, *further: str) -> None:
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    expected = {"marker", "deep", "deep/two", "deep/two/file", "thesis.md"}
    assert names == expected.union(further)
    for name, text in {
        "marker": "two",
        "deep/two/file": "two",
        "thesis.md": "mine",
    }.items():
        assert (folder / name).read_text() == text


def test_a_mount_is_filled_in_place(work):
    done = run_among_mounts(
        work, "mkdir host out && mount --bind host out", "$PYTHON write.py out"
    )
    assert done.returncode == 0, done.stderr
    check_written(work / "host")
    assert os.listdir(work / "out") == []


def test_a_command_fills_a_mount_in_place(work, competition):
    config = f"extends: {DEMO}\nname: small\n"
    (work / "small.yaml").write_text(config)
    command = f"$KIT subset --config small.yaml --competition {competition} --out out"
    done = run_among_mounts(work, "mkdir host out && mount --bind host out", command)
    assert done.returncode == 0, done.stderr
    names = ["classes.csv", "non_landmarks.json", "subset.csv"]
    assert sorted(os.listdir(work / "host")) == names


def test_a_folder_with_a_mount_in_it_is_filled_in_place(work):
    """What is mounted there is not removed."""
    done = run_among_mounts(
        work,
        "mkdir -p host out/data && echo theirs > host/file && touch out/marker && "
        "mount --bind host out/data",
        "$PYTHON write.py out && cat out/data/file",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "theirs\n" and (work / "host" / "file").exists()
    check_written(work / "out", "data")


def test_a_folder_of_an_image_layer_is_filled_in_place(work):
    """Overlayfs answers EXDEV when a folder of its lower layer is renamed."""
    done = run_among_mounts(
        work,
        "mkdir -p tmp m; mount -t tmpfs none tmp; mkdir -p tmp/u tmp/w tmp/l/out/deep/old; "
        "touch tmp/l/out/deep/old/file tmp/l/out/marker; "
        "mount -t overlay none m "
        "-o lowerdir=tmp/l,upperdir=tmp/u,workdir=tmp/w,redirect_dir=off",
        "$PYTHON -c \"import os; os.rename('m/out', 'm/other')\"; "
        "$PYTHON write.py m/out && cp -r m/out seen",
    )
    assert "Invalid cross-device link" in done.stderr  # that is, no rename is possible
    assert done.returncode == 0, done.stderr
    check_written(work / "seen")


def test_a_mounted_file_is_refused_before_the_work(work):
    done = run_among_mounts(
        work,
        "touch host index.csv && mount --bind host index.csv",
        "mkdir -p c/train && touch c/train.csv && $KIT index --competition c --out index.csv",
    )
    assert done.returncode == 1 and "got a mounted one; mount its folder" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_read_only_place_is_named_before_the_work(work):
    done = run_among_mounts(
        work,
        "mkdir out && mount -t tmpfs -o ro none out",
        "$KIT subset --config demo.yaml --competition no --out out/subset",
    )
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "Read-only file system" in done.stderr and "expected a folder" in done.stderr


def test_blanks_in_the_table_of_mounts_are_read(work):
    code = "from kaggle_kit.storage import places; print(*places.list_mounts(), sep=chr(10))"
    done = run_among_mounts(
        work, "mkdir 'a b' && mount -t tmpfs none 'a b'", f"$PYTHON -c '{code}'"
    )
    assert str(work / "a b") in done.stdout.splitlines()
