"""A rehearsal fails with the reason if the kernel breaks one of Kaggle's rules."""

import hashlib
import json
import shutil
import socket
import threading
from pathlib import Path

import pytest

import kaggle_kit
from kaggle_kit.errors import ArtefactError, KitError, RehearsalError
from kaggle_kit.rehearsal import rehearse as rehearse_module
from kaggle_kit.rehearsal.rehearse import rehearse
from kaggle_kit.storage.json_files import to_json
from kaggle_kit.storage.manifest import MANIFEST
from tests.helpers.complaints import check_complaint
from tests.helpers.signed_bundles import sign

GOOD = """
import csv, os
from pathlib import Path
(sample,) = Path(os.environ["KAGGLE_KIT_INPUT"]).rglob("sample_submission.csv")
Path("submission.csv").write_text(sample.read_text())
"""


@pytest.fixture
def small(tmp_path):
    """A competition of two test images, and an empty bundle."""
    root = tmp_path / "competition"
    for folder in ("train", "test"):
        (root / folder / "0").mkdir(parents=True)
    (root / "train.csv").write_text("id,landmark_id\n0123456789abcdef,7\n")
    sample = "id,landmarks\n0123456789abcde0,7 0.1\n0123456789abcde1,7 0.1\n"
    (root / "sample_submission.csv").write_text(sample)
    solution = "id,landmarks\n0123456789abcde0,7\n0123456789abcde1,\n"
    (root / "solution.csv").write_text(solution)
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / MANIFEST).write_text('{"files": {}}')
    return root, bundle


@pytest.fixture(params=["namespace", "refusal"])
def network(request, monkeypatch):
    """Runs a test with namespaces, if the machine allows them, and without."""
    if request.param == "refusal":
        monkeypatch.setattr(rehearse_module, "isolation_command", list)
    elif not rehearse_module.isolation_command():
        pytest.skip("this machine allows no namespaces")
    return request.param


@pytest.fixture
def outcome(small, tmp_path):
    """Rehearse a script; return the result as JSON, or why it failed."""

    def run(script, metadata=None, **limits):
        kernel = tmp_path / "kernel"
        kernel.mkdir(exist_ok=True)
        (kernel / "script.py").write_text(script)
        values = {"code_file": "script.py", "enable_internet": False}
        values |= metadata or {}
        (kernel / "kernel-metadata.json").write_text(json.dumps(values))
        limits = {"time_limit_s": 60.0, "memory_gb": 2.0} | limits
        root, bundle = small
        try:
            result = rehearse(bundle, root, tmp_path / "out", kernel=kernel, **limits)
            return to_json(result)
        except KitError as error:
            assert "\n" not in str(error)
            if "enable_internet" not in str(
                error
            ):  # else it is refused before it starts
                written = (tmp_path / "out" / "rehearsal.json").read_text()
                assert json.loads(written)["failed"] == str(error)
            return str(error)

    return run


def test_a_good_kernel_passes_and_is_scored(outcome, network, tmp_path):
    result = outcome(GOOD)
    assert result["network"] == network
    assert result["score"]["gap"] == 1.0
    assert result["n_images"] == 2
    assert json.loads((tmp_path / "out" / "rehearsal.json").read_text()) == result
    working = tmp_path / "out" / "working"
    assert [p.name for p in working.iterdir()] == ["submission.csv"]
    assert Path(result["report"]) == tmp_path / "out" / "report.html"
    assert 'value="1.0"' in Path(result["report"]).read_text("utf-8")


def test_files_of_the_users_stay_or_are_in_the_way(outcome, small, tmp_path):
    """In the folders that the kernel sees they are refused, and nothing is removed."""
    outcome(GOOD + 'Path("model.bin").write_text("of the kernel")')
    out = tmp_path / "out"
    (out / "notes").mkdir()
    (out / "notes" / "thesis.txt").write_text("mine")
    assert outcome(GOOD)["n_images"] == 2
    assert (out / "notes" / "thesis.txt").read_text() == "mine"
    assert not (out / "working" / "model.bin").exists()
    (out / "working" / "mine.csv").write_text("mine")
    root, bundle = small
    with pytest.raises(ArtefactError, match=r"working/mine\.csv: .*does not list"):
        rehearse(bundle, root, out, kernel=tmp_path / "kernel")
    assert (out / "working" / "mine.csv").read_text() == "mine"
    assert (out / "working" / "submission.csv").exists()


def test_landmarks_that_the_bundle_does_not_hold_are_a_loss_of_their_own(
    outcome, small, tmp_path
):
    """In the score, and on the page; a bundle without a gallery knows of none."""
    _, bundle = small
    wrong = GOOD.replace(".read_text()", '.read_text().replace("7 0.1", "8 0.1")')
    lost = outcome(wrong)["score"]["lost"]
    assert lost["wrong_landmarks"] == 1 and "unknown_landmarks" not in lost
    (bundle / "gallery").mkdir()
    table = bundle / "gallery" / "gallery.csv"
    table.write_text("id,landmark_id\n0123456789abcdef,8\n")
    sign(bundle)
    lost = outcome(wrong)["score"]["lost"]
    assert lost["wrong_landmarks"] == 0 and lost["unknown_landmarks"] == 1
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "not in the bundle: 1, of which 0 are right" in page


@pytest.mark.parametrize("caught", [False, True], ids=["plain", "caught"])
@pytest.mark.parametrize(
    "call",
    [
        "socket.create_connection(('127.0.0.1', {port}))",
        "socket.socket()",
        "socket.getaddrinfo('kaggle.invalid', 443)",
        "urllib.request.urlopen('http://127.0.0.1:{port}/')",
    ],
)
def test_a_kernel_that_opens_a_socket_fails(outcome, network, call, caught):
    with socket.create_server(("127.0.0.1", 0)) as server:
        call = call.format(port=server.getsockname()[1])
        if caught:
            call = f"try: {call}\nexcept Exception: pass"
        reason = outcome(f"import socket, urllib.request\n{call}\n{GOOD}")
    assert "opened a network socket" in reason or "looked up the host" in reason


def test_a_program_that_a_kernel_starts_has_no_network(outcome, tmp_path):
    """A namespace restricts any program."""
    if not rehearse_module.isolation_command():
        pytest.skip("this machine allows no namespaces")
    heard = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen():
            try:
                heard.append(server.accept())
            except OSError:
                return

        threading.Thread(target=listen, daemon=True).start()
        port = server.getsockname()[1]
        client = f"import socket; socket.create_connection(('127.0.0.1', {port}))"
        script = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {client!r}], check=True)"
        assert "ended with exit code 1" in outcome(script)
    assert not heard
    assert "Network is unreachable" in (tmp_path / "out" / "log.txt").read_text()


@pytest.mark.parametrize(
    "call",
    [
        "open({place!r}, 'w')",
        "open({place!r}, 'a')",
        "os.open({place!r}, os.O_CREAT | os.O_WRONLY)",
        "os.mkdir({place!r})",
        "os.symlink('x', {place!r})",
        "pathlib.Path({place!r}).touch()",
        "os.rename('mine', {place!r})",
    ],
)
def test_a_kernel_that_writes_elsewhere_fails(outcome, network, call, tmp_path):
    place = tmp_path / "elsewhere"
    call = call.format(place=str(place))
    script = f"import os, pathlib\nopen('mine', 'w').close()\ntry: {call}\nexcept OSError: pass\n{GOOD}"
    reason = outcome(script)
    assert f"wrote outside its working folder: {place}" in reason
    assert not place.exists()


def test_the_kernel_sees_only_uploaded_files(outcome, network, small):
    """Neither the files that only the client reads, nor empty folders."""
    _, bundle = small
    (bundle / "embedders" / "model" / "assets").mkdir(parents=True)
    (bundle / "embedders" / "model" / "saved_model.pb").write_text("model")
    (bundle / "dataset-metadata.json").write_text("{}")
    sign(bundle)
    script = f"""
import os
from pathlib import Path
(manifest,) = Path(os.environ["KAGGLE_KIT_INPUT"]).rglob("kit-manifest.json")
found = sorted(p.relative_to(manifest.parent).as_posix() for p in manifest.parent.rglob("*"))
model = "embedders/model"
assert found == ["embedders", model, f"{{model}}/saved_model.pb", "kit-manifest.json"], found
assert (manifest.parent / model / "saved_model.pb").read_text() == "model"
{GOOD}"""
    assert outcome(script)["valid"]


@pytest.mark.parametrize("name", ["embedders/words.npy", "embedders/new.npy"])
def test_a_kernel_cannot_change_its_bundle(outcome, network, small, name):
    _, bundle = small
    (bundle / "embedders").mkdir()
    (bundle / "embedders" / "words.npy").write_text("words")
    sign(bundle)
    script = f"""
import os
from pathlib import Path
(folder,) = Path(os.environ["KAGGLE_KIT_INPUT"]).rglob("embedders")
try: open(folder.parent / {name!r}, "a").write("mine")
except OSError: pass
{GOOD}"""
    assert "wrote outside its working folder" in outcome(script)
    files = [p.name for p in (bundle / "embedders").iterdir()]
    assert files == ["words.npy"]
    assert (bundle / "embedders" / "words.npy").read_text() == "words"


def test_a_kernel_cannot_change_its_inputs(outcome, network, small):
    root, _ = small
    before = (root / "train.csv").read_bytes()
    script = """
import os
from pathlib import Path
(table,) = Path(os.environ["KAGGLE_KIT_INPUT"]).rglob("train.csv")
table.unlink()
"""
    assert "wrote outside its working folder" in outcome(script)
    assert (root / "train.csv").read_bytes() == before


def test_native_code_cannot_write_elsewhere(outcome, tmp_path):
    if not rehearse_module.isolation_command():
        pytest.skip("this machine allows no namespaces")
    place = tmp_path / "elsewhere"
    script = f"""
import ctypes
libc = ctypes.CDLL(None)
assert libc.creat({str(place)!r}.encode(), 0o644) == -1
assert libc.creat(b"inside", 0o644) > 0
{GOOD}"""
    assert outcome(script)["valid"]
    assert not place.exists()


def test_a_kernel_may_use_a_temporary_folder(outcome, network, tmp_path):
    script = (
        f"import tempfile\nwith tempfile.TemporaryFile() as f: f.write(b'x')\n{GOOD}"
    )
    assert outcome(script)["valid"]
    assert not (tmp_path / "out" / "scratch").exists()


def test_a_kernel_may_link_to_its_inputs(outcome, network):
    script = f"""
import os
inputs = os.environ["KAGGLE_KIT_INPUT"]
os.symlink(inputs, "inputs")
assert os.listdir("inputs") == os.listdir(inputs)
os.unlink("inputs")
{GOOD}"""
    assert outcome(script)["valid"]


def test_folders_may_have_unusual_names(small, tmp_path, monkeypatch):
    root, bundle = small
    odd = tmp_path / "with space, ümlaut"
    odd.mkdir()
    (odd / "kernel").mkdir()
    (odd / "kernel" / "script.py").write_text(GOOD)
    metadata = '{"code_file": "script.py", "enable_internet": false}'
    (odd / "kernel" / "kernel-metadata.json").write_text(metadata)
    monkeypatch.chdir(odd)
    shutil.copytree(root, "root")
    shutil.copytree(bundle, "bundle")
    paths = (Path(name) for name in ("bundle", "root", "out"))
    assert to_json(rehearse(*paths, kernel=Path("kernel")))["valid"]


def test_a_kernel_over_its_time_limit_fails(outcome):
    reason = outcome(f"{GOOD}\nimport time\ntime.sleep(60)", time_limit_s=1.5)
    assert "ran over its 1.5 s" in reason


def test_a_kernel_is_told_its_time_limit(outcome):
    script = (
        f"import os\nassert os.environ['KAGGLE_KIT_TIME_LIMIT_S'] == '59.5'\n{GOOD}"
    )
    assert outcome(script, time_limit_s=59.5)["valid"]


@pytest.mark.parametrize("slug", ["landmark-recognition-2021", "another"])
def test_a_kernel_is_told_its_sources_as_a_pushed_one(outcome, small, tmp_path, slug):
    """And the competition is mounted by its name."""
    _, bundle = small
    (bundle / "kaggle_kit").mkdir()
    for name in ("__init__.py", "kernel.py"):
        source = Path(kaggle_kit.__file__).with_name(name)
        shutil.copy(source, bundle / "kaggle_kit")
    sign(bundle)
    told = {
        "competition": slug,
        "bundle": hashlib.sha256((bundle / MANIFEST).read_bytes()).hexdigest(),
    }
    script = f"""
import sys
{GOOD}
(manifest,) = Path(os.environ["KAGGLE_KIT_INPUT"]).rglob("kit-manifest.json")
sys.path.insert(0, str(manifest.parent))
from kaggle_kit import kernel
SOURCES = {{}}
assert SOURCES == {told}, SOURCES
assert sample.parts[-3:-1] == ("competitions", {slug!r})
"""
    assert outcome(script, {"competition_sources": [slug]})["valid"]
    assert "SOURCES = {}" in (tmp_path / "kernel" / "script.py").read_text()
    copy = tmp_path / "out" / "kernel" / "script.py"
    assert told["bundle"] in copy.read_text()


TOLD = f"from kaggle_kit import kernel\nSOURCES = {{}}\n{GOOD}"


def refusal(small, tmp_path, script, slugs):
    """The line with which a kernel for some competitions is refused before it is run."""
    root, bundle = small
    (bundle / "kaggle_kit").mkdir()
    shutil.copy(Path(kaggle_kit.__file__).with_name("kernel.py"), bundle / "kaggle_kit")
    sign(bundle)
    kernel = tmp_path / "kernel"
    kernel.mkdir()
    (kernel / "script.py").write_text(script)
    values = {"code_file": "script.py", "enable_internet": False}
    text = json.dumps(values | {"competition_sources": slugs})
    (kernel / "kernel-metadata.json").write_text(text)
    with pytest.raises(ArtefactError) as caught:
        rehearse(bundle, root, tmp_path / "out", kernel=kernel)
    assert not (tmp_path / "out").exists()
    check_complaint(caught.value, kernel / "kernel-metadata.json")
    return str(caught.value)


def test_a_kernel_that_could_be_told_several_competitions_is_refused(small, tmp_path):
    line = refusal(small, tmp_path, TOLD, ["one-more", "another"])
    assert "one competition in competition_sources, got one-more and another; " in line


def test_a_kernel_of_ones_own_may_have_several_competitions(outcome):
    """It is told nothing, and sees the first."""
    script = f'{GOOD}\nassert sample.parts[-2] == "one-more"'
    assert outcome(script, {"competition_sources": ["one-more", "another"]})["valid"]


@pytest.mark.parametrize("script", [GOOD, TOLD], ids=["own", "told"])
@pytest.mark.parametrize("slug", ["../../x", "/tmp/x", "a/b", "..", "", "a b", "a\n"])
def test_a_competition_that_is_no_slug_is_refused(small, tmp_path, script, slug):
    """Its name becomes part of a path."""
    slug = slug.replace("/tmp", str(tmp_path))
    line = refusal(small, tmp_path, script, ["another", slug])
    assert f"{slug!r} for the slug of a competition" in line.replace("\\\\", "\\")
    assert not (tmp_path / "x").exists()


def test_a_kernel_over_its_memory_limit_fails(outcome):
    script = "import time\nx = b'1' * 600_000_000\ntime.sleep(60)"
    assert "over its 0.3 GB" in outcome(script, memory_gb=0.3)


def test_memory_of_child_processes_counts(outcome):
    child = "import time; x = b'1' * 600_000_000; time.sleep(60)"
    script = (
        f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {child!r}])"
    )
    assert "over its 0.3 GB" in outcome(script, memory_gb=0.3)


def test_a_kernel_that_raises_fails_with_its_last_line(outcome):
    assert "exit code 1: ValueError: lost" in outcome("raise ValueError('lost')")


def test_what_a_rehearsal_keeps_has_no_secret(outcome, tmp_path):
    script = (
        "print('with url: /x?X-Goog-Signature=9876501234')\n"
        "raise SystemExit('KAGGLE_KEY=abcdefgh-01')\n"
    )
    assert "exit code 1: KAGGLE_KEY=[hidden]" in outcome(script)
    for path in (tmp_path / "out").rglob("*"):
        text = path.read_bytes() if path.is_file() and path.suffix != ".py" else b""
        assert b"9876501234" not in text and b"abcdefgh-01" not in text, path
    lines = (tmp_path / "out" / "log.txt").read_text().splitlines()
    assert lines == ["with url: /x?...", "KAGGLE_KEY=[hidden]"]


def test_a_kernel_that_exits_early_fails(outcome):
    assert "exit code 3" in outcome("import sys\nsys.exit(3)")


def test_a_kernel_without_a_submission_fails(outcome):
    assert "found none" in outcome("print('done')")


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ("id,landmarks\n0123456789abcde0,7 0.1\n", "too few"),
        ("id,landmarks\n0123456789abcde0,7 nan\n0123456789abcde1,\n", "'7 nan'"),
        ("id,landmarks\n0123456789abcde0,\n0123456789abcde0,\n", "got another"),
        ("", "expected the header id,landmarks"),
        (",id,landmarks\n0,0123456789abcde0,\n1,0123456789abcde1,\n", "index=False"),
    ],
)
def test_an_invalid_submission_fails_with_the_reason(outcome, rows, reason):
    script = f"open('submission.csv', 'w').write({rows!r})"
    assert reason in outcome(script)


def test_the_kernel_does_not_see_the_solution(outcome):
    script = f"""
import os
from pathlib import Path
inputs = Path(os.environ["KAGGLE_KIT_INPUT"])
assert not [p for p in inputs.rglob("*") if "solution" in p.name]
{GOOD}"""
    assert outcome(script)["valid"]


def test_the_kernel_does_not_see_the_users_environment(outcome, monkeypatch):
    monkeypatch.setenv("KAGGLE_KEY", "very-secret")
    script = f"import os\nassert 'very-secret' not in str(os.environ)\n{GOOD}"
    assert outcome(script)["valid"]


def test_the_kernel_inherits_settings_of_linear_algebra(outcome, monkeypatch):
    """The last digits of a matrix product depend on them."""
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    script = f"import os\nassert os.environ['OPENBLAS_CORETYPE'] == 'Haswell'\n{GOOD}"
    assert outcome(script)["valid"]


@pytest.mark.parametrize("package", ["hypothesis", "mypy", "kaggle_kit"])
def test_packages_missing_in_the_image_cannot_be_imported(outcome, package):
    """The kit is one of them: the kernel can import it only from its bundle."""
    reason = outcome(f"import {package}\n{GOOD}")
    assert f"ModuleNotFoundError: No module named '{package}'" in reason


def test_packages_of_the_image_can_be_imported(outcome):
    script = f"import numpy, pandas, pydantic, tqdm, h5py, yaml, PIL\n{GOOD}"
    assert outcome(script)["valid"]


def test_a_kernel_that_asks_for_the_internet_is_refused(outcome):
    assert "enable_internet false" in outcome(GOOD, {"enable_internet": True})
    assert "enable_internet false" in outcome(GOOD, {"enable_internet": None})


def test_a_bundle_that_was_changed_is_refused(small, tmp_path):
    root, bundle = small
    manifest = {"files": {"x": {"bytes": 1, "sha256": "0" * 64}}}
    (bundle / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ArtefactError, match="got no file"):
        rehearse(bundle, root, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_bundle_of_an_older_version_is_refused_before_it_is_run(small, tmp_path):
    """With the kit's own kernel, which cannot use it."""
    root, bundle = small
    (bundle / "kaggle_kit").mkdir()
    (bundle / "kaggle_kit" / "__init__.py").write_text('__version__ = "0.1.0"\n')
    (bundle / MANIFEST).write_text('{"kit": {"version": "0.1.0"}}')
    sign(bundle)
    with pytest.raises(ArtefactError) as caught:
        rehearse(bundle, root, tmp_path / "out")
    assert str(caught.value) == (
        f"{bundle}: kernel of kaggle_kit {kaggle_kit.__version__}, bundle of 0.1.0: make "
        f"the bundle again with kaggle-kit bundle and publish it"
    )
    assert not (tmp_path / "out").exists()


def test_a_kernel_of_an_older_version_is_refused_before_it_is_run(small, tmp_path):
    root, bundle = small
    (bundle / "kaggle_kit").mkdir()
    (bundle / "kaggle_kit" / "kernel.py").write_text("INTERFACE = 1\n")
    sign(bundle)
    kernel = tmp_path / "kernel"
    kernel.mkdir()
    (kernel / "script.py").write_text("from kaggle_kit.tables import read_sample\n")
    values = {"code_file": "script.py", "enable_internet": False}
    (kernel / "kernel-metadata.json").write_text(json.dumps(values))
    with pytest.raises(
        ArtefactError, match=r"before 0\.2\.0, bundle of .*got kaggle_kit\.tables"
    ):
        rehearse(bundle, root, tmp_path / "out", kernel=kernel)
    assert not (tmp_path / "out").exists()


def test_other_files_are_not_replaced(small, tmp_path):
    root, bundle = small
    (bundle / "kaggle_kit").mkdir()
    shutil.copy(Path(kaggle_kit.__file__).with_name("kernel.py"), bundle / "kaggle_kit")
    sign(bundle)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(ArtefactError, match="found other files"):
        rehearse(bundle, root, tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["thesis.txt"]


def test_failed_rehearsals_are_kit_errors():
    assert issubclass(RehearsalError, KitError)
