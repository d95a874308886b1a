"""Bundles, runs, shards and archives from strangers: no code runs, no file leaves its folder.

Archives are also attacked in ``tests/data/test_archives.py`` and ``test_tars.py``, PyTorch's
files in ``tests/model/test_torch_file.py``, YAML's tags in ``test_configs.py``.
"""

import io
import json
import pickle
import random
import shutil
import stat
import tarfile
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaggle_kit.data.archives import DAMAGE, unpack, unpack_tar
from kaggle_kit.data.shards import photo_classes, read_manifest
from kaggle_kit.data.stage import held
from kaggle_kit.errors import ArtefactError, DataError, KitError
from kaggle_kit.publish.dataset import publish
from kaggle_kit.publish.manifest import MANIFEST, described, verify
from kaggle_kit.publish.rehearse import rehearse
from kaggle_kit.recognition.search import Gallery
from kaggle_kit.recognition.vlad import Vocabulary
from kaggle_kit.recognition.whitening import Whitening
from tests.data.small import jpeg
from tests.faults.test_tables import check_complaint, steady
from tests.publish.conftest import sign

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
    halves = ONES.astype(np.float16)
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
    good = npy(np.ones(4, np.float32))
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
    local = pytest.importorskip("kaggle_kit.recognition.local", reason="OpenCV")
    empty = local.Features(
        np.ones((1, 2), np.float32), np.ones((1, 128), np.uint8), np.ones(1, np.float32)
    )
    for name in local.ARRAYS:
        folder = tmp_path / name
        local.LocalFeatures.of([empty]).save(folder)
        (folder / f"{name}.npy").write_bytes(BAD_ARRAYS[what])
        with pytest.raises(ArtefactError) as caught:
            local.LocalFeatures.load(folder)
        check_complaint(caught.value, folder)


@pytest.mark.parametrize("what", BAD_ARRAYS)
def test_a_checkpoint_is_numbers_or_refused(what, tmp_path):
    from kaggle_kit.training.state import read_place

    path = tmp_path / "checkpoint-0001.npz"
    for content in (BAD_ARRAYS[what], npz(place=BAD_ARRAYS[what])):
        path.write_bytes(content)
        with pytest.raises(ArtefactError) as caught:
            np.sum(read_place(path))
            raise ArtefactError(
                f"{path}: numbers"
            )  # of a text, say, which sums to none
        check_complaint(caught.value, path)


@pytest.mark.parametrize(
    "n", [pytest.param(300, id="some"), pytest.param(20000, marks=pytest.mark.slow)]
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


# Archives whose names were made by a machine.

PIECES = ["..", ".", "/", "//", "\\", "a", "train", "C:", "\0", "~", " ", "x.jpg", "é"]
NAMES = st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join)
KINDS = [0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFCHR, stat.S_IFSOCK]


def files_outside(folder):
    """All that is beside the folder that is unpacked into."""
    return sorted(p.name for p in folder.parent.iterdir() if p != folder)


@pytest.mark.parametrize(
    "n", [pytest.param(200, id="some"), pytest.param(5000, marks=pytest.mark.slow)]
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
        with held(root, "somewhere") as stage:
            try:
                unpack(path, stage)
                tried["odd zips that were unpacked"] += 1
            except (DataError, *DAMAGE, OSError) as error:
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
    "n", [pytest.param(200, id="some"), pytest.param(5000, marks=pytest.mark.slow)]
)
def test_no_name_in_a_tar_leads_out_of_the_folder(n, tmp_path, tried):
    path = tmp_path / "images_000.tar"
    root = tmp_path / "root"
    photo = "0/1/2/0123456789abcdef.jpg"

    @steady(n)
    @given(name=NAMES | st.just(photo), link=NAMES, kind=st.sampled_from(TYPES))
    def check(name, link, kind):
        shutil.rmtree(root, ignore_errors=True)
        content = jpeg(1)
        with tarfile.open(path, "w") as archive:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, link
            member.size = len(content) if kind in (tarfile.REGTYPE,) else 0
            archive.addfile(member, io.BytesIO(content))
        before = files_outside(root)
        with held(root, "somewhere") as stage:
            try:
                unpack_tar(path, stage, None, lambda _: None)
                tried["odd tars that were unpacked"] += 1
            except (DataError, EOFError, tarfile.TarError):
                tried["odd tars that were refused"] += 1
        assert files_outside(root) == before
        found = [
            p.relative_to(root).as_posix() for p in (root / "train").rglob("*.jpg")
        ]
        fine = name == photo and kind in (tarfile.REGTYPE, tarfile.CONTTYPE)
        assert found == ([f"train/{photo}"] if fine else [])

    check()


def test_a_photo_of_many_gigabytes_in_a_small_tar_is_refused(tmp_path):
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
        held(tmp_path / "root", "somewhere") as stage,
        pytest.raises(DataError) as caught,
    ):
        unpack_tar(path, stage, None, lambda _: None)
    assert "0123456789abcdef.jpg" in str(caught.value)


# Manifests.


@pytest.fixture
def bundle(tmp_path):
    """A folder that is a bundle as far as its manifest goes."""
    folder = tmp_path / "bundle"
    (folder / "gallery").mkdir(parents=True)
    (folder / "gallery" / "vectors.npy").write_bytes(npy(ONES))
    (folder / "config.json").write_text('{"name": "x"}\n')
    (folder / "dataset-metadata.json").write_text("{}")
    sign(folder)
    return folder


def rewritten(bundle, change):
    path = bundle / MANIFEST
    manifest = json.loads(path.read_text())
    change(manifest["files"])
    path.write_text(json.dumps(manifest))


def test_a_bundle_whose_file_differs_is_refused_with_the_file_named(bundle, tmp_path):
    path = bundle / "gallery" / "vectors.npy"
    assert verify(bundle)["files"]["gallery/vectors.npy"] == described(path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    (tmp_path / "place" / "train").mkdir(parents=True)
    (tmp_path / "place" / "test").mkdir()
    for name in ("train/x", "test/x", "train.csv", "sample_submission.csv"):
        (tmp_path / "place" / name).write_text("x")
    for use in (
        lambda: verify(bundle),
        lambda: publish(bundle),
        lambda: rehearse(bundle, tmp_path / "place", tmp_path / "out"),
    ):
        with pytest.raises(ArtefactError) as caught:
            use()
        check_complaint(caught.value, path)
    assert not (tmp_path / "out").exists()


def test_a_file_that_the_manifest_does_not_list_is_refused(bundle):
    """Code, say, that the kernel would import."""
    path = bundle / "gallery" / "more.py"
    path.write_text("open('hacked', 'w')\n")
    with pytest.raises(ArtefactError) as caught:
        verify(bundle)
    check_complaint(caught.value, path)


@pytest.mark.parametrize(
    "name", ["config.json", "gallery", "more", "gallery/vectors.npy"]
)
@pytest.mark.parametrize("inside", [False, True])
def test_a_link_in_a_bundle_is_refused(name, inside, bundle, tmp_path):
    """It may lead to a file of this machine, which would go up."""
    path = bundle / name
    target = (bundle if inside else tmp_path) / "target"
    if path.exists():
        path.rename(target)
    else:
        target.write_text("secret")
    path.symlink_to(target)
    with pytest.raises(ArtefactError) as caught:
        verify(bundle)
    check_complaint(caught.value, path)
    assert "link" in str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["../secret", "/etc/hostname", "a/../../secret", "./config.json", "a\\b", ""],
)
def test_a_manifest_with_a_name_that_leads_elsewhere_is_refused(name, bundle, tmp_path):
    (tmp_path / "secret").write_text("secret")
    entry = described(tmp_path / "secret")
    rewritten(bundle, lambda files: files.update({name: entry}))
    with pytest.raises(ArtefactError) as caught:
        verify(bundle)
    check_complaint(caught.value, bundle)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.text(max_size=5), inner, max_size=2)
    ),
    max_leaves=4,
)


@st.composite
def changed_json(draw, original):
    """JSON with one value replaced, removed or renamed, or some of its bytes changed."""
    if draw(st.integers(0, 3)) == 0:
        raw = bytearray(json.dumps(original).encode())
        at = draw(st.integers(0, len(raw)))
        raw[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
        return bytes(raw)
    values = json.loads(json.dumps(original))
    place, key, here = {"": values}, "", values
    while isinstance(here, dict | list) and here and draw(st.integers(0, 4)):
        place = here
        key = draw(
            st.sampled_from(
                sorted(here) if isinstance(here, dict) else range(len(here))
            )
        )
        here = here[key]
    if draw(st.booleans()):
        place[key] = draw(JUNK)
    else:
        del place[key]
    return json.dumps(values).encode()


@pytest.mark.parametrize(
    "n", [pytest.param(300, id="some"), pytest.param(10000, marks=pytest.mark.slow)]
)
def test_a_changed_manifest_is_true_or_refused(n, bundle, tried):
    path = bundle / MANIFEST
    original = json.loads(path.read_text())
    there = {
        p.relative_to(bundle).as_posix(): described(p) for p in bundle.rglob("*.*y")
    }
    there["config.json"] = described(bundle / "config.json")

    @steady(n)
    @given(content=changed_json(original))
    def check(content):
        path.write_bytes(content)
        tried["changed manifests, each true or refused"] += 1
        try:
            found = verify(bundle)
        except ArtefactError as error:
            check_complaint(error, bundle)
            tried["bad manifests, each one line"] += 1
            return
        listed = {k: (v["bytes"], v["sha256"]) for k, v in found["files"].items()}
        assert listed == {k: (v["bytes"], v["sha256"]) for k, v in there.items()}
        assert isinstance(found.get("name", ""), str)

    check()


@pytest.fixture
def shards(tmp_path):
    """A folder that is one of shards as far as its tables go."""
    folder = tmp_path / "shards"
    folder.mkdir()
    (folder / "train-00000.tfrecord").write_bytes(b"x" * 10)
    (folder / "classes.csv").write_text("class,landmark_id,n_images\n0,7,2\n")
    rows = "".join(f"aa{i},7,train\n" for i in "abc")
    (folder / "subset.csv").write_text(f"id,landmark_id,split\n{rows}")
    shard = {"file": "train-00000.tfrecord", "split": "train", "images": 2, "bytes": 10}
    manifest = {"stored_size": 64, "jpeg_quality": 95, "shard_images": 2048}
    manifest |= {"counts": {"train": 2, "validation": 0}, "broken": ["aac"]}
    manifest["shards"] = [shard | {"sha256": "0"}]
    (folder / "shards.json").write_text(json.dumps(manifest))
    return folder


@pytest.mark.parametrize(
    "n", [pytest.param(300, id="some"), pytest.param(10000, marks=pytest.mark.slow)]
)
def test_a_changed_manifest_of_shards_is_of_that_form_or_refused(n, shards, tried):
    path = shards / "shards.json"

    @steady(n)
    @given(content=changed_json(json.loads(path.read_text())))
    def check(content):
        path.write_bytes(content)
        tried["changed manifests, each true or refused"] += 1
        try:
            found = read_manifest(shards)
            (classes,) = photo_classes(shards, found, "train") or [np.zeros(0)]
        except ArtefactError as error:
            check_complaint(error, shards)
            tried["bad manifests, each one line"] += 1
            return
        images = [shard["images"] for shard in found["shards"]]
        assert len(classes) == sum(images)
        assert {s["file"] for s in found["shards"]} <= {"train-00000.tfrecord"}

    check()


@pytest.mark.parametrize(
    "name", ["../x.tfrecord", "/etc/hostname", "train-00000.tfrecord/../x"]
)
def test_a_shard_of_another_folder_is_refused(name, shards):
    path = shards / "shards.json"
    manifest = json.loads(path.read_text())
    manifest["shards"][0]["file"] = name
    path.write_text(json.dumps(manifest))
    with pytest.raises(ArtefactError) as caught:
        read_manifest(shards)
    check_complaint(caught.value, path)
