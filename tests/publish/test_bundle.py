"""The bundle: complete, checked by its manifest, and never left half-made."""

import json
import shutil
import subprocess
import sys

import pytest

from kaggle_kit import tables
from kaggle_kit.errors import ArtefactError, DataError
from kaggle_kit.publish.bundle import bundle
from kaggle_kit.publish.manifest import MANIFEST, verify
from kaggle_kit.recognition.search import Gallery


def test_manifest_lists_every_file_and_the_validation_score(bundle_dir):
    manifest = verify(bundle_dir)
    files = {
        path.relative_to(bundle_dir).as_posix()
        for path in bundle_dir.rglob("*")
        if path.is_file()
    }
    assert files == {*manifest["files"], MANIFEST}
    assert 0 <= manifest["validation"]["gap"] <= 1
    assert manifest["made_with"][0]["packages"]["tensorflow"]


def test_gallery_holds_the_landmark_photos_and_the_penalty_pool_apart(
    bundle_dir, run_dir
):
    members = tables.read_subset(run_dir / "subset.csv")
    gallery = Gallery.load(bundle_dir / "gallery")
    shown = {m.image_id for m in members if m.landmark_id is not None}
    assert set(gallery.image_ids) == shown
    n_penalty = sum(m.split == "penalty" for m in members)
    assert len(gallery.non_landmarks) == n_penalty > 0
    assert (gallery.penalties != 0).any()


def test_library_in_the_bundle_is_whole_and_without_leftovers(bundle_dir):
    names = {p.name for p in (bundle_dir / "kaggle_kit").rglob("*")}
    assert "__pycache__" not in names
    code = "import sys; sys.path[:0] = [sys.argv[1]]; import kaggle_kit.cli as c; print(c.__file__)"
    shown = subprocess.check_output(
        [sys.executable, "-B", "-c", code, str(bundle_dir)], text=True
    )
    assert shown.startswith(str(bundle_dir))


@pytest.fixture
def copy(bundle_dir, tmp_path):
    shutil.copytree(bundle_dir, tmp_path / "copy")
    return tmp_path / "copy"


def test_a_changed_file_is_named(copy):
    path = copy / "gallery" / "vectors.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtefactError, match=r"vectors\.npy: .* got other content"):
        verify(copy)


def test_a_missing_file_is_named(copy):
    (copy / "classes.csv").unlink()
    with pytest.raises(ArtefactError, match=r"classes\.csv: .* got no file"):
        verify(copy)


def test_a_folder_that_is_no_bundle_is_named(tmp_path):
    with pytest.raises(ArtefactError, match="expected the manifest of a bundle"):
        verify(tmp_path)
    (tmp_path / MANIFEST).write_text(json.dumps([]))
    with pytest.raises(ArtefactError):
        verify(tmp_path)


def test_a_bundle_of_absent_photos_fails_and_leaves_nothing(run_dir, tmp_path):
    (tmp_path / "competition" / "train" / "0").mkdir(parents=True)
    with pytest.raises(DataError, match="none is there and decodes"):
        bundle([run_dir], tmp_path / "competition", tmp_path / "bundle")
    assert [p.name for p in tmp_path.iterdir()] == ["competition"]


def test_other_files_are_not_replaced(run_dir, competition, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ArtefactError, match="found other files"):
        bundle([run_dir], competition, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]
