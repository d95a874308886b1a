"""Archives whose structure lies: refused in bounded time and memory, nothing outside."""

import io
import os
import random
import shutil
import struct
import tarfile
import zipfile

import pytest

from kaggle_kit.download import tar_checks
from kaggle_kit.download.archives import ARCHIVE_ERRORS, Choice, unpack_tar, unpack_zip
from kaggle_kit.download.staging import open_staging
from kaggle_kit.errors import DataError
from kaggle_kit.storage import zip_files
from tests.helpers.fuzzing import run_blocks
from tests.helpers.small_competition import jpeg

IMAGE = "0/1/2/0123456789abcdef.jpg"
TAR_ERRORS = (DataError, EOFError, tarfile.TarError)
BLOCK = 512


def header(name=IMAGE, kind=b"0", size=0, **changes):
    """A header with a right checksum; ``changes`` are its fields as bytes."""
    fields = {"length": b"%011o\0" % size if size >= 0 else base256(size)}
    fields |= {"type": kind} | changes
    places = {"mode": 100, "uid": 108, "length": 124, "mtime": 136, "type": 156}
    places |= {"link": 157, "magic": 257, "prefix": 345, "sparse": 386}
    block = bytearray(BLOCK)
    block[: len(name)] = name.encode()
    block[100:136] = b"0000644\0" + b"0000000\0" * 2 + b"00000000000\0"
    block[136:148] = b"00000000000\0"
    block[257:265] = b"ustar\x0000"
    for field, value in fields.items():
        block[places[field] : places[field] + len(value)] = value
    return signed(block)


def signed(block):
    """A header with its checksum."""
    block = bytearray(block)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def base256(value):
    """A size as GNU's tar writes negative and huge ones."""
    return (value % 256**12).to_bytes(12, "big") if value < 0 else b""


def padded(content):
    return content + bytes(-len(content) % BLOCK)


def pax(**records):
    """A header of extended attributes, and them."""
    lines = b"".join(
        b"%d %s=%s\n" % (len(key) + len(value) + 5, key.encode(), value)
        for key, value in records.items()
    )
    return header("x", b"x", len(lines)) + padded(lines)


END = bytes(2 * BLOCK)
PICTURE = header(size=len(jpeg(1))) + padded(jpeg(1))
HUGE = b"\x80" + bytes(3) + (2**60).to_bytes(8, "big")
TARS = {
    "a negative size": PICTURE + header("b", size=-BLOCK) + END,
    "a size that leads back to the start": PICTURE + header("b", size=-10_240) + END,
    "a huge size": PICTURE + header("b", size=0, length=HUGE) + END,
    "a negative size in an attribute": PICTURE + pax(size=b"-9999") + header() + END,
    "a huge size in an attribute": PICTURE + pax(size=b"9" * 15) + header() + END,
    "a long name without an end": header("x", b"L", 2**30) + b"a" * 9999 + END,
    "a long name of negative size": header("x", b"L", -BLOCK) + PICTURE + END,
    "attributes without an end": header("x", b"x", 2**30) + b"a" * 9999 + END,
    "attributes of digits": header("x", b"x", 4096) + b"1" * 4096 + PICTURE + END,
    "global attributes of digits": header("x", b"g", 4096) + b"1" * 4096 + END,
    "a thousand long names": (header("x", b"L", 4) + padded(b"abc\0")) * 1000 + END,
    "a sparse file": header(size=0, kind=b"S", sparse=b"%011o\0%011o\0" * 4) + END,
    "a sparse file in attributes": pax(**{"GNU.sparse.size": b"9" * 12})
    + header()
    + END,
    "an attribute beyond its size": header("x", b"x", 3)
    + padded(b"20 size=-9999\n")
    + header()
    + END,
    "a size that is no number": PICTURE + header("b", size=0, length=b"-0000000005"),
    "a link": header("b", b"2", link=b"/etc/passwd") + END,
    "a hard link": PICTURE + header("0123456789abcdee.jpg", b"1", link=b"/etc") + END,
    "a device": header("b", b"3") + END,
    "a pipe": header("b", b"6") + END,
    "an unknown kind": header("b", b"Q", size=2**40) + END,
    "no end": PICTURE,
    "bytes": random.Random(0).randbytes(5000) + END,
}


def unpack(path, root, read, meter):
    """Unpack below a root; count what came of it. Nothing else is written."""
    shutil.rmtree(root, ignore_errors=True)
    before = sorted(p.name for p in root.parent.iterdir())
    with open_staging(root, "somewhere") as stage:
        try:
            read(path, stage)
            meter.counts["odd archives that were unpacked"] += 1
        except (*TAR_ERRORS, *ARCHIVE_ERRORS):
            meter.counts["odd archives that were refused"] += 1
    after = sorted(p.name for p in root.parent.iterdir())
    assert after == sorted({*before, root.name})
    assert not any(p.is_symlink() for p in root.rglob("*"))


def read_tar(path, stage):
    unpack_tar(path, stage, Choice("train"), lambda *_: None)


@pytest.mark.parametrize("what", TARS)
def test_a_tar_that_lies_is_refused_in_bounded_time(what, tmp_path, tried):
    path = tmp_path / "images_000.tar"
    path.write_bytes(TARS[what])

    def block(first, length, meter):
        with meter.attempt(what):
            unpack(path, tmp_path / "root", read_tar, meter)
        assert meter.counts["odd archives that were refused"], what

    run_blocks(None, 1, block, tried, seconds=5, megabytes=100)


def test_a_tar_of_a_terabyte_of_zeros_ends_at_its_first_one(tmp_path):
    path = tmp_path / "images_000.tar"
    path.write_bytes(PICTURE + END)
    os.truncate(path, 10**12)
    with open_staging(tmp_path / "root", "somewhere") as stage:
        read_tar(path, stage)
    assert (tmp_path / "root" / "train" / IMAGE).read_bytes() == jpeg(1)


def test_a_tar_of_too_many_members_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tar_checks, "MOST_MEMBERS", 100)
    path = tmp_path / "images_000.tar"
    path.write_bytes(header() * 100 + END)
    tar_checks.check_structure(path)
    path.write_bytes(header() * 101 + END)
    with pytest.raises(tarfile.ReadError, match="more than 100 members"):
        tar_checks.check_structure(path)


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_plain_tars_of_all_formats_are_unpacked(kind, tmp_path):
    """Also with long names of folders, times in fractions of a second, and repeats."""
    path = tmp_path / "images_000.tar"
    with tarfile.open(path, "w", format=kind) as archive:
        for name in ("a" * 150 + "/" + "b" * 120 + ".txt", IMAGE, IMAGE):
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(jpeg(1)), 1_600_000_000.123456
            archive.addfile(member, io.BytesIO(jpeg(1)))
    with open_staging(tmp_path / "root", "somewhere") as stage:
        read_tar(path, stage)
    assert (tmp_path / "root" / "train" / IMAGE).read_bytes() == jpeg(1)


def zip_of(*members, method=zipfile.ZIP_STORED):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return content.getvalue()


def overlapping():
    """Two members in the list that are the same bytes of the file."""
    content = bytearray(zip_of(("a.csv", b"a" * 900), ("b.csv", b"b" * 900)))
    second = content.rfind(b"PK\x01\x02")
    content[second + 42 : second + 46] = bytes(4)
    return bytes(content).replace(b"b" * 900, b"")


def bomb():
    """A member of a kilobyte that is said to become 2 GB."""
    content = bytearray(zip_of(("a.csv", bytes(10**6)), method=zipfile.ZIP_DEFLATED))
    struct.pack_into("<I", content, content.rfind(b"PK\x01\x02") + 24, 2 * 10**9)
    return bytes(content)


def with_end(**changes):
    """An archive whose end record says something else."""
    places = {"entries": (10, "<H"), "size": (12, "<I"), "offset": (16, "<I")}
    content = bytearray(zip_of(("a.csv", b"id\n")))
    end = content.rfind(b"PK\x05\x06")
    for name, value in changes.items():
        place, form = places[name]
        struct.pack_into(form, content, end + place, value)
    return bytes(content)


def zip64(size, offset):
    """An archive with a ZIP64 record that says such a size of its list of members."""
    content = zip_of(("a.csv", b"id\n"))
    end = content.rfind(b"PK\x05\x06")
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, size, offset)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, end, 1)
    tail = with_end(entries=2**16 - 1, size=2**32 - 1, offset=2**32 - 1)[-22:]
    return content[:end] + record + locator + tail


ZIPS = {
    "a bomb": bomb,
    "bzip2": lambda: zip_of(("a.csv", bytes(10**8)), method=zipfile.ZIP_BZIP2),
    "lzma": lambda: zip_of(("a.csv", bytes(10**7)), method=zipfile.ZIP_LZMA),
    "overlapping members": overlapping,
    "a list of 4 GB": lambda: with_end(size=2**32 - 2),
    "a list outside the file": lambda: with_end(offset=2**32 - 2),
    "an offset before the file": lambda: with_end(size=40, offset=0),
    "ZIP64 with a list of 2^63": lambda: zip64(2**63, 0),
    "ZIP64 with a list of 2^40": lambda: zip64(2**40, 2**40),
    "ZIP64 with an offset of 2^63": lambda: zip64(51, 2**63),
    "nothing": lambda: b"",
}


@pytest.mark.parametrize("what", ZIPS)
def test_a_zip_that_lies_is_refused_in_bounded_time(what, tmp_path, tried):
    path = tmp_path / "a.zip"
    path.write_bytes(ZIPS[what]())

    def block(first, length, meter):
        with meter.attempt(what):
            unpack(path, tmp_path / "root", unpack_zip, meter)
        assert meter.counts["odd archives that were refused"], what

    run_blocks(None, 1, block, tried, seconds=5, megabytes=100)


def test_a_zip_of_too_many_members_is_refused_before_they_are_listed(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(zip_of(*((f"{i}", b"") for i in range(1000))))
    with zip_files.open_zip(path, most_members=1000) as archive:
        assert len(archive.infolist()) == 1000
    with (
        pytest.raises(zipfile.BadZipFile, match="1000 members, more than 999"),
        zip_files.open_zip(path, most_members=999),
    ):
        pass


def odd_tar(rng):
    """A tar of odd headers with right checksums, and of odd bytes."""
    made = [PICTURE]
    for _ in range(rng.randrange(1, 6)):
        if rng.random() < 0.6:
            made.append(header(rng.choice(["a/b", "c.txt", IMAGE]), size=0))
            continue
        size = rng.choice([0, 0, 3, 512, 4096, 2**31, 2**62, -1, -512, -(2**40)])
        kind = rng.choice([b"0", b"0", b"\0", b"5", b"L", b"K", b"x", b"g", b"S", b"1"])
        name = rng.choice([IMAGE, "a/b", "x" * 99, "../a", "/a"])
        size_field = {"length": HUGE} if size > 2**33 else {}
        block = header(name, kind, 0 if size_field else size, **size_field)
        if rng.random() < 0.3:
            block = bytearray(block)
            block[rng.randrange(BLOCK)] = rng.randrange(256)
            block = signed(block) if rng.random() < 0.8 else bytes(block)
        body = rng.choice([b"", b"abc\0", b"13 size=-512\n", b"20 GNU.sparse.size=9\n"])
        body = rng.choice([body, b"1" * 900, rng.randbytes(rng.randrange(2000))])
        made += [block, padded(body) if 0 <= size <= 4096 else b""]
    rng.shuffle(made)
    return b"".join(made) + rng.choice([END, END, END, END[:700]])


def odd_zip(rng):
    """A zip with odd bytes, most of them in its list of members."""
    members = [(rng.choice(["a.csv", "b/c", IMAGE, "d"]), b"x" * rng.randrange(999))]
    members.append((f"e{rng.randrange(3)}", bytes(rng.choice([0, 99, 10**6]))))
    method = rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    content = bytearray(zip_of(*members, method=method))
    if rng.random() < 0.2:
        content = bytearray(zip64(rng.randrange(2**64), rng.randrange(2**64)))
    first = content.rfind(b"PK\x01\x02", 0, content.rfind(b"PK\x01\x02"))
    for _ in range(rng.choice([0, 1, 1, 2, 4])):
        at = rng.randrange(max(0, first) if rng.random() < 0.8 else 0, len(content))
        content[at] = rng.choice([0, 1, 127, 128, 255, rng.randrange(256)])
    return bytes(content)


@pytest.mark.parametrize(
    ("kind", "make", "read"),
    [("tar", odd_tar, read_tar), ("zip", odd_zip, unpack_zip)],
    ids=["tar", "zip"],
)
@pytest.mark.parametrize(
    "n", [pytest.param(60, id="some"), pytest.param(5000, marks=pytest.mark.slow)]
)
def test_an_archive_of_odd_bytes_is_unpacked_or_refused(
    n, kind, make, read, tmp_path, tried
):
    path = tmp_path / f"images_000.{kind}"

    def block(first, length, meter):
        for seed in range(first, first + length):
            path.write_bytes(make(random.Random(seed)))
            with meter.attempt(seed):
                unpack(path, tmp_path / "root", read, meter)

    total = run_blocks(f"archives-{kind}", n, block, tried, seconds=5, megabytes=100)
    refused = total["odd archives that were refused"]
    assert n / 10 < refused < n
