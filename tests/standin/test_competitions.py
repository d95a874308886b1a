"""The real client lists, downloads and submits, and fails as it does with Kaggle."""

import json
import random
import subprocess
import time
import zipfile

from tests.helpers.standin.client import CLIENT, FILES, KERNEL, SLUG, Client, kernel_dir

MIB = 2**20  # the client keeps what it has read of a file in pieces of this size


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
    [image] = tmp_path.rglob("0108dac4511cf183.jpg")  # in its folders since 2.2.5
    assert image.read_bytes() == FILES["train/0/1/0/0108dac4511cf183.jpg"]
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
    """A fault of client 2.2.4, which whoever calls it has to see through."""
    content = random.Random(3).randbytes(2 * MIB)
    kaggle.add_competition("big", {"a.bin": content})
    kaggle.fault("storage GET", cut=MIB + 5)
    kaggle.fault("storage GET", status=403, times=2)
    argv = ["competitions", "download", "big", "-p", tmp_path, "-f", "a.bin"]
    part = tmp_path / "a.bin"
    if client(*argv, rc=None).returncode == 0:  # later ones are better
        assert part.read_bytes() == content
        return
    assert part.read_bytes().startswith(b"<?xml")
    client(*argv)
    assert part.stat().st_size == len(content)
    assert part.read_bytes() != content


def test_faults_come_in_order_and_pass(client, kaggle):
    files = ["competitions", "files", SLUG]
    kaggle.fault("ListDataFiles", status=404, message="Not Found")
    kaggle.fault("ListDataFiles", status=429, message="Too many requests")
    kaggle.fault("ListDataFiles", status=500, body=b"<html>")
    kaggle.fault("ListDataFiles", cut=0)
    for complaint in (
        "Not Found",
        "Too many requests",
        "500 Server Error: Internal Server Error",
        "RemoteDisconnected",
    ):
        assert complaint in client(*files, rc=1).stderr
    client(*files)


def test_rules_and_names_are_checked(client, kaggle, tmp_path):
    kaggle.add_competition("closed", FILES, accepted=False)
    argv = ["competitions", "download", "closed", "-p", tmp_path]
    assert "accept this competition's rules" in client(*argv, rc=1).stderr
    unknown = client("competitions", "files", "nonesuch", rc=1).stderr
    assert unknown.startswith("Permission 'competitions.participate' was denied\n")
    argv = ["competitions", "download", SLUG, "-p", tmp_path, "-f", "no.jpg"]
    assert client(*argv, rc=1).stderr.startswith("Not Found\n")


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
    assert told.endswith(
        "1 submissions remaining today.\nSuccessfully submitted to Open"
    )
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
