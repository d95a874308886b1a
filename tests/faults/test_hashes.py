"""A bundle that is not what its manifest says is refused by whatever reads it."""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kaggle_kit.app.answers import AnswerService
from kaggle_kit.app.export import export
from kaggle_kit.app.serve import serve
from kaggle_kit.data.layout import image_path
from kaggle_kit.errors import ArtefactError, KitError
from kaggle_kit.inference.predict import predict
from kaggle_kit.inference.recogniser import Recogniser
from kaggle_kit.storage import tables
from kaggle_kit.storage.manifest import MANIFEST, verify, verify_upload
from kaggle_kit.training.kaggle_session import train_in_session
from tests.helpers.complaints import check_complaint

KERNEL = Path(__file__).parents[2] / "kernels" / "inference" / "landmark-inference.py"
SOME = 8  # files for each fault and reader


def one_byte(path, elsewhere):
    content = bytearray(path.read_bytes())
    content[random.Random(path.name).randrange(len(content))] ^= 1
    path.write_bytes(content)


def truncated(path, elsewhere):
    os.truncate(path, path.stat().st_size - 1)


def longer(path, elsewhere):
    with path.open("ab") as file:
        file.write(b"\0")


def removed(path, elsewhere):
    path.unlink()


def linked(path, elsewhere):
    """To a file of the same size."""
    elsewhere.write_bytes(bytes(path.stat().st_size - 1) + b"\1")
    path.unlink()
    path.symlink_to(elsewhere)


FAULTS = [one_byte, truncated, longer, removed, linked]


@pytest.fixture
def kit(local, tmp_path):
    """A copy of a bundle to be changed, and a way to change a file for a moment."""
    bundle = Path(shutil.copytree(local[0] / "bundle", tmp_path / "bundle"))

    def refused(use, fault, name, kind=ArtefactError):
        path = bundle / name
        content = path.read_bytes()
        fault(path, tmp_path / "elsewhere")
        with pytest.raises(kind) as caught:
            use()
        check_complaint(caught.value, path)
        path.unlink(missing_ok=True)
        path.write_bytes(content)

    return bundle, refused


def test_every_file_counts(kit, tried):
    bundle, refused = kit
    names = list(verify(bundle).files)
    assert len(names) > 80
    for fault in FAULTS:
        for name in names:
            refused(lambda: verify(bundle), fault, name)
            tried["changed files of a bundle, each refused by its name"] += 1
    verify(bundle)


def readers(bundle, competition, out):
    image = image_path(
        competition / "test", tables.read_sample(competition / SAMPLE)[0]
    )
    return {
        "predict": lambda: predict(bundle, competition, out / "submission.csv"),
        "similar": lambda: Recogniser.load(bundle).similar(image, 3),
        "the app's answers": lambda: AnswerService(bundle),
        "the app's start": lambda: serve(bundle, 1, None),
        "export": lambda: export(bundle, out / "deploy", None),
        "training": lambda: train_in_session(bundle, competition, out / "session"),
    }


SAMPLE = "sample_submission.csv"


@pytest.mark.parametrize(
    "reader",
    [
        *("predict", "similar", "the app's answers", "the app's start"),
        *("export", "training"),
    ],
)
def test_every_reader_compares(reader, kit, competition, tmp_path, tried):
    """The config it may read before that, and say what is wrong with it."""
    bundle, refused = kit
    use = readers(bundle, competition, tmp_path)[reader]
    rng = random.Random(reader)
    names = list(verify(bundle).files)
    for fault in FAULTS:
        for name in {"config.json", "classes.csv", *rng.sample(names, SOME)}:
            kind = KitError if name == "config.json" else ArtefactError
            refused(use, fault, name, kind)
            tried["changed files of a bundle, each refused by its name"] += 1
    assert not (tmp_path / "deploy").exists() and not (tmp_path / "session").exists()
    if reader == "predict":  # what a kernel would leave is valid, and without a guess
        guesses = tables.read_submission(tmp_path / "submission.csv")
        assert set(guesses.values()) == {None}


@pytest.mark.parametrize("name", ["more.npy", "embedders/more", "kaggle_kit/more.py"])
@pytest.mark.parametrize("kind", ["file", "link", "link to a folder"])
def test_what_is_added_does_not_go_up(name, kind, kit, tmp_path):
    """Where it is read it does no harm: Kaggle may mount more than was sent."""
    bundle, _ = kit
    (tmp_path / "folder").mkdir()
    (tmp_path / "secret").write_text("secret")
    if kind == "file":
        (bundle / name).write_text("x")
    else:
        target = {"link": "secret", "link to a folder": "folder"}[kind]
        (bundle / name).symlink_to(tmp_path / target)
    verify(bundle)
    with pytest.raises(ArtefactError) as caught:
        verify_upload(bundle)
    check_complaint(caught.value, bundle / name)


def test_the_kernel_names_the_file_and_leaves_a_valid_submission(
    kit, competition, tmp_path
):
    bundle, _ = kit
    one_byte(bundle / "gallery" / "vectors.npy", None)
    for folder in ("input", "working"):
        (tmp_path / folder).mkdir()
    (tmp_path / "input" / "kit").symlink_to(bundle)
    (tmp_path / "input" / "competition").symlink_to(competition)
    env = os.environ | {"KAGGLE_KIT_INPUT": str(tmp_path / "input"), "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-B", str(KERNEL)],
        cwd=tmp_path / "working",
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "kit/gallery/vectors.npy: expected" in last and "other content" in last
    found = tables.read_submission(tmp_path / "working" / "submission.csv")
    assert len(found) == 28 and set(found.values()) == {None}


def test_a_bundle_without_a_manifest_is_none(kit):
    bundle, _ = kit
    (bundle / MANIFEST).unlink()
    with pytest.raises(ArtefactError) as caught:
        AnswerService(bundle)
    check_complaint(caught.value, bundle / MANIFEST)
