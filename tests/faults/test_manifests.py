"""Manifests of bundles and of shards: what they say is true and stays in their folder."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaggle_kit.data.shards_manifest import image_classes, read_manifest
from kaggle_kit.errors import ArtefactError
from kaggle_kit.inference.calibration import Calibration
from kaggle_kit.kaggle.dataset import publish, read_handle
from kaggle_kit.rehearsal.kernel_folder import read_kernel_metadata
from kaggle_kit.rehearsal.rehearse import rehearse
from kaggle_kit.storage.manifest import MANIFEST, describe_file, verify, verify_upload
from tests.helpers.complaints import check_complaint, steady
from tests.helpers.signed_bundles import sign


@pytest.fixture
def bundle(tmp_path):
    """A folder that is a bundle as far as its manifest goes."""
    folder = tmp_path / "bundle"
    (folder / "gallery").mkdir(parents=True)
    (folder / "gallery" / "vectors.npy").write_bytes(bytes(range(256)))
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
    assert verify(bundle).files["gallery/vectors.npy"] == describe_file(path)
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


@pytest.mark.parametrize("name", ["more.py", "__pycache__/more.pyc"])
def test_a_file_that_the_manifest_does_not_list_does_not_go_up(name, bundle):
    """Code, say, that the kernel would import; an exported app leaves its bytecode."""
    path = bundle / "kaggle_kit" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("open('hacked', 'w')\n")
    assert "gallery/vectors.npy" in verify(bundle).files
    with pytest.raises(ArtefactError) as caught:
        verify_upload(bundle)
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
        verify_upload(bundle)
    check_complaint(caught.value, path)
    assert "link" in str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["../secret", "/etc/hostname", "a/../../secret", "./config.json", "a\\b", ""],
)
def test_a_manifest_with_a_name_that_leads_elsewhere_is_refused(name, bundle, tmp_path):
    (tmp_path / "secret").write_text("secret")
    entry = describe_file(tmp_path / "secret").as_json()
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
    "n", [pytest.param(300, id="some"), pytest.param(3000, marks=pytest.mark.slow)]
)
def test_a_changed_manifest_is_true_or_refused(n, bundle, tried):
    path = bundle / MANIFEST
    original = json.loads(path.read_text())
    there = {
        p.relative_to(bundle).as_posix(): describe_file(p) for p in bundle.rglob("*.*y")
    }
    there["config.json"] = describe_file(bundle / "config.json")

    @steady(n)
    @given(content=changed_json(original))
    def check(content):
        path.write_bytes(content)
        tried["changed manifests, each true or refused"] += 1
        try:
            found = verify_upload(bundle)
        except ArtefactError as error:
            check_complaint(error, bundle)
            tried["bad manifests, each one line"] += 1
            return
        assert found.files == there
        assert isinstance(found.content.get("name", ""), str)
        assert found.name == found.content.get("name")

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
    "n", [pytest.param(300, id="some"), pytest.param(3000, marks=pytest.mark.slow)]
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
            (classes,) = image_classes(shards, found, "train") or [np.zeros(0)]
        except ArtefactError as error:
            check_complaint(error, shards)
            tried["bad manifests, each one line"] += 1
            return
        assert len(classes) == sum(shard.images for shard in found.shards)
        assert {s.file for s in found.shards} <= {"train-00000.tfrecord"}

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


# Other files that are read back.

NO_JSON = [b"", b"[]", b"3", b"null", b"\xff", b"[" * 100_000, b'{"id": ' + b"9" * 5000]


@pytest.mark.parametrize("content", NO_JSON, ids=range(len(NO_JSON)))
def test_damaged_metadata_is_one_line(content, bundle, tmp_path):
    path = bundle / "dataset-metadata.json"
    path.write_bytes(content)
    with pytest.raises(ArtefactError) as caught:
        read_handle(bundle)
    check_complaint(caught.value, path)
    kernel = tmp_path / "kernel"
    kernel.mkdir()
    (kernel / "kernel-metadata.json").write_bytes(content)
    with pytest.raises(ArtefactError) as caught:
        read_kernel_metadata(kernel)
    check_complaint(caught.value, kernel)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\n", b"epoch", b"\xff\xfe", b"epoch,loss\n2,0.1\n", b"loss\n0.1\n"),
        *(b"epoch,loss\n1,0.1\n1,0.1\n", b"epoch,loss\n1,x\n", b'epoch,loss\n1\n"2'),
        *(b"epoch,loss\n1,0.1,7,8\n1,2,3,4,5\n", b"epoch,epoch\nx,1\n"),
    ],
    ids=range(11),
)
def test_a_history_that_is_none_is_one_line(content, tmp_path):
    from kaggle_kit.training.run_directory import RunDirectory

    path = tmp_path / "history.csv"
    path.write_bytes(content)
    if content == b"epoch":
        assert RunDirectory(tmp_path).read_history() == []
        return
    with pytest.raises(ArtefactError) as caught:
        RunDirectory(tmp_path).read_history()
    check_complaint(caught.value, path)
    path.write_bytes(b"epoch,loss,val_loss\n1,0.5,0.4\n2,0.1,\n")
    assert [row["epoch"] for row in RunDirectory(tmp_path).read_history()] == [1, 2]


@pytest.mark.parametrize(
    "content",
    [
        *NO_JSON,
        b'{"slope": 1, "intercept": 0, "n": 3}',
        b'{"slope": "1", "intercept": 0, "n": 3, "n_landmarks": 1}',
        b'{"slope": NaN, "intercept": 0, "n": 3, "n_landmarks": 1}',
        b'{"slope": 1e400, "intercept": 0, "n": 3, "n_landmarks": 1}',
        b'{"slope": 1' + b"0" * 400 + b', "intercept": 0, "n": 3, "n_landmarks": 1}',
    ],
    ids=range(len(NO_JSON) + 5),
)
def test_a_damaged_calibration_is_one_line(content, tmp_path):
    path = tmp_path / "calibration.json"
    path.write_bytes(content)
    with pytest.raises(ArtefactError) as caught:
        Calibration.load(path)
    check_complaint(caught.value, path)
