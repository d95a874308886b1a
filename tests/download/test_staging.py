"""The staging folder: partial files, the source and the reserve."""

import errno
import json
import os

import pytest

from kaggle_kit.download import staging
from kaggle_kit.download.staging import drop_unusable_partial, open_staging
from kaggle_kit.errors import ArtefactError, DataError, WaitError
from tests.helpers.mounts import run_among_mounts


@pytest.mark.parametrize(
    ("content", "sidecar", "kept"),
    [
        (b"PK\x03\x04 and so on", {"validator": "x", "size": 100}, True),
        (b"\xff\xd8\xff an image", {"validator": "x", "size": 100}, True),
        (b"<?xml an error page", {"validator": "x", "size": 100}, False),
        (b'{"code": 403}', {"validator": "x", "size": 100}, False),
        (b"PK\x03\x04 too long", {"validator": "x", "size": 5}, False),
        (b"PK\x03\x04 of what?", None, False),
        (b"PK\x03\x04 damaged", "no JSON", False),
        (b"", {"validator": "x", "size": 100}, False),
    ],
)
def test_only_a_partial_file_that_can_be_resumed_is_kept(
    tmp_path, content, sidecar, kept
):
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    beside = tmp_path / f"a.zip{staging.SIDECAR}"
    if sidecar is not None:
        beside.write_text(sidecar if isinstance(sidecar, str) else json.dumps(sidecar))
    drop_unusable_partial(path)
    assert path.exists() == kept and beside.exists() == kept


def test_a_sidecar_without_its_file_is_deleted(tmp_path):
    (tmp_path / f"a.zip{staging.SIDECAR}").write_text('{"size": 3}')
    drop_unusable_partial(tmp_path / "a.zip")
    assert not list(tmp_path.iterdir())


def test_the_first_installed_file_fixes_the_source(tmp_path):
    for source in ("a-slip", "right"):
        with open_staging(tmp_path, source) as here:
            pass
    (here.folder / "x").write_bytes(b"x")
    with open_staging(tmp_path, "right") as here:
        here.install(here.folder / "x", "a/b/x")
    assert (tmp_path / "a/b/x").read_bytes() == b"x"
    with (
        pytest.raises(ArtefactError, match="found images of right"),
        open_staging(tmp_path, "a-slip"),
    ):
        pass


def test_the_reserve_is_left_free(tmp_path, monkeypatch):
    monkeypatch.setattr(staging, "free_bytes", lambda _: staging.RESERVE + 10)
    with open_staging(tmp_path, "x") as here:
        here.require_space(10, "it")
        with pytest.raises(DataError, match="free for it"):
            here.require_space(11, "it")


def test_a_folder_of_images_on_another_disk_is_filled(tmp_path):
    """No file can be renamed to there."""
    code = (
        "from pathlib import Path; from kaggle_kit.download.staging import open_staging\n"
        "with open_staging(Path('out'), None) as staging:\n"
        "    (staging.folder / 'image').write_text('x')\n"
        "    staging.install(staging.folder / 'image', 'train/0/1/2/0123.jpg')\n"
        "    assert not (staging.folder / 'image').exists()\n"
    )
    (tmp_path / "script.py").write_text(code)
    done = run_among_mounts(
        tmp_path,
        "mkdir -p out/train && mount -t tmpfs none out/train",
        "$PYTHON script.py && find out/train -type f",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "out/train/0/1/2/0123.jpg\n"


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS])
def test_without_locks_of_the_system_one_download_waits_for_another(
    number, tmp_path, monkeypatch
):
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    monkeypatch.setattr(staging, "WAIT_TIMEOUT_S", 0.0)
    second = open_staging(tmp_path, None)
    message = "one that is still running"
    with open_staging(tmp_path, None), pytest.raises(WaitError, match=message):
        second.__enter__()
    with open_staging(tmp_path, None):
        pass
    assert sorted(os.listdir(tmp_path / ".download")) == ["lock"]
