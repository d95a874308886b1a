"""The exported folder is small and complete, and answers as the bundle does."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from importlib.util import find_spec

import psutil
import pytest

from kaggle_kit.app.export import EXPORT, PAGE, REQUIREMENTS, export
from kaggle_kit.data.layout import image_path
from kaggle_kit.errors import ArtefactError
from kaggle_kit.storage import tables
from kaggle_kit.storage.folders import list_files
from kaggle_kit.storage.manifest import MANIFEST, describe_file, verify
from tests.helpers.app_answers import answer_images
from tests.helpers.browsing import upload_files
from tests.helpers.complaints import check_complaint
from tests.helpers.served_app import serve_command
from tests.helpers.signed_bundles import sign

DISK, MEMORY = 500e6, 512e6  # bytes of a small free host


@pytest.fixture(scope="module")
def exported(bundle_dir, competition, tmp_path_factory):
    """The folder, and the result of ``export``."""
    out = tmp_path_factory.mktemp("export") / "app"
    return out, export(bundle_dir, out, competition)


@pytest.fixture
def secret(tmp_path):
    """A folder outside any bundle."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "notes.txt").write_text("a secret")
    return tmp_path / "secret"


def test_the_folder_has_the_files_of_a_page_and_no_savedmodel(exported, bundle_dir):
    out, result = exported
    names = {path.name for path in out.iterdir()}
    assert names == {PAGE, "requirements.txt", ".streamlit", "bundle", "photos"}
    assert not list(out.rglob("saved_model.pb"))
    assert list(out.glob("bundle/embedders/0/model.tflite"))
    assert (out / "bundle" / "library" / "kaggle_kit" / "app" / "main.py").exists()
    files = [path for path in out.rglob("*") if path.is_file()]
    assert result.files == len(files)
    size = sum(path.stat().st_size for path in files)
    assert result.mb == pytest.approx(size / 1e6, abs=0.1)
    exported_scores, scores = (
        verify(folder).content["validation"] for folder in (out / "bundle", bundle_dir)
    )
    assert exported_scores == scores
    assert EXPORT.list_others(out) == []
    assert all(EXPORT.has_name(name) for name in list_files(out))


def test_thumbnails_are_small_and_examples_exist(exported, competition):
    out, result = exported
    labels = tables.read_labels(out / "bundle" / "gallery" / "gallery.csv")
    with zipfile.ZipFile(out / "photos" / "thumbnails.zip") as thumbnails:
        assert len(thumbnails.namelist()) == result.thumbnails == len(labels)
        assert max(info.file_size for info in thumbnails.infolist()) < 15_000
    assert len(list((out / "photos" / "examples").iterdir())) == 6


def test_options_are_those_of_the_page(exported):
    options = tomllib.loads((exported[0] / ".streamlit/config.toml").read_text("utf-8"))
    assert options["server"]["maxUploadSize"] == 20
    assert options["browser"]["gatherUsageStats"] is False


def test_requirements_are_pinned_and_without_tensorflow(exported):
    lines = (exported[0] / "requirements.txt").read_text("utf-8").splitlines()
    assert lines == REQUIREMENTS.splitlines()
    assert all("==" in line for line in lines)
    assert not any("tensorflow" in line or "keras" in line for line in lines)


@pytest.mark.skipif(
    find_spec("ai_edge_litert") is None, reason="the extra 'app' is not installed"
)
def test_the_export_answers_as_the_bundle_does(exported, bundle_dir, competition):
    """With the library in the exported bundle."""
    image_id = tables.read_sample(competition / "sample_submission.csv")[0]
    path = image_path(competition / "test", image_id)
    code = (
        "import json, sys; from pathlib import Path\n"
        "sys.path.insert(0, 'bundle/library')\n"
        "import kaggle_kit; assert Path(kaggle_kit.__file__).is_relative_to(Path.cwd())\n"
        "from kaggle_kit.app.answers import AnswerService\n"
        "from kaggle_kit.backends.uploads import CheckedImage\n"
        "image = CheckedImage('x', Path(sys.argv[1]).read_bytes())\n"
        "best = AnswerService(Path('bundle')).answer(image).answer\n"
        "print(json.dumps([best.landmark, best.confidence]))\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    output = subprocess.check_output(command, cwd=exported[0], text=True)
    best = answer_images(bundle_dir, [path])["answers"][0]["candidates"][0]
    assert json.loads(output) == [best["landmark"], best["confidence"]]


@pytest.mark.slow
@pytest.mark.network
def test_a_fresh_environment_is_small_and_answers_as_the_app_does(
    exported, bundle_dir, competition, browser, tmp_path
):
    """Only the requirements are installed; the size is that of the whole environment."""
    out, _ = exported
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    file = out / "requirements.txt"
    install = [python, "-m", "pip", "install", "-q", "--no-cache-dir", "-r", file]
    subprocess.run(install, check=True)
    size = sum(p.lstat().st_size for p in environment.rglob("*") if not p.is_symlink())
    command = [python, "-m", "streamlit", "run", PAGE, "--server.port", "PORT"]
    env = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    image_id = tables.read_sample(competition / "sample_submission.csv")[0]
    path = image_path(competition / "test", image_id)
    with serve_command(command, tmp_path, out, env) as server:
        page = browser.new_page()
        page.goto(server.url)
        page.locator("input[type=file]").first.wait_for(state="attached")
        text = upload_files(page, path)
        page.close()
        memory = psutil.Process(server.process.pid).memory_info().rss
    print(f"{size / 1e6:.0f} MB on disk, {memory / 1e6:.0f} MB of memory")
    (answer,) = answer_images(bundle_dir, [path])["answers"]
    assert answer["candidates"][0]["name"] in text
    assert size < DISK and memory < MEMORY


def test_the_same_bundle_gives_the_same_bytes(
    exported, bundle_dir, competition, tmp_path
):
    out, _ = exported
    export(bundle_dir, tmp_path / "second", competition)
    for path in out.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            other = tmp_path / "second" / path.relative_to(out)
            assert other.read_bytes() == path.read_bytes(), path


def test_a_link_that_is_not_listed_is_not_exported(bundle_dir, secret, tmp_path):
    bundle = shutil.copytree(bundle_dir, tmp_path / "bundle")
    (bundle / "notes.txt").symlink_to(secret / "notes.txt")
    (bundle / "folder").symlink_to(secret)
    export(bundle, tmp_path / "out", None)
    names = {path.name for path in (tmp_path / "out").rglob("*")}
    assert not names & {"notes.txt", "folder"}


@pytest.mark.parametrize(
    ("name", "target"), [("notes.txt", "notes.txt"), ("folder/notes.txt", ".")]
)
def test_a_listed_link_is_refused(name, target, bundle_dir, secret, tmp_path):
    bundle = shutil.copytree(bundle_dir, tmp_path / "bundle")
    (bundle / name.split("/")[0]).symlink_to(secret / target)
    path = bundle / MANIFEST
    manifest = json.loads(path.read_text("utf-8"))
    manifest["files"][name] = describe_file(bundle / name).as_json()
    path.write_text(json.dumps(manifest), "utf-8")
    with pytest.raises(ArtefactError, match="a link") as caught:
        export(bundle, tmp_path / "out", None)
    check_complaint(caught.value, bundle)
    assert not (tmp_path / "out").exists()


def test_an_example_is_an_image_whatever_a_link_leads_to(
    bundle_dir, competition, tmp_path
):
    copy = shutil.copytree(competition, tmp_path / "competition")
    (tmp_path / "secret").write_text("a secret")
    for path in (copy / "test").rglob("*.jpg"):
        path.unlink()
        path.symlink_to(tmp_path / "secret")
    export(bundle_dir, tmp_path / "out", copy)
    assert not list((tmp_path / "out" / "photos" / "examples").iterdir())


@pytest.mark.skipif(
    not (find_spec("ai_edge_litert") and find_spec("streamlit")),
    reason="the extra 'app' is not installed",
)
def test_nothing_but_the_library_is_imported_from_an_exported_bundle(
    bundle_dir, tmp_path
):
    """The page is run without the installed kit, as on a host."""
    bundle = shutil.copytree(bundle_dir, tmp_path / "bundle")
    ran = tmp_path / "ran"
    for name in (
        *("PIL.py", "altair.py", "sitecustomize.py", "numpy/__init__.py", "json.py"),
        *("library/PIL.py", "library/altair.py", "kaggle_kit/PIL.py", "app/evil.py"),
    ):
        (bundle / name).parent.mkdir(exist_ok=True)
        (bundle / name).write_text(f"open({str(ran)!r}, 'w').write(__file__)\n")
    sign(bundle)
    out = tmp_path / "out"
    export(bundle, out, None)
    assert [path.name for path in (out / "bundle" / "library").iterdir()] == [
        "kaggle_kit"
    ]
    code = (
        "import runpy, sys; from pathlib import Path\n"
        f"runpy.run_path({PAGE!r}, run_name='__main__')\n"
        "import altair, json, kaggle_kit, numpy, PIL\n"
        "print(kaggle_kit.__file__)\n"
        "here = Path.cwd() / 'bundle'\n"
        "for module in (altair, json, numpy, PIL):\n"
        "    assert not Path(module.__file__).is_relative_to(here), module\n"
    )
    site = sysconfig.get_path(
        "purelib"
    )  # without the files that add the kit's checkout
    done = subprocess.run(
        [sys.executable, "-S", "-B", "-c", code],
        cwd=out,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": site},
        capture_output=True,
        text=True,
        check=False,
    )
    library = out / "bundle" / "library" / "kaggle_kit" / "__init__.py"
    assert done.stdout.splitlines()[-1:] == [str(library)], done.stderr
    assert not ran.exists(), ran.read_text()


def test_a_bundle_without_litert_and_a_folder_of_another_kind_are_refused(
    bundle_dir, tmp_path
):
    shutil.copytree(bundle_dir, tmp_path / "bundle")
    next((tmp_path / "bundle").glob("embedders/*/model.tflite")).unlink()
    sign(tmp_path / "bundle")
    with pytest.raises(ArtefactError, match=r"expected model\.tflite"):
        export(tmp_path / "bundle", tmp_path / "out", None)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(ArtefactError, match="found other files"):
        export(bundle_dir, tmp_path / "out", None)
