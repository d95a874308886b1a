"""Downloads by the real client: each file is downloaded once, and is complete."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from kaggle_kit import cli
from kaggle_kit.download import staging
from kaggle_kit.kaggle import client
from tests.helpers.small_competition import (
    SLUG,
    competition_files,
    image_id,
    image_name,
)

ROOT = Path(__file__).parents[2]
TABLES = {"train.csv", "sample_submission.csv"}
ARCHIVE = f"storage GET /competitions/{SLUG}/archive.zip"
MIB = 1 << 20  # the client writes so much at a time
LARGE = np.random.default_rng(0).bytes(3 * MIB)
# Runs the command in a separate process, with shorter pauses
RUN = (
    "import sys; from kaggle_kit import cli; from kaggle_kit.kaggle import client; client.BACKOFF_S = 0.01;"
    "sys.exit(cli.main(sys.argv[1:]))"
)


def arguments(out, *more):
    return ["download", "--slug", SLUG, "--out", str(out), *map(str, more)]


@pytest.fixture
def run(capsys, tmp_path):
    """Run the command; its result."""

    def run(*more, out=tmp_path / "out"):
        code = cli.main(arguments(out, *more))
        shown = capsys.readouterr()
        assert code == 0, shown.err
        return json.loads(shown.out)

    return run


@pytest.fixture
def complaint(capsys, tmp_path):
    """Run a command that must fail with an exit code; return its line on stderr."""

    def run(exit_code, *more, out=tmp_path / "out", slug=SLUG):
        args = ["download", "--slug", slug, "--out", str(out), *map(str, more)]
        assert cli.main(args) == exit_code
        shown = capsys.readouterr()
        assert shown.out == ""
        lines = shown.err.splitlines()
        line = next(line for line in lines if line.startswith("kaggle-kit download: "))
        assert line == lines[-1]
        return line

    return run


def found(out):
    """The content of all installed files, by name."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and staging.FOLDER not in path.parts
    }


def images_got(kaggle):
    """How often each file was requested from the storage."""
    return Counter(
        name.rpartition("/")[2] for name in kaggle.names() if "storage GET" in name
    )


def write_ids(path, ids):
    path.write_text("\n".join(ids) + "\n")
    return path


def files_of(kaggle):
    return kaggle.competitions[SLUG]["files"]


def place_tables(kaggle, out):
    """Write the tables as an earlier run with --tables does."""
    out.mkdir()
    for name in TABLES:
        (out / name).write_bytes(files_of(kaggle)[name])


def test_the_whole_competition_is_unpacked_once(kaggle, run, tmp_path):
    files = files_of(kaggle)
    made = run()
    assert made["fetched"] == len(files) and made["bytes"] > sum(
        map(len, files.values())
    )
    here = found(tmp_path / "out")
    assert json.loads(here.pop("download.json"))["files"] == len(files)
    assert here == files
    assert not list((tmp_path / "out").rglob("*.zip"))
    kaggle.calls.clear()
    again = run()
    assert (again["fetched"], again["there"]) == (0, len(files))
    assert kaggle.calls == []


@pytest.mark.parametrize("content", ["{", "[]", '{"slug": "x"}'])
def test_a_damaged_record_is_one_line(content, kaggle, complaint, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "download.json").write_text(content)
    assert "download.json: expected the record of a download" in complaint(1)
    assert kaggle.calls == []


def test_tables_alone(kaggle, run, tmp_path):
    kaggle.competitions[SLUG]["zipped"] = {"train.csv"}
    assert run("--tables")["fetched"] == 2
    files = files_of(kaggle)
    assert found(tmp_path / "out") == {name: files[name] for name in TABLES}
    kaggle.calls.clear()
    assert run("--tables")["there"] == 2
    assert kaggle.calls == []


def test_the_images_of_a_subset(kaggle, run, tmp_path, capsys):
    place_tables(kaggle, tmp_path / "out")
    config = tmp_path / "one.yaml"
    alone = "non_landmarks: {penalty: 0, validation: 0, test: 0}"
    config.write_text(f"name: one\nsubset: {{landmarks: [1], {alone}}}\n")
    subset = tmp_path / "subset"
    args = ["subset", "--config", config, "--competition", tmp_path / "out", "--out"]
    assert cli.main([*map(str, args), str(subset)]) == 0
    capsys.readouterr()
    ids = [row.split(",")[0] for row in (subset / "subset.csv").read_text().split()[1:]]
    assert sorted(ids) == sorted(image_id(i) for i in (1, 4))
    # into another folder: the tables are downloaded, too
    other = tmp_path / "other"
    made = run("--subset", subset, out=other)
    assert (made["fetched"], made["there"], made["missing"]) == (2, 0, 0)
    files = files_of(kaggle)
    expected = TABLES | {image_name(x) for x in ids}
    assert found(other) == {name: files[name] for name in expected}
    kaggle.calls.clear()
    made = run("--subset", subset, out=other)
    assert (made["fetched"], made["there"]) == (0, 2)
    assert kaggle.calls == []


def test_images_of_train_and_test_by_their_ids(kaggle, run, tmp_path):
    ids = [image_id(i) for i in (5, 0, 7)]  # 7 is a test image
    names = {image_name(ids[0]), image_name(ids[1]), image_name(ids[2], "test")}
    kaggle.competitions[SLUG]["zipped"] = {image_name(ids[0])}
    files = files_of(kaggle)
    place_tables(kaggle, tmp_path / "out")
    assert run("--ids", write_ids(tmp_path / "ids.txt", ids))["fetched"] == 3
    expected = {name: files[name] for name in names | TABLES}
    assert found(tmp_path / "out") == expected
    table = tmp_path / "ids.csv"
    table.write_text("landmark,id\n" + "".join(f"1,{x}\n" for x in [*ids, image_id(1)]))
    made = run("--ids", table)
    assert (made["fetched"], made["there"]) == (1, 3)
    assert set(images_got(kaggle).values()) == {1}


def test_ids_that_the_tables_do_not_have_are_refused(kaggle, complaint, tmp_path):
    place_tables(kaggle, tmp_path / "out")
    ids = write_ids(tmp_path / "ids", [image_id(0), "ffffffffffffffff"])
    line = complaint(1, "--ids", ids)
    assert "ffffffffffffffff" in line and "got 1 unknown" in line
    assert set(found(tmp_path / "out")) == TABLES
    assert kaggle.calls == []


def test_images_that_kaggle_does_not_have_are_listed(kaggle, run, complaint, tmp_path):
    out = tmp_path / "out"
    place_tables(kaggle, out)
    lost, broken = image_name(image_id(1)), image_name(image_id(2))
    files = files_of(kaggle)
    image = files.pop(lost)
    files[broken] = files[broken][:-100]
    line = complaint(8, "--ids", write_ids(tmp_path / "ids", [image_id(1)]))
    assert "got none" in line
    ids = write_ids(tmp_path / "ids", [image_id(i) for i in range(3)])
    made = run("--ids", ids)
    assert (made["fetched"], made["missing"]) == (1, 2)
    rows = (out / "download.missing.csv").read_text().splitlines()
    assert rows[0] == "file,reason"
    reasons = dict(row.split(",", 1) for row in rows[1:])
    assert reasons[lost] == "Kaggle does not have it"
    assert set(reasons) == {lost, broken} and "truncated" in reasons[broken]
    assert not (out / broken).exists() and not (out / lost).exists()
    files[lost], files[broken] = image, image  # corrected on Kaggle
    made = run("--ids", ids)
    assert (made["fetched"], made["there"], made["missing"]) == (2, 1, 0)
    assert made["bytes"] == 2 * len(image)
    assert not (out / "download.missing.csv").exists()


def test_temporary_errors_are_retried(kaggle, run, tmp_path):
    crowded = (
        b'{"error": {"code": 429, "message": "x", "status": "RESOURCE_EXHAUSTED"}}'
    )
    kaggle.fault("DownloadDataFile", status=429, body=crowded, retry_after=1)
    kaggle.fault("DownloadDataFile", status=429, message="Too many requests")
    kaggle.fault("DownloadDataFile", status=500, body=b"<html>oops", skip=1)
    kaggle.fault("storage GET", status=503, skip=1)
    assert run("--tables")["fetched"] == 2
    files = files_of(kaggle)
    assert found(tmp_path / "out") == {name: files[name] for name in TABLES}
    assert kaggle.names().count("DownloadDataFile") == 2 + 4


def test_only_failed_images_are_downloaded_again(kaggle, run, tmp_path):
    place_tables(kaggle, tmp_path / "out")
    kaggle.fault("storage GET", cut=700)
    kaggle.fault("storage GET", body=b"<html>sign in</html>")
    run("--ids", write_ids(tmp_path / "ids", [image_id(i) for i in range(4)]))
    files = files_of(kaggle)
    names = TABLES | {image_name(image_id(i)) for i in range(4)}
    assert found(tmp_path / "out") == {name: files[name] for name in names}
    assert sorted(images_got(kaggle).values()) == [1, 1, 2, 2]


@pytest.mark.extended
def test_a_silent_client_times_out_and_is_retried(kaggle, run, monkeypatch, tmp_path):
    monkeypatch.setattr(client, "SILENCE_TIMEOUT_S", 4.0)  # a client starts in less
    kaggle.fault("DownloadDataFile", hang_s=60)
    assert run("--tables")["fetched"] == 2
    assert set(found(tmp_path / "out")) == TABLES


def test_rules_not_accepted(kaggle, complaint, tmp_path):
    kaggle.competitions[SLUG]["accepted"] = False
    for more in ([], ["--ids", write_ids(tmp_path / "ids", ["abc"])]):
        assert "/rules" in complaint(4, *more)
    assert found(tmp_path / "out") == {}


def test_a_refusal_cancels_all_downloads(kaggle, complaint, tmp_path):
    kaggle.add_competition(SLUG, competition_files(20))
    place_tables(kaggle, tmp_path / "out")
    ids = write_ids(tmp_path / "ids", [image_id(i) for i in range(20)])
    message = "Permission 'competitions.participate' was denied"
    # delayed, so that earlier requests complete
    refused = {"status": 403, "message": message, "hang_s": 2}
    kaggle.fault("DownloadDataFile", **refused, skip=3, times=100)
    assert "was denied" in complaint(4, "--ids", ids)
    assert kaggle.names().count("DownloadDataFile") <= 3 + 2 * 4
    files = files_of(kaggle)
    here = found(tmp_path / "out")
    assert here == {name: files[name] for name in here} and set(here) > TABLES


def test_an_unknown_competition(kaggle, complaint, run, tmp_path):
    assert "was denied" in complaint(4, slug="landmark-recognition-2020")
    line = complaint(1, slug="https://www.kaggle.com/c/landmark-recognition-2021")
    assert "--slug: expected a competition's name" in line
    assert found(tmp_path / "out") == {}
    run("--tables")  # the folder can still be used for the right one


def test_rejected_credentials(kaggle, complaint, monkeypatch, tmp_path):
    path = Path(os.environ["KAGGLE_CONFIG_DIR"], "kaggle.json")
    path.write_text('{"username": "tester", "key": "ffffffff"}')
    line = complaint(3)
    assert "kaggle-kit doctor" in line and "ffffffff" not in line
    assert found(tmp_path / "out") == {}


def test_no_answer_is_one_line_after_several_tries(
    kaggle, complaint, monkeypatch, tmp_path
):
    monkeypatch.setattr(staging, "TRIES", 3)
    kaggle.fault("DownloadDataFiles", status=500, body=b"<html>oops", times=100)
    assert "run the same command again later" in complaint(6)
    assert kaggle.names().count("DownloadDataFiles") == 3
    assert found(tmp_path / "out") == {}


def test_a_folder_holds_one_source(kaggle, run, complaint, tmp_path):
    run("--tables")
    kaggle.add_competition("another", competition_files(2))
    assert SLUG in complaint(1, slug="another")


def test_an_expired_url_does_not_damage_the_archive(kaggle, run, tmp_path):
    """The client overwrites the partial file with an error page, and would append to it."""
    files_of(kaggle)["large"] = LARGE
    kaggle.fault("storage GET", cut=2_500_000)
    kaggle.fault("storage GET", status=403, on_resume=True)
    kaggle.fault("storage GET", status=403)
    made = run()
    files = files_of(kaggle)
    here = found(tmp_path / "out")
    del here["download.json"]
    assert here == files and made["fetched"] == len(files)


@pytest.mark.extended
@pytest.mark.parametrize("again", [False, True])
def test_a_file_that_the_client_damaged_is_not_resumed(kaggle, run, tmp_path, again):
    out = tmp_path / "out"
    (out / staging.FOLDER).mkdir(parents=True)
    archive = out / staging.FOLDER / f"{SLUG}.zip"
    command = [client.executable(), "competitions", "download", SLUG, "-p"]
    files_of(kaggle)["large"] = LARGE
    kaggle.fault("storage GET", cut=2_500_000)
    kaggle.fault("storage GET", status=403, on_resume=True)
    kaggle.fault("storage GET", status=403)
    subprocess.run([*command, archive.parent], capture_output=True, check=False)
    if not archive.read_bytes().startswith(b"<"):
        pytest.skip("this client keeps the partial file")
    if again:  # now the damaged file has the right size
        subprocess.run([*command, archive.parent], capture_output=True, check=True)
        assert archive.read_bytes().startswith(b"<") and zipfile.is_zipfile(archive)
    kaggle.calls.clear()
    run()
    assert kaggle.names().count(ARCHIVE) == 1
    here = found(out)
    del here["download.json"]
    assert here == files_of(kaggle)


def test_an_archive_is_resumed_by_the_next_run(kaggle, run, tmp_path):
    out = tmp_path / "out"
    archive = out / staging.FOLDER / f"{SLUG}.zip"
    files_of(kaggle)["large"] = LARGE
    kaggle.fault("storage GET", cut=2_500_000)
    command = [sys.executable, "-c", RUN, *arguments(out)]
    process = subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True
    )
    wait_until(lambda: archive.exists() and archive.stat().st_size == 2 * MIB)
    os.killpg(process.pid, signal.SIGKILL)  # also kills the client
    process.wait()
    kaggle.calls.clear()
    run()
    (call,) = [
        call
        for call in kaggle.calls
        if call.name == ARCHIVE and "range" in call.headers
    ]
    assert call.headers["range"] == f"bytes={2 * MIB}-"
    here = found(out)
    del here["download.json"]
    assert here == files_of(kaggle)


def test_a_damaged_archive_is_downloaded_once_more(kaggle, run, complaint, tmp_path):
    whole = archive_of(files_of(kaggle))
    bad = bytearray(whole)
    bad[len(whole) // 2] ^= 255
    kaggle.fault("storage GET", body=bytes(bad))
    kaggle.fault("storage GET", body=b"no archive at all", skip=1, times=2)
    assert run()["fetched"] + run()["there"] >= len(files_of(kaggle))
    assert kaggle.names().count(ARCHIVE) == 2
    out = tmp_path / "other"
    assert "damaged one twice" in complaint(8, out=out)
    assert found(out) == {} and not list(out.rglob("*.zip"))
    here = found(tmp_path / "out")
    del here["download.json"]
    assert here == files_of(kaggle)


def archive_of(files):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


def test_a_broken_image_of_the_archive_is_listed(kaggle, run, tmp_path):
    name = image_name(image_id(3))
    files_of(kaggle)[name] = b"\xff\xd8 not an image"
    assert run()["broken"] == 1
    listed = (tmp_path / "out" / "download.broken.csv").read_text().splitlines()
    assert len(listed) == 2 and listed[1].startswith(name)
    assert (tmp_path / "out" / name).read_bytes() == b"\xff\xd8 not an image"


def test_a_disk_too_small_for_the_archive(
    kaggle, complaint, run, monkeypatch, tmp_path
):
    size = len(archive_of(files_of(kaggle)))
    with monkeypatch.context() as patch:
        patch.setattr(staging, "free_bytes", lambda _: staging.RESERVE + size // 2)
        kaggle.fault(
            "storage GET", cut=1000
        )  # the client pauses, so that the check runs
        line = complaint(1)
    assert f"{SLUG}.zip" in line and "make room" in line
    assert found(tmp_path / "out") == {}
    run()
    assert set(found(tmp_path / "out")) == {*files_of(kaggle), "download.json"}


@pytest.mark.parametrize("more", [["--tables"], []])
def test_a_full_disk_is_one_line(kaggle, complaint, monkeypatch, tmp_path, more):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(staging.StagingFolder, "install", full)
    assert "make room" in complaint(1, *more)
    assert found(tmp_path / "out") == {}


def test_a_second_run_waits_and_times_out(
    kaggle, complaint, run, monkeypatch, tmp_path, caplog
):
    caplog.set_level("INFO")
    monkeypatch.setattr(staging, "WAIT_TIMEOUT_S", 1.0)
    with staging.open_staging(tmp_path / "out", SLUG):
        line = complaint(9, "--tables")
    assert "still running after 1 s" in line
    assert "waiting for another download" in caplog.text
    assert run("--tables")["fetched"] == 2


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], "--slug or --tars, got none"),
        (["--slug", SLUG, "--tars", "0"], "got --slug and --tars"),
        (["--slug", SLUG, "--tables", "--ids", "x"], "got --tables and --ids"),
        (["--slug", SLUG, "--disk-gb", "3"], "--disk-gb: expected it with --tars"),
        (["--slug", SLUG, "--subset", "no"], "no/subset.csv: expected a CSV file"),
        (["--slug", SLUG, "--ids", "no"], "no: expected a file with image ids"),
        (["--tars", "499-500"], "from 0 to 499"),
    ],
)
def test_misuse_is_one_line_before_any_call(
    args, expected, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["download", "--out", "out", *args]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line
    assert not (tmp_path / "out").exists()


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.01)


def kill_at_random(out, more, n_kills, longest_s, seed):
    """Start and kill the command repeatedly; return how often it was still running.

    If it has ended before it was killed, the next waits are shorter.
    """
    rng = np.random.default_rng(seed)
    command = [sys.executable, "-c", RUN, *arguments(out, *more)]
    killed = 0
    for _ in range(n_kills):
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(rng.uniform(0, longest_s))
        process.kill()  # its clients keep running
        if process.wait() == -signal.SIGKILL:
            killed += 1
        else:
            longest_s *= 0.8
    return killed


@pytest.mark.parametrize(
    ("n_images", "seed"),
    [
        pytest.param(24, 0, marks=pytest.mark.extended),
        *(pytest.param(80, s, marks=pytest.mark.slow) for s in range(1, 6)),
    ],
)
def test_killed_twenty_times_no_image_is_fetched_twice(
    kaggle, run, tmp_path, n_images, seed
):
    """Clients of a killed run complete their files, which the next run uses.

    So each file is requested once, however often the command is killed.
    """
    files = competition_files(n_images)
    kaggle.add_competition(SLUG, files, zipped=[image_name(image_id(1))])
    kaggle.fault("storage GET", hang_s=0.5, times=10**6)
    ids = [image_id(i) for i in range(n_images + 2)]
    more = ["--ids", write_ids(tmp_path / "ids", ids)]
    killed = kill_at_random(tmp_path / "out", more, 20, 1.6, seed)
    made = run(*more)
    assert killed >= 5
    assert made["fetched"] + made["there"] == len(ids)
    assert found(tmp_path / "out") == files
    got = images_got(kaggle)
    assert len(got) == len(files) and set(got.values()) == {1}
    assert not any("range" in call.headers for call in kaggle.calls)


def test_killed_at_random_the_archive_is_fetched_once(kaggle, run, tmp_path):
    files = competition_files(1500)
    kaggle.add_competition(SLUG, files)
    killed = kill_at_random(tmp_path / "out", [], 8, 1.2, seed=3)
    made = run()
    assert killed >= 3
    assert made["fetched"] + made["there"] == len(files)
    here = found(tmp_path / "out")
    del here["download.json"]
    assert here == files
    assert kaggle.names().count(ARCHIVE) == 1
