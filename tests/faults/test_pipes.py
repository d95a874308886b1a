"""An image that is a pipe, a socket or a device is refused by all that read images."""

import os
import socket
import threading
from pathlib import Path

import pytest

from kaggle_kit.app.album import Album, choose_examples
from kaggle_kit.backends.pillow import LightEngine
from kaggle_kit.backends.tensorflow import TensorFlowEngine
from kaggle_kit.cli import main
from kaggle_kit.data.decode import decode_file
from kaggle_kit.data.image_files import MOST_BYTES, read_image
from kaggle_kit.data.index import index, look
from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.errors import KitError
from kaggle_kit.inference.recogniser import Recogniser
from kaggle_kit.report.images import thumbnail
from kaggle_kit.report.matches import match
from tests.helpers.small_competition import competition_files, image_id

KINDS = ("pipe", "socket", "device", "endless")


def in_time(function, seconds=20):
    """What a function returns or raises; it fails the test if it does not end."""
    found = []

    def call():
        try:
            found.append(function())
        except (KitError, OSError, SystemExit) as error:
            found.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    assert found, "it still waits"
    return found[0]


def put(kind, path: Path):
    """Put something at a path that is no regular file."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            here = Path.cwd()
            os.chdir(path.parent)  # the name of a socket is short
            server.bind(path.name)
            os.chdir(here)
    else:
        path.symlink_to("/dev/zero" if kind == "endless" else "/dev/null")
    return path


@pytest.fixture(params=KINDS)
def strange(request, tmp_path):
    """The path of an image that is no regular file."""
    return put(request.param, tmp_path / "x.jpg")


def test_readers_refuse_it(strange):
    assert isinstance(in_time(lambda: read_image(strange)), OSError)
    assert in_time(lambda: decode_file(strange, 32)) is None
    for engine in (LightEngine(), TensorFlowEngine()):
        assert in_time(lambda e=engine: e.decode(strange, 32)) is None
    assert isinstance(in_time(lambda: look(strange)), str)
    assert in_time(lambda: thumbnail(strange)) is None


def test_commands_refuse_it_in_one_line(strange, bundle_dir, tmp_path, capsys):
    out = tmp_path / "out.png"
    error = in_time(lambda: match(strange, strange, out))
    assert "expected an image" in str(error) and "\n" not in str(error)
    assert not out.exists()
    code = in_time(lambda: main(["similar", str(strange), "--bundle", str(bundle_dir)]))
    said = capsys.readouterr().err
    assert getattr(code, "code", code) == 1 and "expected an image" in said


def test_the_api_says_so_of_it(strange, bundle_dir):
    with Recogniser.load(bundle_dir) as recogniser:
        (answer,) = in_time(lambda: recogniser.recognise([strange]))
        assert "expected an image" in answer.error
        error = in_time(lambda: recogniser.similar(strange))
        assert "expected an image" in str(error)


def test_the_index_and_the_app_leave_it_out(tmp_path, bundle_dir):
    for name, content in competition_files(6, 4).items():
        path = tmp_path / "c" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    place = Competition(tmp_path / "c")
    for i, kind in enumerate(KINDS):
        train = image_path(place.train_dir, image_id(i))
        test = image_path(place.test_dir, image_id(6 + i))
        for path in (train, test):
            path.unlink()
            put(kind, path)
    counts = in_time(lambda: index(place.root, tmp_path / "index.csv"))
    assert (counts.labelled, counts.broken) == (2, 4)
    album = in_time(lambda: Album(bundle_dir, place.root))
    assert in_time(lambda: [album.load_preview(image_id(i)) for i in range(4)]) == [
        None
    ] * len(KINDS)
    assert album.load_preview(image_id(5)) is not None
    assert choose_examples(place) == []


def test_a_larger_file_than_the_bound_is_not_read(tmp_path):
    path = tmp_path / "x.jpg"
    path.touch()
    os.truncate(path, MOST_BYTES + 1)
    with pytest.raises(OSError, match="more than"):
        read_image(path)
    assert decode_file(path, 32) is None
