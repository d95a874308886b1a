"""A bundle is complete, verified by its manifest, and never left half-written."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import kaggle_kit
from kaggle_kit import config
from kaggle_kit.bundling.build import build_bundle
from kaggle_kit.bundling.contents import measure_parts
from kaggle_kit.bundling.metadata import check_files, check_metadata
from kaggle_kit.bundling.training_bundle import HDF5, build_training_bundle
from kaggle_kit.cli import main
from kaggle_kit.errors import ArtefactError, DataError, KitError
from kaggle_kit.retrieval.gallery import Gallery
from kaggle_kit.storage import tables
from kaggle_kit.storage.csv_files import read_rows, write_rows
from kaggle_kit.storage.manifest import MANIFEST, METADATA, FileEntry, verify
from kaggle_kit.training.trainer import train
from tests.helpers.complaints import check_complaint

ROOT = Path(__file__).parents[2]


def test_manifest_lists_every_file_and_the_validation_score(bundle_dir):
    manifest = verify(bundle_dir)
    files = {
        path.relative_to(bundle_dir).as_posix()
        for path in bundle_dir.rglob("*")
        if path.is_file()
    }
    assert files == {*manifest.files, MANIFEST, METADATA}
    content = manifest.content
    assert 0 <= content["validation"]["gap"] <= 1
    assert content["made_with"][0]["packages"]["tensorflow"]
    assert content["packages"] == content["made_with"][0]["packages"]
    assert (manifest.name, content["kind"]) == ("tiny", "recognition")
    assert content["kit"]["version"] == kaggle_kit.__version__
    table = (bundle_dir / "classes.csv").read_bytes()
    assert content["classes_sha256"] == hashlib.sha256(table).hexdigest()
    size = sum((bundle_dir / name).stat().st_size for name in manifest.files)
    assert measure_parts(manifest.files)["total"] == pytest.approx(size / 1e6, abs=1e-3)


def test_the_gallery_separates_landmark_images_from_the_penalty_pool(
    bundle_dir, run_dir
):
    members = tables.read_subset(run_dir / "subset.csv")
    gallery = Gallery.load(bundle_dir / "gallery")
    landmark_images = {m.image_id for m in members if m.landmark_id is not None}
    assert set(gallery.image_ids) == landmark_images
    n_penalty = sum(m.split == "penalty" for m in members)
    assert len(gallery.non_landmarks) == n_penalty > 0
    assert (gallery.penalties != 0).any()


def test_the_library_in_the_bundle_is_complete_and_has_no_other_files(bundle_dir):
    names = {p.name for p in (bundle_dir / "kaggle_kit").rglob("*")}
    assert "__pycache__" not in names and "README.md" not in names
    code = "import sys; sys.path[:0] = [sys.argv[1]]; import kaggle_kit.cli as c; print(c.__file__)"
    output = subprocess.check_output(
        [sys.executable, "-B", "-c", code, str(bundle_dir)], text=True
    )
    assert output.startswith(str(bundle_dir))


def test_the_bundle_has_the_entry_for_kernels_and_stops_older_ones(bundle_dir):
    """Modules that kernels of 0.1.0 import raise; the kit itself does not have them."""
    library, kit = bundle_dir / "kaggle_kit", Path(kaggle_kit.__file__).parent
    entry = (library / "kernel.py").read_bytes()
    assert entry == (kit / "kernel.py").read_bytes()
    for module in ("tables.py", "training/session.py"):
        assert "raise SystemExit" in (library / module).read_text("utf-8")
        assert not (kit / module).exists()


@pytest.fixture
def copy(bundle_dir, tmp_path):
    shutil.copytree(bundle_dir, tmp_path / "copy")
    return tmp_path / "copy"


def test_a_changed_file_is_refused(copy):
    path = copy / "gallery" / "vectors.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtefactError, match=r"vectors\.npy: .* got other content"):
        verify(copy)


def test_a_missing_file_is_refused(copy):
    (copy / "classes.csv").unlink()
    with pytest.raises(ArtefactError, match=r"classes\.csv: .* got no file"):
        verify(copy)


def test_a_folder_that_is_no_bundle_is_refused(tmp_path):
    with pytest.raises(ArtefactError, match="expected the manifest of a bundle"):
        verify(tmp_path)
    (tmp_path / MANIFEST).write_text(json.dumps([]))
    with pytest.raises(ArtefactError):
        verify(tmp_path)


# The upload to Kaggle.


def test_a_bundle_can_be_uploaded_unchanged(bundle_dir, run_dir, competition):
    """Complete metadata, no file that an upload would lose, no path of this machine."""
    check_files(bundle_dir)
    values = json.loads((bundle_dir / METADATA).read_text("utf-8"))
    check_metadata(values, METADATA)
    assert values["id"] == "INSERT_OWNER/landmark-kit"
    assert values["title"] == "Landmark kit"
    assert values["licenses"] == [{"name": "other"}] and values["keywords"] == []
    manifest = verify(bundle_dir)
    assert f"{manifest.content['validation']['gap']:.4f}" in values["description"]
    assert "`tiny`" in values["description"] and "2004.01804" in values["description"]
    assert (bundle_dir / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    private = [str(path).encode() for path in (run_dir, competition, bundle_dir.parent)]
    for path in bundle_dir.rglob("*"):
        assert path.is_dir() or path.stat().st_size
        assert not path.is_dir() or any(path.iterdir())
        if path.is_file():
            data = path.read_bytes()
            assert not [p for p in private if p in data], path
    assert not list(bundle_dir.rglob("debug")) + list(
        bundle_dir.rglob("fingerprint.pb")
    )


def test_metadata_may_be_edited_afterwards(copy):
    (copy / METADATA).write_text("{}")
    verify(copy)


@pytest.mark.extended
def test_the_same_run_gives_the_same_bytes(run_dir, competition, tmp_path):
    """In two processes; one of them has built and traced other models before."""
    code = """
import sys
from pathlib import Path
run, competition, out, other = sys.argv[1:]
if other:
    import keras, tensorflow as tf
    keras.Sequential([keras.layers.Conv2D(2, 3), keras.layers.Dropout(0.5)])(tf.zeros((1, 9, 9, 3)))
    tf.function(lambda x: x + 1)(tf.constant(1))
from kaggle_kit.bundling.build import build_bundle
changes = {"recognition.whiten": 8, "recognition.scales": [1.0, 2.0], "recognition.tune": True}
build_bundle([Path(run)], Path(competition), Path(out), changes)
"""
    hashes = []
    for name, other in (("one", ""), ("two", "other")):
        out = tmp_path / name
        command = [sys.executable, "-c", code, run_dir, competition, out, other]
        subprocess.run(command, check=True, capture_output=True)
        paths = sorted(path for path in out.rglob("*") if path.is_file())
        hashes.append(
            {
                str(path.relative_to(out)): hashlib.sha256(
                    path.read_bytes()
                ).hexdigest()
                for path in paths
            }
        )
    one, two = hashes
    assert {"embedders/0/model.tflite", "embedders/0/model.whitening.npz"} < one.keys()
    assert one == two


def test_a_bundle_that_is_too_large_names_its_parts_and_leaves_nothing(
    run_dir, competition, tmp_path
):
    with pytest.raises(ArtefactError) as error:
        build_bundle([run_dir], competition, tmp_path / "bundle", max_mb=1)
    line = str(error.value)
    assert "expected at most 1 MB, got" in line and "raise --max-mb" in line
    assert "(library " in line  # the largest part first
    assert "embedders " in line and "model.backbone" in line
    assert not list(tmp_path.iterdir())


def test_parts_are_sorted_by_size():
    files = {
        "config.json": FileEntry(1000, ""),
        "embedders/0/model/saved_model.pb": FileEntry(5_000_000, ""),
        "embedders/0/model.tflite": FileEntry(2_500_000, ""),
        "kaggle_kit/cli.py": FileEntry(2000, ""),
        "kaggle_kit/model/classifier.py": FileEntry(4000, ""),
        "LICENSE": FileEntry(500, ""),
    }
    expected = {"embedders": 7.5, "library": 0.006, "other": 0.002, "total": 7.508}
    assert measure_parts(files) == expected
    assert list(measure_parts(files)) == list(expected)


def test_a_bundle_for_training_has_only_the_library_and_the_config(settings, tmp_path):
    changed = config.override(settings, {"model.weights": str(tmp_path / "w.h5")})
    out = tmp_path / "bundle"
    with pytest.raises(ArtefactError, match=r"w\.h5: expected a file of weights"):
        build_training_bundle(changed, out)
    (tmp_path / "w.h5").write_bytes(HDF5 + b"weights")
    title = "My own title"
    sizes = build_training_bundle(changed, out, "me/landmark-training", title)
    names = {path.name for path in out.iterdir()}
    assert names == {"kaggle_kit", "config.json", "LICENSE", "w.h5", METADATA, MANIFEST}
    assert config.read_json(out / "config.json").model.weights == "w.h5"
    manifest = verify(out)
    assert (manifest.content["kind"], manifest.name) == ("training", "tiny")
    assert sizes.files == len(manifest.files)
    assert list(sizes.sizes_mb) == ["library", "other", "total"]
    values = json.loads((out / METADATA).read_text("utf-8"))
    assert (values["id"], values["title"]) == ("me/landmark-training", title)
    assert values["licenses"] == [{"name": "apache-2.0"}]
    with pytest.raises(ArtefactError, match=r"library \d\.\d"):
        build_training_bundle(changed, tmp_path / "large", max_mb=0.1)
    assert not (tmp_path / "large").exists()


@pytest.mark.parametrize("name", ["id_rsa", "config.json", "LICENSE", "kaggle_kit"])
def test_only_a_file_of_weights_is_copied_as_weights(name, settings, tmp_path):
    """A config of somebody else may name any file, and a name of the bundle's own."""
    for content, said in ((b"-----BEGIN", "another format"), (HDF5, "another file")):
        (tmp_path / name).write_bytes(content)
        changed = config.override(settings, {"model.weights": str(tmp_path / name)})
        if name == "id_rsa" and content == HDF5:
            continue
        with pytest.raises(ArtefactError, match=said) as caught:
            build_training_bundle(changed, tmp_path / "bundle")
        check_complaint(caught.value, tmp_path / name)
        assert not (tmp_path / "bundle").exists()


def test_the_record_of_a_run_names_weights_of_its_folder_alone(
    settings, tmp_path, capsys
):
    run, own = tmp_path / "run", tmp_path / "own.h5"
    run.mkdir()
    own.write_bytes(HDF5 + b"own")
    (run / "w.h5").write_bytes(HDF5 + b"of the run")
    command = ["bundle", "--config", str(run / "config.json")]

    def bundle(weights: str, *more: str) -> bytes | str:
        changed = config.override(settings, {"model.weights": weights})
        config.write_json(changed, run / "config.json")
        out = tmp_path / "bundle"
        code = main([*command, "--out", str(out), *more])
        said = capsys.readouterr().err
        if code:
            assert not out.exists() and len(said.splitlines()) == 1
            return said
        (copied,) = (path.read_bytes() for path in out.glob("*.h5"))
        return copied.removeprefix(HDF5)

    for weights in (str(own), "../own.h5"):
        assert "expected files within this folder" in bundle(weights)
    (run / "link.h5").symlink_to(own)
    assert "a link" in bundle("link.h5")
    assert bundle("w.h5") == b"of the run"
    assert bundle("w.h5", "--set", f"model.weights={own}") == b"own"


def test_imagenet_weights_are_bundled_as_their_package(tmp_path):
    settings = config.load(Path("lite0_320_arcface.yaml"))
    build_training_bundle(settings, tmp_path / "bundle")
    code = (
        "from kaggle_kit.model.pretrained import LITE0_FILE, imagenet_package as p;"
        "print(p() / LITE0_FILE)"
    )
    command = [sys.executable, "-B", "-c", code]
    output = subprocess.check_output(command, cwd=tmp_path / "bundle", text=True)
    weights = Path(output.strip())
    assert weights.is_relative_to(tmp_path / "bundle")
    assert weights.stat().st_size == 18_826_032


def test_a_config_with_a_path_of_this_machine_is_refused(settings, tmp_path):
    changed = config.override(settings, {"name": f"as in {tmp_path / 'bundle'}"})
    with pytest.raises(ArtefactError, match=r"config\.json: expected no private path"):
        build_training_bundle(changed, tmp_path / "bundle")
    assert not list(tmp_path.iterdir())


def test_a_title_that_kaggle_would_refuse_fails_early(run_dir, settings, tmp_path):
    with pytest.raises(KitError, match="OWNER/SLUG"):
        build_bundle([run_dir], tmp_path / "none", tmp_path / "out", handle="no slug")
    with pytest.raises(KitError, match="title: expected 6 to 50"):
        build_training_bundle(settings, tmp_path / "out", title="short")
    assert not list(tmp_path.iterdir())


def test_a_bundle_has_the_authors_of_its_gallery(settings, local_run, tmp_path):
    run, competition = local_run
    shutil.copytree(competition, tmp_path / "c")
    ids = [m.image_id for m in tables.read_subset(run / "subset.csv")]
    rows = [(i, "https://x.example", "Jane", "CC BY", "A tower") for i in ids]
    columns = ("id", "url", "author", "license", "title")
    write_rows(tmp_path / "c" / "train_attribution.csv", columns, rows)
    build_bundle([run], tmp_path / "c", tmp_path / "bundle")
    gallery = Gallery.load(tmp_path / "bundle" / "gallery")
    authors = list(read_rows(tmp_path / "bundle" / "attribution.csv", columns))
    assert {row[0] for _, row in authors} == set(gallery.image_ids) < set(ids)
    assert "attribution.csv" in verify(tmp_path / "bundle").files


@pytest.fixture
def local_run(settings, competition, subset_dir, tmp_path):
    """A run without a network, which is the fastest."""
    changes = {"model.backbone": "none", "train.epochs": 0, "vlad": {"words": 4}}
    changed = config.override(settings, changes | {"name": "words"})
    train(changed, subset_dir, tmp_path / "run")
    return tmp_path / "run", competition


def test_a_bundle_of_visual_words_has_no_network_and_the_same_bytes(
    local_run, tmp_path
):
    run, competition = local_run
    for name in ("one", "two"):
        build_bundle([run], competition, tmp_path / name)
    one, two = (verify(tmp_path / name) for name in ("one", "two"))
    assert one == two
    names = {name for name in one.files if name.startswith("embedders/")}
    assert names == {"embedders/0/config.json", "embedders/0/words.npy"}


# Errors.


def test_a_bundle_of_missing_images_fails_and_leaves_nothing(run_dir, tmp_path):
    (tmp_path / "competition" / "train" / "0").mkdir(parents=True)
    with pytest.raises(DataError, match="found none that decodes"):
        build_bundle([run_dir], tmp_path / "competition", tmp_path / "bundle")
    assert [p.name for p in tmp_path.iterdir()] == ["competition"]


def test_other_files_are_not_replaced(run_dir, competition, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ArtefactError, match="found other files"):
        build_bundle([run_dir], competition, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]
