"""Bundles and runs from strangers: their arrays are numbers, and nothing in them runs.

Other ways in are tried elsewhere: networks in ``test_strange_networks.py``, manifests and
links in ``test_manifests.py``, archives in ``test_archive_names.py`` and
``tests/data/test_archives.py`` and ``test_tars.py``, shards in ``test_shards.py``, YAML's
tags in ``test_configs.py``, PyTorch's files in ``tests/model/test_torch_file.py``.
"""

import io
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


def npz(**entries):
    """The bytes of an ``.npz`` file of such ``.npy`` files."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
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
