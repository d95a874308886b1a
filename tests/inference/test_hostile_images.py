"""Predict keeps its time limit whatever an image does, and answers all good ones."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kaggle_kit.data.layout import image_path
from kaggle_kit.storage import tables
from tests.helpers import hostile_images as hostile
from tests.helpers.many_images import multiply_test_images

LIMIT_S = 60
# What a process does in which some images are never read, and others never decoded.
PREDICT = """
import json, logging, os, sys, time
from pathlib import Path
began = time.monotonic()
bundle, competition, out, limit_s, unread, endless = json.loads(sys.argv[1])
from kaggle_kit.data import decode
read_image, check_scans = decode.read_image, decode.check_scans
def read(path):
    if path.stem in unread:
        os.read(os.pipe()[0], 1)  # as of a network drive that is gone
    content = read_image(path)
    return content
decode.read_image = read
if endless:
    decode.check_scans = lambda content: None
logging.basicConfig(level=logging.INFO, format="%(message)s")
from kaggle_kit.inference.predict import predict
result = predict(bundle, competition, Path(out), limit_s, began)
print(json.dumps({"guesses": result.guesses, "unreadable": result.unreadable}))
print(f"ended after {time.monotonic() - began:.1f} s", file=sys.stderr)
"""


def put_files(folder):
    """Functions by name; each puts an image at a path that is none, or a bad one."""
    head = hostile.png_head(30_000, 30_000)

    def listen(path):
        with socket.socket(socket.AF_UNIX) as server:
            short = folder / "s"  # the name of a socket is short
            server.bind(str(short))
            short.rename(path)

    def write(content):
        return lambda path: path.write_bytes(content)

    return {
        "scans": write(hostile.jpeg_of_scans(6000, 4000, 3000)),
        "allowed scans": write(hostile.jpeg_of_scans(100, 1000, 1000)),
        "pipe": os.mkfifo,
        "socket": listen,
        "device": lambda path: path.symlink_to("/dev/zero"),
        "error": lambda path: path.symlink_to("/proc/self/mem"),
        "folder": Path.mkdir,
        "loop": lambda path: path.symlink_to(path),
        "large": lambda path: (path.touch(), os.truncate(path, 2**40)),
        "empty": write(b""),
        "cut": write(hostile.jpeg_head(0xC0, 64, 64)),
        "png": write(head + hostile.chunk(b"IDAT", b"") + hostile.chunk(b"IEND", b"")),
        "gif": write(hostile.gif((65_535, 65_535), (1, 1))),
        "webp": write(hostile.webp_with_canvas(2**14, 2**14)),
        "exif": write(hostile.jpeg_of_exif(40)),
        "bmp": write(hostile.bmp_of_runs(4_000_000, 1, b"\1\1\0\0")),
    }


ANSWERED = {"allowed scans", "exif"}  # they are good images
UNREAD = ("unread 1", "unread 2", "unread 3")


def run(bundle_dir, place, out, unread=(), endless=False):
    """Predict in a process; what it returned, its log, and its seconds up to its end."""
    arguments = [bundle_dir, place, out, LIMIT_S, list(unread), endless]
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", PREDICT, json.dumps(arguments, default=str)],
        capture_output=True,
        text=True,
        timeout=LIMIT_S * 3,
        check=False,
    )
    seconds = time.monotonic() - start
    assert done.returncode == 0, done.stderr[-3000:]
    print(done.stderr[-1500:])
    return json.loads(done.stdout.splitlines()[-1]), done.stderr, seconds


def mix(competition, place, times, names):
    """The competition with ``times`` copies of each test image, and some images between.

    Returns:
        The ids by the names of these images, and the ids of all.
    """
    multiply_test_images(competition, place, times)
    sample = place / "sample_submission.csv"
    ids = tables.read_sample(sample)
    step = len(ids) // len(names)
    named = {name: f"{i:02d}abcdef{i:08d}" for i, name in enumerate(names)}
    for i, image_id in enumerate(named.values()):
        ids.insert(i * (step + 1), image_id)
        image_path(place / "test", image_id).parent.mkdir(parents=True, exist_ok=True)
    tables.write_submission(sample, ids, {})
    return named, ids


@pytest.mark.parametrize(
    "times",
    [
        pytest.param(1, id="dozens"),
        pytest.param(36, id="thousand", marks=pytest.mark.extended),
    ],
)
def test_bad_images_are_blank_and_named_and_all_others_are_answered(
    times, bundle_dir, competition, tmp_path, tried
):
    put = put_files(tmp_path)
    place, out = tmp_path / "mixed", tmp_path / "submission.csv"
    named, ids = mix(competition, place, times, [*put, *UNREAD])
    for name, function in put.items():
        function(image_path(place / "test", named[name]))
    unread = [named[name] for name in UNREAD]
    for image_id in unread:
        path = image_path(place / "test", image_id)
        path.write_bytes(hostile.jpeg_of_scans(2, 8, 8))
    result, log, seconds = run(bundle_dir, place, out, unread)
    assert seconds < LIMIT_S
    bad = {image_id for name, image_id in named.items() if name not in ANSWERED}
    guesses = tables.read_submission(out)
    assert list(guesses) == ids
    assert {i for i, guess in guesses.items() if guess is None} == bad
    assert result == {"guesses": len(ids) - len(bad), "unreadable": len(bad)}
    last = log.splitlines()[-3:]
    assert all(f"{i}.jpg" in " ".join(last) for i in bad)
    assert all(log.count(f"{i}.jpg: not decoded within") == 2 for i in unread)
    tried["bad images predicted among good ones, in time"] += len(bad)


@pytest.mark.extended
def test_a_decoder_that_never_ends_keeps_no_process_alive(
    bundle_dir, competition, tmp_path
):
    """The check of scans is left out: TensorFlow is busy for minutes with one image."""
    place, out = tmp_path / "mixed", tmp_path / "submission.csv"
    named, ids = mix(competition, place, 1, ["endless"])
    path = image_path(place / "test", named["endless"])
    path.write_bytes(hostile.jpeg_of_scans(60_000, 4000, 3000))
    result, log, seconds = run(bundle_dir, place, out, endless=True)
    assert seconds < LIMIT_S
    assert result == {"guesses": len(ids) - 1, "unreadable": 1}
    assert f"{named['endless']}.jpg: not decoded within" in log
