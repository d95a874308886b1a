"""What Kaggle would refuse is refused here, with the limits of its own client."""

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from kaggle_kit.bundling.metadata import (
    DATASET,
    HANDLE,
    KERNEL,
    LICENCES,
    check_files,
    check_handle,
    check_metadata,
    dataset_metadata,
    make_title,
)
from kaggle_kit.errors import KitError
from kaggle_kit.storage.manifest import METADATA, upload_names

GOOD = {
    "id": "someone/landmark-kit",
    "title": "Landmark kit",
    "subtitle": "s" * 20,
    "licenses": [{"name": "apache-2.0"}],
}


@pytest.mark.parametrize(
    ("handle", "what"),
    [
        ("someone/landmark-kit", DATASET),
        (HANDLE, DATASET),
        (f"a/{'b' * 6}", DATASET),
        (f"a/{'b' * 50}", DATASET),
        ("some_one-2/abcde", KERNEL),
    ],
)
def test_a_handle_is_its_owner_and_slug(handle, what):
    assert "/".join(check_handle(handle, what)) == handle


@pytest.mark.parametrize(
    ("handle", "what"),
    [
        *((h, DATASET) for h in ("", "kit", "a/", "/landmark-kit", "a/b/landmark")),
        *(
            (f"a/{slug}", DATASET)
            for slug in ("Landmark-Kit", "land mark", "land--mark")
        ),
        *((f"a/{slug}", DATASET) for slug in ("-landmark", "landmark-", "ländmark")),
        (f"a/{'b' * 5}", DATASET),
        (f"a/{'b' * 51}", DATASET),
        ("a/bbbb", KERNEL),
        ("some one/landmark", KERNEL),
        ("https://www.kaggle.com/someone/landmark-kit", KERNEL),
    ],
)
def test_an_invalid_handle_is_refused_and_quoted(handle, what):
    with pytest.raises(KitError, match="expected") as error:
        check_handle(handle, what)
    assert repr(handle.rpartition("/")[2])[1:-1] in str(error.value)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"id": None}, "id: expected text"),
        ({"title": "t" * 5}, "title: expected 6 to 50 characters, got 5"),
        ({"title": "t" * 51}, "got 51"),
        ({"subtitle": "s" * 19}, "subtitle: expected 20 to 80 characters, got 19"),
        ({"subtitle": "s" * 81}, "got 81"),
        ({"licenses": []}, "exactly one"),
        ({"licenses": None}, "exactly one"),
        ({"licenses": [{"name": "apache-2.0"}] * 2}, "exactly one"),
        ({"licenses": ["apache-2.0"]}, "exactly one"),
        ({"licenses": [{"name": "MIT"}]}, "expected one that Kaggle knows, got 'MIT'"),
    ],
)
def test_metadata_out_of_range_is_refused(changes, expected):
    check_metadata(GOOD, "x")
    with pytest.raises(KitError, match=expected):
        check_metadata(GOOD | changes, "x")
    with pytest.raises(KitError, match="expected a JSON object"):
        check_metadata([GOOD], "x")


def test_limits_are_inclusive():
    for title, subtitle in (("t" * 6, "s" * 20), ("t" * 50, "s" * 80)):
        check_metadata(GOOD | {"title": title, "subtitle": subtitle}, "x")
    check_metadata({k: v for k, v in GOOD.items() if k != "subtitle"}, "x")


def test_the_default_title_is_the_words_of_the_slug():
    assert make_title("someone/my-landmark-kit") == "My landmark kit"
    assert make_title("someone/my-landmark-kit", "Another") == "Another"
    values = dataset_metadata("me/abcdef", None, "s" * 20, "what", "other")
    assert (values["title"], values["licenses"]) == ("Abcdef", [{"name": "other"}])
    assert {"apache-2.0", "CC-BY-4.0", "other"} < set(LICENCES.split())


@pytest.fixture
def folder(tmp_path):
    for name in ("a.txt", "kaggle_kit/x.py", "model/variables/data", METADATA):
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    return tmp_path / "folder"


def test_uploaded_files_are_listed(folder):
    check_files(folder)
    assert upload_names(folder) == ["a.txt", "kaggle_kit/x.py", "model/variables/data"]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("kaggle_kit/__init__.py", "", "got an empty one"),
        ("model/assets/", None, "got an empty folder"),
        ("kernel-metadata.json", "{}", "skips"),
        ("datapackage.json", "{}", "skips"),
        ("dataset-cover-image.png", "x", "skips"),
        ("model/.cache/x", "x", "skips"),
        ("gallery.zip", "x", "no archive at the top"),
        ("wheels.tar.gz", "x", "no archive at the top"),
    ],
)
def test_files_that_would_not_arrive_are_refused(folder, name, text, expected):
    path = folder / name
    (path if text is None else path.parent).mkdir(parents=True, exist_ok=True)
    if text is not None:
        path.write_text(text)
    with pytest.raises(KitError, match=expected) as error:
        check_files(folder)
    assert Path(name).parts[0] in str(error.value)


def test_an_archive_below_the_top_level_is_allowed(folder):
    (folder / "model" / "x.zip").write_text("x")
    (folder / "model" / "kernel-metadata.json").write_text("x")
    check_files(folder)
    assert len(upload_names(folder)) == 5


def test_the_client_skips_the_same_names(folder, tmp_path):
    """Its own upload of a folder, with the request replaced."""
    if find_spec("kaggle") is None or find_spec("six") is None:
        pytest.skip("Kaggle's client is not installed")
    for name in (
        *("kernel-metadata.json", "datapackage.json", "dataset-cover-image.webp"),
        *("model-metadata.json", "model-instance-metadata.json", ".cache/x"),
        *("model/.git/x", ".git/x", "other.json", "model/kernel-metadata.json"),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    names = _upload_with_client(folder, tmp_path)
    assert sorted(names) == upload_names(folder)


def _upload_with_client(folder: Path, tmp_path: Path) -> list[str]:
    """Names of the files that the client would send."""
    code = """
import json, os, sys, zipfile
from types import SimpleNamespace as Any
from kaggle.api.kaggle_api_extended import KaggleApi
names = []
def record(self, name, path, *rest):
    if name.endswith(".zip"):
        entries = zipfile.ZipFile(path).namelist()
        names.extend(f"{name[:-4]}/{entry}" for entry in entries if not entry.endswith("/"))
    else:
        names.append(name)
KaggleApi._upload_file = record
api = KaggleApi.__new__(KaggleApi)
api.upload_files(Any(files=[]), None, sys.argv[1], None, None, True, "zip")
print(json.dumps(names))
"""
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "KAGGLE_CONFIG_DIR": str(tmp_path),
    }
    process = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(process.stdout.splitlines()[-1])


def test_the_client_has_the_same_limits():
    """They are literals in its source."""
    spec = find_spec("kaggle")
    if spec is None or spec.origin is None:
        pytest.skip("Kaggle's client is not installed")
    path = Path(spec.origin).parent / "api" / "kaggle_api_extended.py"
    text = path.read_text("utf-8")
    for what, limits in (
        ("dataset_slug", (6, 50)),
        ("title", (6, 50)),
        ("subtitle", (20, 80)),
    ):
        pairs = re.findall(rf"len\({what}\) < (\d+) or len\({what}\) > (\d+)", text)
        assert tuple(map(str, limits)) in pairs
