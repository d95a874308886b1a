"""Unsafe archives are refused, and damaged ones leave only intact files."""

import io
import stat
import zipfile

import pytest

from kaggle_kit.download import archives, staging
from kaggle_kit.download.archives import ARCHIVE_ERRORS, unpack_zip
from kaggle_kit.download.staging import open_staging
from kaggle_kit.errors import DataError
from tests.helpers.small_competition import competition_files, jpeg


@pytest.fixture
def stage(tmp_path):
    with open_staging(tmp_path / "root", "somewhere") as stage:
        yield stage


def zip_of(members):
    """An archive of (name or ZipInfo, content) pairs."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for member, data in members:
            archive.writestr(member, data)
    return content.getvalue()


def in_place(stage):
    return {
        p.relative_to(stage.root).as_posix(): p.read_bytes()
        for p in stage.root.rglob("*")
        if p.is_file() and staging.FOLDER not in p.parts
    }


def saved(stage, content):
    path = stage.folder / "a.zip"
    path.write_bytes(content)
    return path


def renamed(name, mode=0):
    info = zipfile.ZipInfo("placeholder")
    info.filename = name
    info.external_attr = mode << 16
    return info


@pytest.mark.parametrize(
    "member",
    [
        renamed("../outside.txt"),
        renamed("train/../../outside.txt"),
        renamed("/tmp/outside.txt"),
        renamed("C:outside.txt"),
        renamed("..\\outside.txt"),
        renamed("train.csv\0.jpg"),
        renamed("link", stat.S_IFLNK | 0o777),
        renamed("pipe", stat.S_IFIFO | 0o600),
        renamed(".download/lock"),
        renamed("./download.json"),
    ],
    ids=lambda member: repr(member.filename),
)
def test_an_archive_with_a_member_outside_the_folder_is_refused(
    stage, tmp_path, member
):
    path = saved(stage, zip_of([("train.csv", b"id\n"), (member, b"/etc/passwd")]))
    with pytest.raises(DataError, match=r"a\.zip: expected .* do not use"):
        unpack_zip(path, stage)
    assert in_place(stage) == {}
    assert [p.name for p in tmp_path.iterdir()] == ["root"]


def test_an_archive_with_a_repeated_name_is_refused(stage):
    with pytest.warns(UserWarning, match="Duplicate name"):
        content = zip_of([("train.csv", b"one"), ("train.csv", b"two")])
    with pytest.raises(DataError, match="got repeated names"):
        unpack_zip(saved(stage, content), stage)
    assert in_place(stage) == {}


def test_an_absurd_size_is_refused_before_anything_is_unpacked(stage):
    content = bytearray(zip_of([("a.bin", b"0" * 100), ("b.bin", b"1" * 100)]))
    at = content.rfind(b"PK\x01\x02")  # b.bin in the central directory
    content[at + 24 : at + 28] = (0xFFFFFFF0).to_bytes(4, "little")
    free = staging.free_bytes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(staging, "free_bytes", lambda p: min(free(p), 3 * 10**9))
        with pytest.raises(DataError, match=r"found 3\.0 GB; make room"):
            unpack_zip(saved(stage, bytes(content)), stage)
    assert in_place(stage) == {}


@pytest.mark.parametrize("where", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_flipped_byte_is_found_and_unpacked_files_are_intact(stage, where):
    files = competition_files(8)
    content = bytearray(zip_of(files.items()))
    end = content.index(b"PK\x01\x02")
    content[int(end * where)] ^= 1
    with pytest.raises(ARCHIVE_ERRORS):
        unpack_zip(saved(stage, bytes(content)), stage)
    here = in_place(stage)
    assert len(here) < len(files)
    assert here == {name: files[name] for name in here}
    made = unpack_zip(saved(stage, zip_of(files.items())), stage)
    assert in_place(stage) == files
    assert (made.fetched, made.there) == (len(files) - len(here), len(here))


def test_a_truncated_archive_is_damaged(stage):
    content = zip_of(competition_files(3).items())
    for size in (0, 30, len(content) // 2, len(content) - 1):
        with pytest.raises(ARCHIVE_ERRORS):
            unpack_zip(saved(stage, content[:size]), stage)
        assert in_place(stage) == {}


def test_many_batches_are_all_unpacked(stage, monkeypatch):
    monkeypatch.setattr(archives, "BATCH", 3)
    files = competition_files(20)
    assert unpack_zip(saved(stage, zip_of(files.items())), stage).fetched == len(files)
    assert in_place(stage) == files


def test_a_file_of_another_size_is_replaced(stage):
    (stage.root / "a.jpg").write_bytes(b"shorter")
    unpack_zip(saved(stage, zip_of([("a.jpg", jpeg(1)), ("folder/", b"")])), stage)
    assert in_place(stage) == {"a.jpg": jpeg(1)}


@pytest.mark.parametrize(
    "names",
    [
        ("a", "a/b"),
        ("a/b", "a"),
        ("a/b/c.jpg", "a/b"),
        ("a/", "a"),
        ("a//b", "a/b"),
        ("./a", "a"),
        ("x/../a", "a"),
    ],
)
def test_names_that_cannot_all_be_files_are_refused_before_unpacking(stage, names):
    content = zip_of([("train.csv", b"id\n"), *((name, b"x") for name in names)])
    with pytest.raises(DataError, match=r"a\.zip: expected .* do not use"):
        unpack_zip(saved(stage, content), stage)
    assert in_place(stage) == {}
