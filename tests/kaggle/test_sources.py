"""A kernel takes the competition, the bundle and the output that are meant, or none."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from kaggle_kit import kernel as entry
from kaggle_kit.bundling.library import check_fit
from kaggle_kit.bundling.training_bundle import build_training_bundle
from kaggle_kit.errors import ArtefactError
from kaggle_kit.inference.predict import predict
from kaggle_kit.kaggle.kernel import plan_push, push
from kaggle_kit.kaggle.ship import plan_ship, ship
from kaggle_kit.rehearsal.kernel_folder import read_kernel_metadata
from kaggle_kit.rehearsal.kernel_sources import (
    fill_in,
    make_sources,
    takes_sources,
    trains,
)
from kaggle_kit.storage import tables
from kaggle_kit.storage.manifest import MANIFEST
from tests.helpers.complaints import check_complaint
from tests.helpers.kaggle_names import DATASET, KERNEL, SAMPLE, SUBMISSION, files_of
from tests.helpers.kernel_inputs import (
    KERNELS,
    LAYOUTS,
    SCRIPTS,
    SLUG,
    add_bundle,
    add_competition,
    lay_out,
    run_script,
    sent_sources,
)
from tests.helpers.signed_bundles import sign

OTHER = "landmark-recognition-2020"  # before the other in the alphabet
# The kernels of interface 1, word for word; as text, since pytest imports Python files.
FORMER = Path(__file__).with_name("interface_1")


@pytest.fixture
def inputs(tmp_path):
    """An empty folder of inputs."""
    (tmp_path / "input").mkdir()
    return tmp_path / "input"


def told(name: str, tmp_path: Path, **sources: str) -> Path:
    """A kernel that was pushed."""
    path = tmp_path / f"told-{name}.py"
    path.write_bytes(fill_in(SCRIPTS[name], sources))
    return path


def digest(bundle: Path) -> str:
    return hashlib.sha256((bundle / MANIFEST).read_bytes()).hexdigest()


def taken(script: Path, inputs: Path, tmp_path: Path) -> list[str]:
    """The paths that a kernel's library is called with: bundle, competition, ..."""
    done = run_script(script, inputs, tmp_path)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().split("|")


def refusal(script: Path, inputs: Path, tmp_path: Path) -> str:
    """The line with which a kernel ends before it writes anything."""
    working = tmp_path / "working"
    working.mkdir()
    done = run_script(script, inputs, working)
    assert done.returncode == 1 and not list(working.iterdir())
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{inputs}: expected one ") and "; " in line
    return line


# Competitions


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_competition_of_the_metadata_is_taken(name, layout, inputs, tmp_path):
    """Beside another one, and beside a dataset of its name, wherever they are."""
    competition, _, _ = lay_out(layout, inputs)
    add_competition(inputs / "competitions" / OTHER)
    add_competition(inputs / OTHER[:-1])
    add_competition(inputs / "datasets" / "me" / SLUG)
    script = told(name, tmp_path, competition=SLUG)
    assert taken(script, inputs, tmp_path)[1] == str(competition)


@pytest.mark.parametrize("name", SCRIPTS)
def test_two_competitions_and_no_metadata_are_refused(name, inputs, tmp_path):
    competition, _, _ = lay_out("competitions", inputs)
    other = add_competition(inputs / "competitions" / OTHER)
    line = refusal(SCRIPTS[name], inputs, tmp_path)
    assert f"found {other} and {competition}; attach only" in line


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_competition_that_is_not_attached_is_not_replaced(name, inputs, tmp_path):
    add_bundle(inputs / "kit")
    other = add_competition(inputs / "competitions" / OTHER)
    line = refusal(told(name, tmp_path, competition=SLUG), inputs, tmp_path)
    assert f"({SLUG}), found {other}; " in line and "competition_sources" in line


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_competition_that_is_mounted_twice_is_one(name, inputs, tmp_path):
    competition, _, _ = lay_out("competitions", inputs)
    (inputs / SLUG).symlink_to(competition)
    for script in (SCRIPTS[name], told(name, tmp_path, competition=SLUG)):
        found = Path(taken(script, inputs, tmp_path)[1])
        assert found.samefile(competition)


# Bundles


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("wanted", ["new", "old", "training"])
def test_the_bundle_of_the_hash_is_taken(name, wanted, inputs, tmp_path):
    add_competition(inputs / SLUG)
    kits = {
        kind: add_bundle(inputs / "datasets" / "me" / kind, f'{{"name": "{kind}"}}')
        for kind in ("new", "old", "training")
    }
    for kind in ("new", "old"):
        (kits[kind] / "gallery").mkdir()
    script = told(name, tmp_path, bundle=digest(kits[wanted]))
    assert taken(script, inputs, tmp_path)[0] == str(kits[wanted])


@pytest.mark.parametrize("name", SCRIPTS)
def test_two_bundles_and_no_hash_are_refused(name, inputs, tmp_path):
    add_competition(inputs / SLUG)
    kits = [add_bundle(inputs / kind, f'{{"name": "{kind}"}}') for kind in "ab"]
    line = refusal(SCRIPTS[name], inputs, tmp_path)
    found = " and ".join(f"{kit} ({digest(kit)[:12]})" for kit in kits)
    assert f"(any), found {found}; attach only" in line


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_hash_that_no_bundle_has_is_refused(name, inputs, tmp_path):
    add_competition(inputs / SLUG)
    kit = add_bundle(inputs / "kit")
    line = refusal(told(name, tmp_path, bundle="0" * 64), inputs, tmp_path)
    assert f"({'0' * 12}), found {kit} ({digest(kit)[:12]}); " in line
    assert "push the kernel again" in line


@pytest.mark.parametrize("name", SCRIPTS)
def test_without_a_hash_the_kind_decides(name, inputs, tmp_path):
    """A bundle without a model beside one with a model, in either order."""
    add_competition(inputs / SLUG)
    kits = {
        kind: add_bundle(inputs / folder, f'{{"kind": "{kind}"}}')
        for kind, folder in (("training", "a"), ("recognition", "b"))
    }
    (kits["recognition"] / "gallery").mkdir()
    wanted = kits["training" if name == "training" else "recognition"]
    assert taken(SCRIPTS[name], inputs, tmp_path)[0] == str(wanted)
    for kit in (kits["training"], kits["recognition"]):
        kit.rename(kit.with_name("ba"[kit.name == "b"] + "x"))
    assert Path(taken(SCRIPTS[name], inputs, tmp_path)[0]).name == (
        "bx" if name == "training" else "ax"
    )


@pytest.mark.parametrize("name", SCRIPTS)
def test_without_a_hash_the_only_bundle_is_taken(name, inputs, tmp_path):
    """Of whatever kind, also when it is mounted twice."""
    add_competition(inputs / SLUG)
    kit = add_bundle(inputs / "datasets" / "me" / "kit")
    shutil.copytree(kit, inputs / "kit")
    for _ in range(2):
        found = Path(taken(SCRIPTS[name], inputs, tmp_path)[0])
        assert digest(found) == digest(kit)
        (kit / "gallery").mkdir(exist_ok=True)


# Outputs of earlier trainings


def add_session(folder: Path) -> Path:
    (folder / "run").mkdir(parents=True)
    (folder / "session.json").touch()
    return folder


@pytest.mark.parametrize("place", ["notebooks/me/mine", "mine"])
def test_the_output_of_the_kernel_itself_is_resumed(place, inputs, tmp_path):
    lay_out("competitions", inputs)
    add_session(inputs / "notebooks" / "me" / "another")
    add_session(inputs / "notebooks" / "you" / "mine")
    own = add_session(inputs / place)
    script = told("training", tmp_path, earlier="me/mine")
    assert taken(script, inputs, tmp_path)[3] == str(own)


def test_two_outputs_and_no_source_are_refused(inputs, tmp_path):
    lay_out("competitions", inputs)
    outputs = [add_session(inputs / "notebooks" / "me" / name) for name in "ab"]
    line = refusal(SCRIPTS["training"], inputs, tmp_path)
    assert f"found {outputs[0]} and {outputs[1]}; " in line and "kernel_sources" in line


def test_without_a_source_the_only_output_is_resumed(inputs, tmp_path):
    """Wherever it is, and also when it is mounted twice."""
    lay_out("competitions", inputs)
    output = add_session(inputs / "datasets" / "me" / "saved")
    (inputs / "again").symlink_to(output)
    found = taken(SCRIPTS["training"], inputs, tmp_path)[3]
    assert Path(found).samefile(output)


@pytest.mark.parametrize("n_others", [1, 2])
def test_an_output_that_is_not_attached_is_not_replaced(n_others, inputs, tmp_path):
    """By one that was saved as a dataset, or by that of another owner."""
    lay_out("competitions", inputs)
    places = ["datasets/me/mine", "notebooks/you/mine"][:n_others]
    others = [add_session(inputs / place) for place in places]
    line = refusal(told("training", tmp_path, earlier="me/mine"), inputs, tmp_path)
    assert f"(me/mine), found {' and '.join(map(str, others))}; " in line
    assert "kernel_sources" in line


def test_a_first_training_is_told_its_source_and_has_no_output(inputs, tmp_path):
    lay_out("competitions", inputs)
    script = told("training", tmp_path, earlier="me/mine")
    assert taken(script, inputs, tmp_path)[3] == "None"


# Places where Kaggle has not mounted anything yet


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("place", ["competition-data/2021", "competitions/code"])
def test_a_competition_is_found_by_its_slug_alone(name, place, inputs, tmp_path):
    """Not a dataset or an output of its name, nor another competition."""
    add_bundle(inputs / "kit")
    competition = add_competition(inputs / place / SLUG)
    (inputs / "linked").mkdir()
    (inputs / "linked" / SLUG).symlink_to(competition)
    for other in ("datasets/me", "notebooks/me/output"):
        add_competition(inputs / other / SLUG)
    add_competition(inputs / place / OTHER)
    script = told(name, tmp_path, competition=SLUG)
    assert Path(taken(script, inputs, tmp_path)[1]).samefile(competition)


@pytest.mark.parametrize("name", SCRIPTS)
def test_two_competitions_of_one_slug_are_refused(name, inputs, tmp_path):
    add_bundle(inputs / "kit")
    first, second = (add_competition(inputs / place / SLUG) for place in "ab")
    line = refusal(told(name, tmp_path, competition=SLUG), inputs, tmp_path)
    assert f"({SLUG}), found {first} and {second}; attach only" in line


@pytest.mark.parametrize("place", ["datasets/me", "notebooks/me"])
def test_a_dataset_or_an_output_of_the_slug_is_no_competition(place, inputs, tmp_path):
    add_bundle(inputs / "kit")
    other = add_competition(inputs / place / SLUG)
    script = told("inference", tmp_path, competition=SLUG)
    assert f"({SLUG}), found {other}; " in refusal(script, inputs, tmp_path)


def test_an_output_is_found_by_its_slug_alone(inputs, tmp_path):
    lay_out("competitions", inputs)
    own = add_session(inputs / "kernels" / "me" / "mine")
    add_session(inputs / "kernels" / "me" / "another")
    add_session(inputs / "datasets" / "me" / "mine")
    script = told("training", tmp_path, earlier="me/mine")
    assert taken(script, inputs, tmp_path)[3] == str(own)


# Kernels and bundles of other versions


def former(name: str, tmp_path: Path) -> Path:
    """A kernel of interface 1, which takes the first bundle."""
    path = tmp_path / f"former-{name}.py"
    shutil.copyfile(FORMER / f"landmark-{name}.txt", path)
    return path


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_kernel_of_the_former_interface_works_and_never_guesses(
    name, inputs, tmp_path
):
    competition, kit, _ = lay_out("competitions", inputs)
    script = former(name, tmp_path)
    check_fit(kit, script)
    assert taken(script, inputs, tmp_path)[1] == str(competition)
    add_competition(inputs / "competitions" / OTHER)
    assert "expected one competition" in refusal(script, inputs, tmp_path)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_bundle_of_the_former_interface_ends_the_kernel_with_one_line(
    name, inputs, tmp_path
):
    """Here, and before anything is sent; it would not know what the kernel is told."""
    _, kit, _ = lay_out("competitions", inputs)
    path = kit / "kaggle_kit" / "kernel.py"
    text = path.read_text("utf-8").replace("FORMER = (1,)", "FORMER = ()")
    path.write_text(text.replace("INTERFACE = 2", "INTERFACE = 1"))
    done = run_script(SCRIPTS[name], inputs, tmp_path)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1 and "make the bundle again" in line
    with pytest.raises(ArtefactError, match="make the bundle again"):
        check_fit(kit, SCRIPTS[name])


def test_every_interface_up_to_now_works():
    for interface in range(1, entry.INTERFACE + 1):
        entry.check("0.2.0", interface)
    with pytest.raises(SystemExit):
        entry.check("0.2.0", 0)


# What push writes


def test_only_the_constant_of_a_kernel_of_the_kit_is_filled_in(tmp_path):
    path = tmp_path / "own.py"
    own = (
        'from kaggle_kit import kernel\r\nx = "é"; SOURCES = {\n    "a": "b",\n}  # é\n'
    )
    path.write_bytes(own.encode())
    expected = own.replace('{\n    "a": "b",\n}', '{"bundle": "0"}')
    assert fill_in(path, {"bundle": "0"}).decode() == expected
    for text in (
        own.replace("from kaggle_kit import kernel", "import json"),
        own.replace("SOURCES", "OTHER"),
        own.replace("SOURCES", "a, SOURCES"),
    ):
        path.write_bytes(text.encode())
        assert not takes_sources(path)
        assert fill_in(path, {"bundle": "0"}).decode() == text
    notebook = tmp_path / "own.ipynb"
    notebook.write_text('{"cells": [], "x": null}')
    assert fill_in(notebook, {"bundle": "0"}) == notebook.read_bytes()


@pytest.mark.parametrize(
    ("code", "is_training"),
    [
        ("kernel.train(1, 2, 3)", True),
        ("if 1:\n    kaggle_kit.kernel.train(1, 2, 3)", True),
        ("kernel.infer(1, 2, 3, 4)", False),
        ("kernel.infer(settings.train.epochs)", False),
        ("model.train(False)", False),
        ("x = kernel.train", False),
    ],
)
def test_a_kernel_trains_if_it_calls_the_training(code, is_training, tmp_path):
    path = tmp_path / "own.py"
    path.write_text(
        f"import kaggle_kit.kernel\nfrom kaggle_kit import kernel\n{code}\n"
    )
    assert trains(path) is is_training


@pytest.mark.parametrize("name", SCRIPTS)
def test_one_of_the_kernels_of_the_kit_trains(name):
    assert trains(SCRIPTS[name]) is (name == "training")


@pytest.mark.parametrize(
    ("kernels", "earlier"),
    [
        ([], None),
        (["me/mine"], "me/mine"),
        (["me/another"], "me/another"),
        (["me/another", "me/mine"], "me/mine"),
        (["me/another", "me/third"], None),
    ],
)
def test_a_training_resumes_its_own_output_or_the_only_one(kernels, earlier):
    metadata = replace(
        read_kernel_metadata(KERNELS / "training"), id="me/mine", kernel_sources=kernels
    )
    assert make_sources(metadata, None, None).get("earlier") == earlier


@pytest.fixture
def ready(kaggle, small_bundle):
    """A stand-in with the bundle published, whose kernels leave a valid submission."""
    kaggle.add_dataset(DATASET, files_of(small_bundle))
    kaggle.on_push = lambda version: (
        {"submission.csv": SUBMISSION.encode()},
        "",
        "COMPLETE",
    )
    return kaggle


def change(kernel: Path, **values: object) -> None:
    path = kernel / "kernel-metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.extended
def test_push_chooses_the_bundle_of_the_kernels_kind(ready, small_bundle, kernel_dir):
    kinds = {"tester/a-training": "training", "tester/b-model": "recognition"}
    for handle, kind in kinds.items():
        content = json.dumps({"kind": kind, "files": {}}).encode()
        ready.add_dataset(handle, {MANIFEST: content, "other.csv": b"x"})
    ready.add_dataset("tester/no-bundle", {"other.csv": b"x"})
    change(kernel_dir, dataset_sources=["tester/no-bundle", *kinds])
    run = push(kernel_dir, handle=KERNEL)
    model = json.dumps({"kind": "recognition", "files": {}}).encode()
    assert sent_sources(ready)["bundle"] == hashlib.sha256(model).hexdigest()
    assert run.bundle is not None and run.bundle.dataset == "tester/b-model"


def test_push_of_two_fitting_bundles_sends_nothing(ready, small_bundle, kernel_dir):
    ready.add_dataset("tester/second-kit", files_of(small_bundle))
    change(kernel_dir, dataset_sources=[DATASET, "tester/second-kit"])
    with pytest.raises(ArtefactError) as caught:
        push(kernel_dir)
    check_complaint(caught.value, KERNEL)
    assert f"{DATASET} and tester/second-kit; " in str(caught.value)
    assert not [c for c in ready.calls if c.name == "SaveKernel"]


@pytest.mark.parametrize("content", [b"[]", b'{"test": {"gap": 2}}'])
def test_push_of_a_damaged_manifest_sends_nothing(ready, kernel_dir, content):
    """Otherwise the kernel would be told no bundle."""
    ready.add_dataset(DATASET, {MANIFEST: content, "other.csv": b"x"})
    with pytest.raises(ArtefactError) as caught:
        push(kernel_dir, dataset=DATASET)
    check_complaint(caught.value, DATASET)
    assert not [c for c in ready.calls if c.name == "SaveKernel"]


def test_push_for_two_competitions_sends_nothing(kaggle, kernel_dir):
    change(kernel_dir, competition_sources=[OTHER, SLUG])
    for function in (push, plan_push):
        with pytest.raises(ArtefactError) as caught:
            function(kernel_dir, dataset=DATASET)
        check_complaint(caught.value, kernel_dir / "kernel-metadata.json")
        assert f"{OTHER} and {SLUG}; " in str(caught.value)
    assert not kaggle.calls


def test_ship_names_the_competition_of_two(kaggle, small_bundle, kernel_dir):
    """The kernel is told it, and its submission is validated for it."""
    another = SAMPLE.replace("aa,", "ba,").encode()
    kaggle.add_competition(OTHER, {"sample_submission.csv": another}, code=True)
    kaggle.on_push = lambda version: (
        {"submission.csv": SUBMISSION.encode()},
        "",
        "COMPLETE",
    )
    change(kernel_dir, competition_sources=[OTHER, SLUG])
    assert plan_ship(small_bundle, kernel_dir, SLUG, "m").kernel.metadata.id == KERNEL
    shipment = ship(small_bundle, kernel_dir, SLUG, "m")
    assert sent_sources(kaggle) == {"competition": SLUG, "bundle": digest(small_bundle)}
    assert shipment.kernel.bundle is not None
    assert shipment.kernel.bundle.bundle == digest(small_bundle)[:12]
    assert shipment.submission.submitted


# All of it with a real bundle


def test_a_pushed_kernel_answers_for_its_competition_with_its_bundle(
    bundle_dir, settings, competition, inputs, tmp_path
):
    """Beside another year's competition, a training bundle and an earlier version."""
    other = inputs / "competitions" / OTHER
    for name in ("train", "test"):
        (other / name).mkdir(parents=True)
    (other / "train.csv").write_text("id,landmark_id\nabcdef0123456789,7\n")
    (other / "sample_submission.csv").write_text("id,landmarks\nfeedfeedfeedfeed,7 1\n")
    (inputs / "competitions" / SLUG).symlink_to(competition)
    mounts = inputs / "datasets" / "me"
    build_training_bundle(settings, mounts / "a-training")
    earlier = Path(shutil.copytree(bundle_dir, mounts / "b-earlier"))
    (earlier / "names.csv").write_text("landmark_id,name\n1,x\n")
    (earlier / "gallery" / "vectors.npy").write_bytes(b"damaged")
    sign(earlier)
    (mounts / "kit").symlink_to(bundle_dir)
    script = told("inference", tmp_path, competition=SLUG, bundle=digest(bundle_dir))
    working = tmp_path / "working"
    working.mkdir()
    done = run_script(script, inputs, working)
    assert done.returncode == 0, done.stderr
    predict(bundle_dir, competition, tmp_path / "expected.csv")
    got, expected = (
        tables.read_submission(path)
        for path in (working / "submission.csv", tmp_path / "expected.csv")
    )
    assert list(got) == list(expected)
    assert {i: guess and guess.landmark_id for i, guess in got.items()} == {
        i: guess and guess.landmark_id for i, guess in expected.items()
    }
