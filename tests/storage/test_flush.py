"""What has its final name is whole, also after power loss.

A file system of its own is shut down as if the power had failed: what was not flushed is
lost. The order of flushes and renames is recorded, too.
"""

from pathlib import Path

import pytest

from kaggle_kit.download.staging import open_staging
from kaggle_kit.kaggle import ledger
from kaggle_kit.storage import flush, places
from kaggle_kit.storage.files import atomic_write
from kaggle_kit.storage.folders import FolderKind, atomic_write_dir
from kaggle_kit.storage.json_files import write_json
from tests.helpers.flushes import Recorder
from tests.helpers.mounts import run_among_mounts

KIND = FolderKind("marker", ("deep/*",))


def write_folder(path: Path, text: str) -> None:
    with atomic_write_dir(path, KIND) as part:
        (part / "deep").mkdir()
        (part / "deep" / text).write_text(text * 1000)
        (part / "marker").write_text(text)


@pytest.fixture
def recorder(monkeypatch):
    return Recorder(monkeypatch)


def test_a_file_is_flushed_before_its_rename_and_its_folder_after(recorder, tmp_path):
    with atomic_write(tmp_path / "x.csv") as part:
        part.write_text("x")
    assert recorder.renamed == ["x.csv"] and not recorder.waiting


def test_manifest_and_ledger_are_flushed(recorder, tmp_path):
    write_json({"files": {}}, tmp_path / "kit-manifest.json")
    ledger.save_row(ledger.EMPTY_ROW, tmp_path / "ledger.csv")
    assert recorder.renamed == ["kit-manifest.json", "ledger.csv"]
    assert not recorder.waiting


@pytest.mark.parametrize("stays", [False, True], ids=["renamed", "filled in place"])
def test_a_folder_is_flushed_with_all_that_is_in_it(
    recorder, stays, tmp_path, monkeypatch
):
    if stays:
        monkeypatch.setattr(places, "can_rename", lambda *_: False)
    for text in ("one", "two"):
        write_folder(tmp_path / "out", text)
        (tmp_path / "out" / "thesis.txt").write_text("mine")
        assert not recorder.waiting
    assert len(recorder.renamed) >= 3


def test_a_downloaded_image_is_flushed_before_it_gets_its_name(recorder, tmp_path):
    with open_staging(tmp_path, None) as staging:
        (staging.folder / "image").write_text("x")
        staging.install(staging.folder / "image", "train/0/1/2/0123.jpg")
    assert recorder.renamed == ["0123.jpg"]


def test_all_of_a_disk_is_flushed_at_once(tmp_path):
    flush.flush_disk(tmp_path)
    with pytest.raises(FileNotFoundError):
        flush.flush_disk(tmp_path / "no")


# A power loss

DISK = (
    "truncate -s 64M image && mkfs.ext4 -q -F image && mkdir disk && "
    "mount -o loop image disk"
)
WRITE = """
import fcntl, os, struct
from pathlib import Path
from kaggle_kit.kaggle import ledger
from kaggle_kit.storage.csv_files import write_rows
from kaggle_kit.storage.json_files import write_json
from tests.storage.test_flush import write_folder

disk = Path("disk")
write_json(["manifest"] * 10000, disk / "kit-manifest.json")
write_rows(disk / "index.csv", ("id",), [("i",)] * 10000)
ledger.save_row(ledger.EMPTY_ROW, disk / "ledger.csv")
for text in ("one", "two"):
    write_folder(disk / "out", text)
    (disk / "out" / "thesis.txt").write_text("mine")
    if text == "one":
        os.sync()  # the user's file is on the disk by then
        # Another program, the usual way, without a flush.
        (disk / "usual.part").write_text("usual" * 10000)
        os.replace(disk / "usual.part", disk / "usual")
root = os.open(disk, os.O_RDONLY)
shutdown, without_flush = 0x8004587D, struct.pack("I", 2)  # FS_IOC_SHUTDOWN of Linux
fcntl.ioctl(root, shutdown, without_flush)
"""


def test_after_a_power_loss_all_that_has_its_final_name_is_whole(tmp_path):
    (tmp_path / "write.py").write_text(WRITE)
    done = run_among_mounts(
        tmp_path,
        DISK,
        "$PYTHON write.py || exit 1; umount disk; mount -o loop image disk && "
        "cp -r disk seen && umount disk",
    )
    assert done.returncode == 0, done.stderr
    seen = tmp_path / "seen"
    usual = seen / "usual"
    assert not usual.exists() or usual.stat().st_size == 0, "this disk loses nothing"
    assert len((seen / "kit-manifest.json").read_text().split("manifest")) == 10001
    assert len((seen / "index.csv").read_text().splitlines()) == 10001
    assert len((seen / "ledger.csv").read_text().splitlines()) == 2
    assert (seen / "out" / "marker").read_text() == "two"
    assert (seen / "out" / "deep" / "two").read_text() == "two" * 1000
    assert (seen / "out" / "thesis.txt").exists()
