"""Bundles and runs from strangers: their arrays are numbers, and nothing in them runs.

Other ways in are tried elsewhere: networks in ``test_strange_networks.py``, manifests and
links in ``test_manifests.py``, archives in ``test_archive_names.py`` and
``tests/data/test_archives.py`` and ``test_tars.py``, shards in ``test_shards.py``, YAML's
tags in ``test_configs.py``, PyTorch's files in ``tests/model/test_torch_file.py``.
"""

import io
import os
import pickle
import random
import zipfile

import numpy as np
import pytest

from kaggle_kit.errors import ArtefactError
from kaggle_kit.local_features.vlad import Vocabulary
from kaggle_kit.retrieval.gallery import Gallery
from kaggle_kit.retrieval.whitening import Whitening
from tests.helpers.complaints import check_complaint
from tests.helpers.fuzzing import run_blocks

HACKED = "hacked"


class Bomb:
    """What writes a file as soon as it is unpickled."""

    def __reduce__(self):
        return open, (HACKED, "w")


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path, monkeypatch):
    """A hack would leave a file in the working folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    yield
    assert not list((tmp_path / "here").iterdir())


def npy(array, **changes):
    """The bytes of an ``.npy`` file whose header says something else."""
    file = io.BytesIO()
    header = np.lib.format.header_data_from_array_1_0(array) | changes
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + array.tobytes()


def objects():
    file = io.BytesIO()
    np.save(file, np.array([Bomb()], object), allow_pickle=True)
    return file.getvalue()


def header(text):
    """The bytes of an ``.npy`` file with such a header."""
    raw = text.encode("latin-1") + b"\n"
    return b"\x93NUMPY\x01\x00" + len(raw).to_bytes(2, "little") + raw + bytes(64)


ONES = np.ones((4, 8), np.float32)
BAD_ARRAYS = {
    "objects": objects(),
    "a pickle": pickle.dumps(Bomb()),
    "nothing": b"",
    "text": b"not an array",
    "cut": npy(ONES)[:90],
    "of a petabyte": npy(ONES, shape=(10**12, 256)),
    "of a negative size": npy(ONES, shape=(-4, 8)),
    "of no size": npy(ONES, shape=("a", 8)),
    "of objects in a field": npy(ONES, descr=[("a", "O")]),
    "of an unknown type": npy(ONES, descr="<z9"),
    "of text": npy(np.array([["a" * 4] * 8] * 4)),
    "with code": header("__import__('os').system('touch hacked')"),
    "with half a header": header("{'descr': '<f4', 'shape': (4,"),
    "with indents": header("  {\n a\n  b"),
    "with many brackets": header("(" * 60_000),
    "of another version": b"\x93NUMPY\x09\x00" + npy(ONES)[8:],
    "of version 3": b"\x93NUMPY\x03\x00" + npy(ONES)[8:],
    "with a header of a gigabyte": b"\x93NUMPY\x02\x00" + (10**9).to_bytes(4, "little"),
    "with a header of 60 kB": header("{'descr': '<f4', " + " " * 60_000 + "}"),
    "of as many rows as are not there": npy(ONES, shape=(10**15, 0)),
    "of fewer bytes": npy(ONES, shape=(4, 7)),
    "of more bytes": npy(ONES) + b"x",
    "of a size that overflows": npy(ONES, shape=(2**32, 2**32, 4, 8)),
    "of rows in rows": npy(ONES, descr=("<f4", (8,)), shape=(4,)),
    "of named columns": npy(ONES, descr=[("a", "<f4")], shape=(32,)),
    "of a billion dimensions": header(
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1," * 1500 + ")}"
    ),
}


def test_the_bomb_would_have_worked(tmp_path):
    path = tmp_path / "bomb.npy"
    path.write_bytes(BAD_ARRAYS["objects"])
    np.load(path, allow_pickle=True)
    (tmp_path / "here" / HACKED).unlink()
    pickle.loads(BAD_ARRAYS["a pickle"])
    (tmp_path / "here" / HACKED).unlink()


@pytest.fixture
def gallery(tmp_path):
    """A folder with a gallery."""
    halves = (ONES / 8**0.5).astype(np.float16)
    whole = Gallery(
        ["aaa", "aab", "aac", "aad"],
        np.arange(4),
        halves,
        np.ones(4, np.float32),
        halves[:2],
    )
    whole.save(tmp_path / "gallery")
    return tmp_path / "gallery"


@pytest.mark.parametrize("name", ["vectors", "penalties", "non_landmarks"])
@pytest.mark.parametrize("what", BAD_ARRAYS)
def test_a_gallery_is_numbers_or_refused(name, what, gallery):
    (gallery / f"{name}.npy").write_bytes(BAD_ARRAYS[what])
    with pytest.raises(ArtefactError) as caught:
        Gallery.load(gallery)
    check_complaint(caught.value, gallery)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("vectors", np.ones(4, np.float16)),
        ("vectors", np.ones((4, 7), np.float16)),
        ("vectors", np.ones((3, 8), np.float16)),
        ("vectors", np.ones((4, 8), np.int64)),
        ("vectors", np.ones((4, 8, 1), np.float16)),
        ("vectors", np.array(1.0)),
        ("penalties", np.ones((4, 1), np.float32)),
        ("penalties", np.ones(5, np.float32)),
        ("non_landmarks", np.ones((2, 9), np.float16)),
        ("non_landmarks", np.ones((0, 9), np.float16)),
    ],
    ids=range(10),
)
def test_a_gallery_whose_arrays_do_not_fit_is_refused(name, array, gallery):
    np.save(gallery / f"{name}.npy", array)
    with pytest.raises(ArtefactError) as caught:
        Gallery.load(gallery)
    check_complaint(caught.value, gallery)


def npz(method=zipfile.ZIP_STORED, **entries):
    """The bytes of an ``.npz`` file of such ``.npy`` files."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


@pytest.mark.parametrize("what", BAD_ARRAYS)
def test_a_whitening_is_numbers_or_refused(what, tmp_path):
    path = tmp_path / "model.whitening.npz"
    good = npy(np.full(4, 0.5, np.float32))
    for content in (
        BAD_ARRAYS[what],
        npz(mean=good, matrix=BAD_ARRAYS[what]),
        npz(mean=BAD_ARRAYS[what], matrix=npy(ONES)),
    ):
        path.write_bytes(content)
        with pytest.raises(ArtefactError) as caught:
            Whitening.load(path)
        check_complaint(caught.value, path)
    path.write_bytes(npz(mean=good, matrix=npy(ONES)))
    assert Whitening.load(path).matrix.shape == (4, 8)


@pytest.mark.parametrize("what", BAD_ARRAYS)
def test_words_and_local_features_are_numbers_or_refused(what, tmp_path):
    path = tmp_path / "words.npy"
    path.write_bytes(BAD_ARRAYS[what])
    with pytest.raises(ArtefactError) as caught:
        Vocabulary.load(path)
    check_complaint(caught.value, path)
    local = pytest.importorskip("kaggle_kit.local_features.sift", reason="OpenCV")
    empty = local.Features(
        np.ones((1, 2), np.float32),
        np.full((1, 128), 45, np.uint8),
        np.ones(1, np.float32),
    )
    for name in local.ARRAYS:
        folder = tmp_path / name
        local.LocalFeatures.concatenate([empty]).save(folder)
        (folder / f"{name}.npy").write_bytes(BAD_ARRAYS[what])
        with pytest.raises(ArtefactError) as caught:
            local.LocalFeatures.load(folder)
        check_complaint(caught.value, folder)


@pytest.mark.parametrize("what", BAD_ARRAYS)
def test_a_checkpoint_is_numbers_or_refused(what, tmp_path):
    from kaggle_kit.training.checkpoint import read_progress

    path = tmp_path / "checkpoint-0001.npz"
    for content in (BAD_ARRAYS[what], npz(place=BAD_ARRAYS[what])):
        path.write_bytes(content)
        with pytest.raises(ArtefactError) as caught:
            read_progress(path, 0)
        check_complaint(caught.value, path)


@pytest.mark.parametrize(
    "n", [pytest.param(300, id="some"), pytest.param(5000, marks=pytest.mark.slow)]
)
def test_a_changed_array_is_an_array_or_refused(n, gallery, tried):
    rng = random.Random(3)
    path = gallery / "vectors.npy"
    original = path.read_bytes()
    for _ in range(n):
        changed = bytearray(original)
        for _ in range(rng.randint(1, 4)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        path.write_bytes(changed[: rng.choice([None, None, rng.randrange(300)])])
        try:
            assert Gallery.load(gallery).vectors.shape == (4, 8)
        except ArtefactError as error:
            check_complaint(error, gallery)
            tried["damaged arrays, each one line"] += 1
        tried["changed arrays, each read or refused"] += 1


def refused(path, load, meter):
    """Load a file; count whether it is refused, in one line that is not about memory."""
    try:
        load(path)
    except ArtefactError as error:
        check_complaint(error, path)
        assert "MemoryError" not in str(error) and "allocate" not in str(error)
        meter.counts["npz files refused, each in one line"] += 1
    meter.counts["changed npz files, each read or refused"] += 1


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_an_array_needs_no_more_memory_than_its_file(method, tmp_path, tried):
    """A whitening of 200 kB with a matrix of 200 MB."""
    path = tmp_path / "model.whitening.npz"
    side = 7200
    matrix = npy(np.zeros((side, side), np.float32))
    path.write_bytes(npz(method, mean=npy(np.zeros(side, np.float32)), matrix=matrix))
    assert path.stat().st_size < 10**6
    del matrix

    def check(first, n, meter):
        with meter.attempt(path):
            refused(path, Whitening.load, meter)
        assert meter.counts["npz files refused, each in one line"]

    run_blocks(None, 1, check, tried, megabytes=50)


def test_a_whitening_of_more_dimensions_than_the_settings_is_refused(tmp_path):
    path = tmp_path / "model.whitening.npz"
    Whitening(np.zeros(4, np.float32), ONES).save(path)
    assert Whitening.load(path, 8).matrix.shape == (4, 8)
    with pytest.raises(ArtefactError, match="8 dimensions instead of 7"):
        Whitening.load(path, 7)


def test_an_image_with_more_local_features_than_the_settings_is_refused(tmp_path):
    local = pytest.importorskip("kaggle_kit.local_features.sift", reason="OpenCV")
    features = local.Features(
        np.ones((3, 2), np.float32),
        np.full((3, 128), 45, np.uint8),
        np.ones(3, np.float32),
    )
    local.LocalFeatures.concatenate([features]).save(tmp_path / "local")
    assert len(local.LocalFeatures.load(tmp_path / "local", 3)) == 1
    with pytest.raises(ArtefactError, match="at most 2 features of an image, got 3"):
        local.LocalFeatures.load(tmp_path / "local", 2)


@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_an_array_that_is_no_regular_file_is_refused(kind, gallery, tmp_path):
    """A pipe would wait for a writer for ever."""
    path = gallery / "vectors.npy"
    path.unlink()
    make = {
        "pipe": lambda: os.mkfifo(path),
        "folder": path.mkdir,
        "device": lambda: path.symlink_to("/dev/zero"),
    }
    make[kind]()
    with pytest.raises(ArtefactError) as caught:
        Gallery.load(gallery)
    check_complaint(caught.value, gallery)
    with pytest.raises(ArtefactError) as caught:
        Whitening.load(path)
    check_complaint(caught.value, path)


SHAPES = [(), (0,), (4,), (8,), (4, 8), (8, 4), (10**9, 10**9), (-1, 8), (10**12, 0)]
TYPES = ["<f4", "<f2", ">f4", "<f8", "<i8", "|b1", "|O", "<U8", "<c8", "<M8[s]", "|V4"]


def odd_npz(rng):
    """The bytes of an ``.npz`` file with strange headers, members, sizes and bytes."""
    entries = {"mean": np.full(4, 0.5, np.float32), "matrix": ONES}
    made = {}
    for name, array in entries.items():
        changes = {
            "shape": rng.choice([array.shape] * 40 + SHAPES),
            "fortran_order": rng.random() < 0.2,
            "descr": rng.choice(["<f4"] * 40 + TYPES),
        }
        made[name] = npy(array, **changes) + bytes(rng.choice([0] * 12 + [1, 10**6]))
        if rng.random() < 0.1:
            made[name] = BAD_ARRAYS[rng.choice(sorted(BAD_ARRAYS))]
    if rng.random() < 0.1:
        made.pop(rng.choice(sorted(made)))
    methods = [zipfile.ZIP_STORED] * 4
    methods += [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2]
    content = bytearray(npz(rng.choice(methods), **made))
    for _ in range(rng.choice([0, 0, 0, 1, 2, 8])):
        tail = rng.random() < 0.5  # the list of members
        at = rng.randrange(max(0, len(content) - 200) if tail else 0, len(content))
        content[at] = rng.choice([0, 1, 255, rng.randrange(256)])
    return bytes(content[: rng.choice([None] * 8 + [rng.randrange(len(content))])])


@pytest.mark.parametrize(
    "n", [pytest.param(150, id="some"), pytest.param(5000, marks=pytest.mark.slow)]
)
def test_a_changed_npz_file_is_arrays_or_refused(n, tmp_path, tried):
    """In a process whose memory is bounded, and that writes nothing."""
    path = tmp_path / "model.whitening.npz"

    def check(first, length, meter):
        for seed in range(first, first + length):
            path.write_bytes(odd_npz(random.Random(seed)))
            with meter.attempt(seed):
                refused(path, lambda p: Whitening.load(p, 8), meter)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["here", path.name]

    total = run_blocks("npz", n, check, tried, seconds=2, megabytes=60)
    assert n / 10 < total["npz files refused, each in one line"] < n
