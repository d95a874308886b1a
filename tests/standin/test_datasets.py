"""The real client publishes datasets, whole and with parts missing."""

import json
from pathlib import Path

import pytest

from tests.helpers.standin.client import Client


@pytest.fixture
def bundle(tmp_path) -> Path:
    """A folder that the client can publish: a file, an empty file, a folder."""
    out = tmp_path / "bundle"
    (out / "kit" / "inner").mkdir(parents=True)
    (out / "kit" / "inner" / "a.py").write_text("a = 1\n")
    (out / "weights.bin").write_bytes(b"w" * 5000)
    (out / "empty").touch()
    metadata = {
        "title": "Landmark kit",
        "id": "tester/landmark-kit",
        "licenses": [{"name": "CC0-1.0"}],
    }
    (out / "dataset-metadata.json").write_text(json.dumps(metadata))
    return out


def status(client: Client) -> dict:
    argv = ["datasets", "status", "tester/landmark-kit", "--format", "json"]
    return json.loads(client(*argv).stdout)


def test_a_dataset_is_created_and_becomes_ready(client, kaggle, bundle, tmp_path):
    denied = client("datasets", "status", "tester/landmark-kit", rc=1).stderr
    assert denied.startswith("Permission 'datasets.get' was denied\n")
    told = client("datasets", "create", "-p", bundle, "-r", "zip").stdout
    assert "Your private Dataset is being created." in told
    client("datasets", "files", "tester/landmark-kit", rc=1)
    assert status(client) == {"status": "blobs_received", "current_version_number": 0}
    assert status(client) == {"status": "ready", "current_version_number": 1}
    listed = client(
        "datasets", "files", "tester/landmark-kit", "--format", "json"
    ).stdout
    assert {file["name"]: file["size"] for file in json.loads(listed)} == {
        "empty": 0,
        "kit/inner/a.py": 6,
        "weights.bin": 5000,
    }
    one, whole = tmp_path / "one", tmp_path / "whole"
    argv = ["datasets", "download", "tester/landmark-kit"]
    client(*argv, "-f", "kit/inner/a.py", "-p", one)
    [path] = one.rglob("a.py")
    assert path.read_text() == "a = 1\n"
    client(*argv, "--unzip", "-p", whole)
    assert (whole / "kit" / "inner" / "a.py").read_text() == "a = 1\n"
    [version] = kaggle.datasets["tester/landmark-kit"]
    assert version["metadata"]["isPrivate"]


def test_a_version_is_a_snapshot(client, kaggle, bundle):
    kaggle.add_dataset("tester/landmark-kit", {"old.txt": b"1"})
    argv = ["datasets", "version", "-p", bundle, "-r", "zip", "-m", "without old.txt"]
    assert "Dataset version is being created." in client(*argv).stdout
    assert status(client)["current_version_number"] == 1
    assert status(client) == {"status": "ready", "current_version_number": 2}
    old, new = kaggle.datasets["tester/landmark-kit"]
    assert set(old["files"]) == {"old.txt"}
    assert set(new["files"]) == {"empty", "kit/inner/a.py", "weights.bin"}
    assert new["notes"] == "without old.txt"


def test_a_version_of_nothing_is_denied(client, bundle):
    argv = ["datasets", "version", "-p", bundle, "-m", "first"]
    assert "Permission 'datasets.update' was denied" in client(*argv, rc=1).stderr


@pytest.mark.parametrize("answer", [None, 503])
def test_an_interrupted_upload_arrives_whole(client, kaggle, bundle, answer):
    kaggle.fault("storage PUT", cut=2000, status=answer, skip=1)
    kaggle.fault("StartBlobUpload", status=429, retry_after=0)
    (bundle / "other.bin").write_bytes(b"o" * 5000)
    (bundle / "empty").unlink()
    client("datasets", "create", "-p", bundle)
    [version] = kaggle.datasets["tester/landmark-kit"]
    assert version["files"] == {"weights.bin": b"w" * 5000, "other.bin": b"o" * 5000}
    ranges = [call.headers.get("content-range") for call in kaggle.calls]
    resumed = ["bytes */5000", "bytes 2000-4999/5000"] if answer else []
    assert [span for span in ranges if span] == resumed


@pytest.mark.parametrize("expired", [False, True])
def test_a_failed_upload_is_told(client, kaggle, bundle, expired):
    kaggle.add_dataset("tester/landmark-kit", {"old.txt": b"1"})
    (bundle / "empty").unlink()
    if expired:
        kaggle.fault("storage PUT", cut=10, status=503)
        kaggle.fault("storage PUT", status=404, on_resume=True)
    else:
        kaggle.fault("storage PUT", status=403)
    argv = ["datasets", "version", "-p", bundle, "-m", "broken"]
    done = client(*argv, rc=None)  # 0 up to 2.2.4, 1 later
    if "Upload unsuccessful: weights.bin" not in done.stdout + done.stderr:
        assert expired  # later clients begin such an upload again
        assert kaggle.datasets["tester/landmark-kit"][1]["files"].keys() == {
            "weights.bin"
        }
    else:
        assert len(kaggle.datasets["tester/landmark-kit"]) == 1  # no file, no version
