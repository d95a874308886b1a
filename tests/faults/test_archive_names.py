"""Archives whose names were made by a machine: none leads out of the folder."""

import io
import shutil
import stat
import tarfile
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaggle_kit.download.archives import ARCHIVE_ERRORS, Choice, unpack_tar, unpack_zip
from kaggle_kit.download.staging import open_staging
from kaggle_kit.errors import DataError, KitError
from tests.helpers.complaints import steady
from tests.helpers.small_competition import jpeg

PIECES = ["..", ".", "/", "//", "\\", "a", "train", "C:", "\0", "~", " ", "x.jpg", "é"]
NAMES = st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join)
KINDS = [0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFCHR, stat.S_IFSOCK]


def files_outside(folder):
    """All that is beside the folder that is unpacked into."""
    return sorted(p.name for p in folder.parent.iterdir() if p != folder)


@pytest.mark.parametrize(
    "n", [pytest.param(200, id="some"), pytest.param(2000, marks=pytest.mark.slow)]
)
def test_no_name_in_a_zip_leads_out_of_the_folder(n, tmp_path, tried):
    path = tmp_path / "a.zip"
    root = tmp_path / "root"

    @steady(n)
    @given(name=NAMES, kind=st.sampled_from(KINDS), also=st.booleans())
    def check(name, kind, also):
        shutil.rmtree(root, ignore_errors=True)
        with zipfile.ZipFile(path, "w") as archive:
            member = zipfile.ZipInfo("x")
            member.filename = name
            member.external_attr = (kind | 0o777) << 16
            archive.writestr(member, b"/etc/passwd")
            if also:
                archive.writestr("train.csv", b"id\n")
        before = files_outside(root)
        with open_staging(root, "somewhere") as stage:
            try:
                unpack_zip(path, stage)
                tried["odd zips that were unpacked"] += 1
            except (DataError, *ARCHIVE_ERRORS, OSError) as error:
                assert not isinstance(error, KitError) or str(error).isprintable()
                tried["odd zips that were refused"] += 1
        assert files_outside(root) == before
        assert not any(p.is_symlink() for p in root.rglob("*"))
        if name.startswith("/") or ".." in name.replace("\\", "/").split("/"):
            assert not [p for p in root.rglob("*") if p.name == "train.csv"]

    check()


TYPES = [
    *(tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE),
    *(tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE),
]


@pytest.mark.parametrize(
    "n", [pytest.param(200, id="some"), pytest.param(2000, marks=pytest.mark.slow)]
)
def test_no_name_in_a_tar_leads_out_of_the_folder(n, tmp_path, tried):
    path = tmp_path / "images_000.tar"
    root = tmp_path / "root"
    image = "0/1/2/0123456789abcdef.jpg"

    @steady(n)
    @given(name=NAMES | st.just(image), link=NAMES, kind=st.sampled_from(TYPES))
    def check(name, link, kind):
        shutil.rmtree(root, ignore_errors=True)
        content = jpeg(1)
        with tarfile.open(path, "w") as archive:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, link
            member.size = len(content) if kind in (tarfile.REGTYPE,) else 0
            archive.addfile(member, io.BytesIO(content))
        before = files_outside(root)
        with open_staging(root, "somewhere") as stage:
            try:
                unpack_tar(path, stage, Choice("train"), lambda *_: None)
                tried["odd tars that were unpacked"] += 1
            except (DataError, EOFError, tarfile.TarError):
                tried["odd tars that were refused"] += 1
        assert files_outside(root) == before
        found = [
            p.relative_to(root).as_posix() for p in (root / "train").rglob("*.jpg")
        ]
        fine = name == image and kind in (tarfile.REGTYPE, tarfile.CONTTYPE)
        assert found == ([f"train/{image}"] if fine else [])

    check()


def test_an_image_of_many_gigabytes_in_a_small_tar_is_refused(tmp_path):
    """A sparse member: a megabyte on disk that says it is 60 GB, and reads as zeros."""
    path = tmp_path / "images_000.tar"
    member = tarfile.TarInfo("0123456789abcdef.jpg")
    member.size = 512
    member.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.size": str(60 * 10**9),
        "GNU.sparse.map": "0,512",
        "GNU.sparse.name": "0123456789abcdef.jpg",
    }
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(member, io.BytesIO(bytes(512)))
    with (
        open_staging(tmp_path / "root", "somewhere") as stage,
        pytest.raises(DataError) as caught,
    ):
        unpack_tar(path, stage, Choice("train"), lambda *_: None)
    assert "0123456789abcdef.jpg" in str(caught.value)
