"""The stand-in for Kaggle is one that the real client works with, and fails with."""

import http.client
import json
import random
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.standin import Kaggle

CLIENT = shutil.which("kaggle", path=str(Path(sys.executable).parent))
needs_client = pytest.mark.skipif(
    CLIENT is None, reason="the kaggle client is not here"
)
SLUG = "landmark-recognition-2021"
KERNEL = "tester/landmark-inference"
FILES = {
    "train.csv": b"id,landmark_id\n0108dac4511cf183,7\n",
    "train/0/1/0/0108dac4511cf183.jpg": bytes(range(256)) * 40,
    "sample_submission.csv": b"id,landmarks\n",
}
MIB = 2**20  # the client keeps what it has read of a file in pieces of this size


class Client:
    """The real client, talking to one stand-in."""

    def __init__(self, kaggle: Kaggle, home: Path):
        self.kaggle, self.home = kaggle, home
        self.env = kaggle.env(home)

    def __call__(self, *argv: object, rc: int | None = 0):
        """Run a command, which must return ``rc`` unless that is None."""
        done = subprocess.run(
            [CLIENT, "-W", *map(str, argv)],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert rc in (None, done.returncode), (argv, done.stdout, done.stderr)
        return done


@pytest.fixture
def kaggle():
    with Kaggle() as kaggle:
        kaggle.add_competition(SLUG, FILES, code=True)
        yield kaggle
    assert kaggle.leaks == []
    assert kaggle.strays == []


@pytest.fixture
def client(kaggle, tmp_path) -> Client:
    if CLIENT is None:
        pytest.skip("the kaggle client is not here")
    return Client(kaggle, tmp_path / "home")


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


def kernel_dir(tmp_path: Path, **changes) -> Path:
    """A folder that the client can push."""
    out = tmp_path / "kernel"
    out.mkdir(exist_ok=True)
    (out / "run.py").write_text("print('hello')\n")
    metadata = {
        "id": KERNEL,
        "title": "landmark-inference",
        "code_file": "run.py",
        "language": "python",
        "kernel_type": "script",
        "enable_gpu": True,
        "enable_internet": False,
        "dataset_sources": ["tester/landmark-kit"],
        "competition_sources": [SLUG],
    }
    (out / "kernel-metadata.json").write_text(json.dumps(metadata | changes))
    return out


# Competition files


def test_files_come_in_pages(client):
    first = client("competitions", "files", SLUG, "--page-size", "2", "--csv").stdout
    assert first.startswith("Next Page Token = 2\n")
    more = client(
        "competitions", "files", SLUG, "--format", "json", "--page-token", "2"
    )
    name = "train/0/1/0/0108dac4511cf183.jpg"
    assert [(f["name"], f["size"]) for f in json.loads(more.stdout)] == [(name, 10240)]
    assert [line.split(",")[0] for line in first.splitlines()[2:]] == [
        "sample_submission.csv",
        "train.csv",
    ]


def test_one_file_and_all_files_are_downloaded(client, kaggle, tmp_path):
    kaggle.competitions[SLUG]["zipped"] = {"train.csv"}
    for name in ("train/0/1/0/0108dac4511cf183.jpg", "train.csv"):
        client("competitions", "download", SLUG, "-p", tmp_path, "-f", name)
    client("competitions", "download", SLUG, "-p", tmp_path)
    photo = tmp_path / "0108dac4511cf183.jpg"
    assert photo.read_bytes() == FILES["train/0/1/0/0108dac4511cf183.jpg"]
    with zipfile.ZipFile(tmp_path / "train.csv.zip") as archive:
        assert archive.read("train.csv") == FILES["train.csv"]
    with zipfile.ZipFile(tmp_path / f"{SLUG}.zip") as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == FILES
    assert sum(name.startswith("storage GET") for name in kaggle.names()) == 3


def test_a_cut_download_is_resumed_where_it_was_cut(client, kaggle, tmp_path):
    content = random.Random(1).randbytes(2 * MIB)
    kaggle.add_competition("big", {"a.bin": content})
    kaggle.fault("storage GET", cut=MIB + 5)
    client("competitions", "download", "big", "-p", tmp_path, "-f", "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == content
    asked = [call.headers.get("range") for call in kaggle.calls[-2:]]
    assert asked == [None, f"bytes={MIB}-"]


def test_the_next_run_resumes_a_killed_one(client, kaggle, tmp_path):
    content = random.Random(2).randbytes(2 * MIB)
    kaggle.add_competition("big", {"a.bin": content})
    kaggle.fault("storage GET", cut=MIB + 5)
    kaggle.fault("storage GET", hang_s=600)
    argv = ["competitions", "download", "big", "-p", tmp_path, "-f", "a.bin"]
    with subprocess.Popen(
        [CLIENT, *argv],
        env=client.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    ) as first:
        end = time.monotonic() + 120
        while sum(n.startswith("storage") for n in kaggle.names()) < 2:
            assert time.monotonic() < end
            time.sleep(0.05)
        first.kill()
    assert (tmp_path / "a.bin").stat().st_size == MIB
    assert f"Resuming from {MIB} bytes" in client(*argv).stdout
    assert (tmp_path / "a.bin").read_bytes() == content


def test_an_error_in_place_of_the_rest_is_taken_for_the_file(client, kaggle, tmp_path):
    """The client's own fault, which whoever calls it has to see through."""
    content = random.Random(3).randbytes(2 * MIB)
    kaggle.add_competition("big", {"a.bin": content})
    kaggle.fault("storage GET", cut=MIB + 5)
    kaggle.fault("storage GET", status=403, times=2)
    argv = ["competitions", "download", "big", "-p", tmp_path, "-f", "a.bin"]
    assert "does not match expected size" in client(*argv, rc=1).stderr
    part = tmp_path / "a.bin"
    if part.read_bytes().startswith(b"<?xml"):  # 2.2.4; later ones keep the good half
        client(*argv)
        assert part.stat().st_size == len(content)
        assert part.read_bytes() != content


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        ({"status": 404, "message": "Not Found"}, "Not Found\n"),
        ({"status": 429, "message": "Too many requests"}, "Too many requests\n"),
        ({"status": 500, "body": b"<html>"}, "500 Server Error: Internal Server Error"),
        ({"cut": 0}, "RemoteDisconnected"),
    ],
)
def test_a_fault_reaches_the_user_once(client, kaggle, fault, complaint):
    kaggle.fault("ListDataFiles", **fault)
    assert complaint in client("competitions", "files", SLUG, rc=1).stderr
    client("competitions", "files", SLUG)


def test_rules_and_names_are_checked(client, kaggle, tmp_path):
    kaggle.add_competition("closed", FILES, accepted=False)
    argv = ["competitions", "download", "closed", "-p", tmp_path]
    assert "accept this competition's rules" in client(*argv, rc=1).stderr
    unknown = client("competitions", "files", "nonesuch", rc=1).stderr
    assert unknown == "Permission 'competitions.participate' was denied\n"
    argv = ["competitions", "download", SLUG, "-p", tmp_path, "-f", "no.jpg"]
    assert client(*argv, rc=1).stderr == "Not Found\n"


def test_credentials_are_checked(client, kaggle):
    stored = client.home / "config" / "kaggle.json"
    assert stored.stat().st_mode & 0o777 == 0o600
    stored.write_text(json.dumps({"username": "tester", "key": "another"}))
    assert (
        "Authentication required" in client("competitions", "files", SLUG, rc=1).stdout
    )
    client.env = kaggle.env(client.home, token=True)
    client("competitions", "files", SLUG)
    assert kaggle.names()[-2:] == ["IntrospectToken", "ListDataFiles"]
    assert kaggle.calls[-1].headers["authorization"].startswith("Bearer ")
    client.env["KAGGLE_API_TOKEN"] = "another"
    assert (
        "Authentication required" in client("competitions", "files", SLUG, rc=1).stdout
    )


# Datasets


def status(client: Client) -> dict:
    argv = ["datasets", "status", "tester/landmark-kit", "--format", "json"]
    return json.loads(client(*argv).stdout)


def test_a_dataset_is_created_and_becomes_ready(client, kaggle, bundle, tmp_path):
    denied = client("datasets", "status", "tester/landmark-kit", rc=1).stderr
    assert denied == "Permission 'datasets.get' was denied\n"
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
    argv = ["datasets", "download", "tester/landmark-kit", "-p", tmp_path]
    client(*argv, "-f", "kit/inner/a.py")
    assert (tmp_path / "a.py").read_text() == "a = 1\n"
    client(*argv, "--unzip")
    assert (tmp_path / "kit" / "inner" / "a.py").read_text() == "a = 1\n"
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


# Kernels


def test_a_kernel_runs_and_leaves_its_output(client, kaggle, tmp_path):
    kaggle.add_dataset("tester/landmark-kit", {"weights.bin": b"1"})
    output = {f"part/{i:02}.txt": b"%d" % i for i in range(25)}
    kaggle.on_push = lambda version: (
        output | {"submission.csv": b"".join(version["inputs"][SLUG].values())},
        "hello\nthere\n",
        "COMPLETE",
    )
    told = client("kernels", "push", "-p", kernel_dir(tmp_path)).stdout
    assert told.startswith("Kernel version 1 successfully pushed.")
    for shown in ("QUEUED", "RUNNING", "COMPLETE", "COMPLETE"):
        assert (
            f'has status "KernelWorkerStatus.{shown}"'
            in client("kernels", "status", KERNEL).stdout
        )
    out = tmp_path / "output"
    client("kernels", "output", KERNEL, "-p", out)
    assert (out / "submission.csv").read_bytes() == b"".join(FILES.values())
    assert (out / "part" / "24.txt").read_bytes() == b"24"
    log = json.loads((out / "landmark-inference.log").read_text())
    assert [event["data"] for event in log] == ["hello\n", "there\n"]
    assert client("kernels", "logs", KERNEL, "--follow").stdout == "hello\nthere\n"
    client("kernels", "pull", KERNEL, "-m", "-p", tmp_path / "pulled")
    pulled = json.loads((tmp_path / "pulled" / "kernel-metadata.json").read_text())
    assert pulled["dataset_sources"] == ["tester/landmark-kit"]
    assert (
        (tmp_path / "pulled" / "landmark-inference.py").read_text().startswith("print")
    )


def test_a_kernel_that_raises_is_an_error(client, kaggle, tmp_path):
    kaggle.on_push = lambda version: 1 / 0
    kaggle.kernel_statuses = ["COMPLETE"]
    told = client("kernels", "push", "-p", kernel_dir(tmp_path)).stdout
    assert "not valid dataset sources" in told
    assert "['tester/landmark-kit']" in told
    assert "KernelWorkerStatus.ERROR" in client("kernels", "status", KERNEL).stdout
    assert "ZeroDivisionError" in client("kernels", "logs", KERNEL).stdout


def test_gpu_sessions_and_owners_are_checked(client, kaggle, tmp_path):
    kaggle.gpu_sessions = 1
    client("kernels", "push", "-p", kernel_dir(tmp_path))
    told = client("kernels", "push", "-p", kernel_dir(tmp_path)).stdout
    assert told == "Kernel push error: Maximum batch GPU session count of 1 reached.\n"
    other = kernel_dir(tmp_path, id="other/landmark-inference")
    assert "was denied" in client("kernels", "push", "-p", other, rc=1).stderr
    assert "kernels.get" in client("kernels", "status", "tester/nothing", rc=1).stderr


def test_the_quota_is_told(client, kaggle):
    kaggle.gpu_quota_s = (7200, 108_000)
    gpu, tpu = json.loads(client("quota", "--format", "json").stdout)
    assert (gpu["used"], gpu["remaining"], tpu["total"]) == (
        "2.00h",
        "28.00h",
        "20.00h",
    )


# Submissions


def submissions(client: Client, slug: str) -> list[dict]:
    shown = client("competitions", "submissions", slug, "--format", "json").stdout
    return json.loads(shown)


def test_a_file_is_submitted_and_scored(client, kaggle, tmp_path):
    def scores(content: bytes) -> tuple[str, str]:
        if not content.startswith(b"id,landmarks"):
            raise ValueError("no such columns")
        return "0.12345", "0.12000"

    kaggle.add_competition("open", FILES, solution_scores=scores, daily_limit=2)
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_text("id,landmarks\n")
    bad.write_text("nonsense\n")
    told = client("competitions", "submit", "open", "-f", good, "-m", "the good").stdout
    assert told == "1 submissions remaining today.\nSuccessfully submitted to Open"
    client("competitions", "submit", "open", "-f", bad, "-m", "the bad")
    refused = client("competitions", "submit", "open", "-f", good, "-m", "more", rc=1)
    assert "used its daily Submission allowance (2) today" in refused.stderr
    limits = client("competitions", "submission-limits", "open", "--json").stdout
    assert json.loads(limits) == {"numToday": 2, "numTotal": 2}  # zeros are left out
    assert {s["status"] for s in submissions(client, "open")} == {
        "SubmissionStatus.PENDING"
    }
    last, first = submissions(client, "open")
    assert first["ref"] + 1 == last["ref"]
    assert (first["description"], first["publicScore"]) == ("the good", "0.12345")
    assert first["status"] == "SubmissionStatus.COMPLETE"
    assert last["status"] == "SubmissionStatus.ERROR"
    assert kaggle.submissions[1]["errorDescription"] == "no such columns"


def test_a_failed_upload_is_no_submission(client, kaggle, tmp_path):
    kaggle.add_competition("open", FILES)
    kaggle.fault("storage PUT", status=403)
    file = tmp_path / "a.csv"
    file.write_text("id,landmarks\n")
    argv = ["competitions", "submit", "open", "-f", file, "-m", "lost"]
    done = client(*argv, rc=None)  # 0 up to 2.2.4, 1 later
    assert "Could not submit to competition" in done.stdout + done.stderr
    assert kaggle.submissions == []


def test_a_kernel_is_submitted_if_it_has_the_file(client, kaggle, tmp_path):
    kaggle.on_push = lambda version: ({"submission.csv": b"1"}, "", "COMPLETE")
    kaggle.kernel_statuses = ["COMPLETE"]
    client("kernels", "push", "-p", kernel_dir(tmp_path))
    argv = ["competitions", "submit", SLUG, "-m", "by kernel", "-k", KERNEL]
    early = client(*argv, "-v", "1", "-f", "submission.csv", rc=1).stderr
    assert "did not complete" in early
    client("kernels", "status", KERNEL)
    assert "no version 2" in client(*argv, "-v", "2", "-f", "a.csv", rc=1).stderr
    assert "'a.csv'" in client(*argv, "-v", "1", "-f", "a.csv", rc=1).stderr
    client(*argv, "-v", "1", "-f", "submission.csv")
    [made] = kaggle.submissions
    assert (made["kernel"], made["content"]) == ((KERNEL, 1), b"1")
    file = tmp_path / "submission.csv"
    file.write_text("id,landmarks\n")
    by_file = client(
        "competitions", "submit", SLUG, "-f", file, "-m", "no", rc=1
    ).stderr
    assert "only accepts Submissions from Notebooks" in by_file


# Without the client


def get(kaggle: Kaggle, url: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    """Read an address in origin form, naming its host only in the header."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection("127.0.0.1", kaggle.port, timeout=60)
    target = f"{parts.path}?{parts.query}"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("GET", target, headers={"Host": parts.netloc} | named)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content, dict(answer.getheaders())


def test_ranges_hold_for_an_unchanged_file_only(kaggle):
    url = kaggle.storage.sign("x/a.bin", b"0123456789")
    status, content, headers = get(kaggle, url)
    assert (status, content) == (200, b"0123456789")
    etag = headers["ETag"]
    status, content, headers = get(kaggle, url, Range="bytes=4-", If_Range=etag)
    assert (status, content) == (206, b"456789")
    assert headers["Content-Range"] == "bytes 4-9/10"
    assert get(kaggle, url, Range="bytes=4-", If_Range='"other"')[:2] == (
        200,
        b"0123456789",
    )
    assert get(kaggle, url, Range="bytes=10-")[0] == 416


def test_only_signed_addresses_are_read(kaggle):
    url = kaggle.storage.sign("x/a.bin", b"0123456789")
    status, content, _ = get(kaggle, url[:-1] + ("0" if url[-1] != "0" else "1"))
    assert status == 403
    assert b"SignatureDoesNotMatch" in content


def test_a_credential_shown_to_the_storage_is_noticed():
    with Kaggle() as kaggle:
        url = kaggle.storage.sign("x/a.bin", b"1")
        get(kaggle, url, Authorization="Bearer " + kaggle.token)
        get(kaggle, "http://stranger.test/?")
        assert [call.host for call in kaggle.leaks] == ["storage.test"]
        assert [call.host for call in kaggle.strays] == ["stranger.test"]


def test_it_closes_while_a_call_hangs():
    with Kaggle() as kaggle:
        kaggle.fault("storage GET", hang_s=600)
        connection = http.client.HTTPConnection("127.0.0.1", kaggle.port, timeout=0.2)
        connection.request("GET", kaggle.storage.sign("x/a.bin", b"1"))
        with pytest.raises(TimeoutError):
            connection.getresponse()
        start = time.monotonic()
    assert time.monotonic() - start < 30
    connection.close()


def test_a_bug_of_its_own_fails_the_test(tmp_path):
    with pytest.raises(AssertionError, match="KeyError"), Kaggle() as kaggle:
        connection = http.client.HTTPConnection("127.0.0.1", kaggle.port, timeout=60)
        path = "/api/v1/blobs.BlobApiService/StartBlobUpload"
        headers = {"Authorization": f"Bearer {kaggle.token}", "Host": "localhost"}
        connection.request("POST", path, b"{}", headers)
        assert connection.getresponse().status == 500
        connection.close()
