"""Only regular files are opened, and only up to a size."""

import os
import socket

import pytest

from kaggle_kit.storage.regular_files import open_regular, read_regular


def test_regular_file_is_read_through_a_link(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "link", 3) == b"abc"


def test_more_bytes_than_allowed_are_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"abcd")
    with pytest.raises(OSError, match="more than 3 bytes"):
        read_regular(tmp_path / "file", 3)


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_anything_else_is_refused_without_waiting(kind, tmp_path):
    path = tmp_path / kind
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(path))
        server.close()
    else:
        path = "/dev/zero"
    with pytest.raises(OSError):
        open_regular(path)


def test_folder_is_refused(tmp_path):
    with pytest.raises(OSError):
        open_regular(tmp_path)
