"""``push`` with the real client."""

import hashlib
import json
from pathlib import Path

import pytest

from kaggle_kit.errors import (
    ArtefactError,
    IncompleteError,
    KitError,
    RefusedError,
    TableError,
    UnreachableError,
    WaitError,
)
from kaggle_kit.kaggle import kernel_output
from kaggle_kit.kaggle.kernel import complete_metadata, plan_push, push
from kaggle_kit.storage.json_files import to_json
from kaggle_kit.storage.manifest import MANIFEST
from tests.helpers.bad_headers import bad_headers
from tests.helpers.kaggle_names import DATASET, KERNEL, SLUG, SUBMISSION, files_of
from tests.helpers.kernel_inputs import sent_sources

LOG = "starting\nTraceback: no such thing\n"


@pytest.fixture
def ready(kaggle, small_bundle):
    """A stand-in with the bundle published, whose kernels leave a valid submission."""
    kaggle.add_dataset(DATASET, files_of(small_bundle))
    kaggle.on_push = lambda version: (
        {"submission.csv": SUBMISSION.encode()},
        LOG,
        "COMPLETE",
    )
    return kaggle


def test_the_output_is_saved_with_what_the_ledger_needs(ready, kernel_dir):
    done = to_json(push(kernel_dir, dataset=DATASET))
    folder = Path("submissions/landmark-inference-v1")
    assert done["kernel"] == KERNEL
    assert (done["version"], done["n_images"], done["n_guesses"]) == (1, 3, 3)
    assert (done["config"], done["commit"], done["local_gap"]) == (
        "tiny",
        "0123abc",
        0.75,
    )
    assert (folder / "submission.csv").read_text() == SUBMISSION
    assert json.loads((folder / "push.json").read_text()) == done
    assert sorted(p.name for p in Path("submissions").iterdir()) == [folder.name]


def test_every_metadata_field_is_sent(ready, small_bundle, kernel_dir):
    push(kernel_dir, dataset=DATASET)
    (call,) = [c for c in ready.calls if c.name == "SaveKernel"]
    said = call.json
    assert said["slug"] == KERNEL
    assert said["newTitle"] == "landmark-inference"
    assert (said["enableGpu"], said["enableTpu"]) == (True, False)
    assert (said["enableInternet"], said["isPrivate"]) == (False, True)
    assert said["machineShape"] == "NvidiaTeslaT4"
    assert said["datasetDataSources"] == [DATASET]
    assert said["competitionDataSources"] == [SLUG]
    manifest = (small_bundle / MANIFEST).read_bytes()
    told = {"competition": SLUG, "bundle": hashlib.sha256(manifest).hexdigest()}
    assert sent_sources(ready) == told
    code = (kernel_dir / "landmark-inference.py").read_text()
    before, after = code.split("SOURCES = {}")  # which push fills in
    assert said["text"].startswith(before) and said["text"].endswith(after)


def test_dry_run_sends_nothing(ready, kernel_dir):
    assert plan_push(kernel_dir, dataset=DATASET).metadata.id == KERNEL
    assert not [c for c in ready.calls if c.name == "SaveKernel"]


def test_an_unknown_source_is_an_error(ready, kernel_dir):
    with pytest.raises(RefusedError, match="not valid dataset sources"):
        push(kernel_dir, dataset="tester/another-kit")


def test_a_failed_run_shows_the_end_of_its_log(ready, kernel_dir, caplog):
    ready.on_push = lambda version: ({}, LOG, "ERROR")
    said = pytest.raises(RefusedError, match="got error: Traceback: no such thing")
    with caplog.at_level("INFO"), said:
        push(kernel_dir, dataset=DATASET)
    assert "| starting" in caplog.text
    assert not Path("submissions/landmark-inference-v1").exists()


@pytest.mark.parametrize(
    ("output", "kind"),
    [
        ({}, IncompleteError),
        ({"submission.csv": b"id,landmarks\n"}, TableError),
        ({"submission.csv": b"<Error>AccessDenied</Error>"}, IncompleteError),
        ({"submission.csv": SUBMISSION.replace(" 0.", " x").encode()}, TableError),
        ({"submission.csv": bad_headers(SUBMISSION)["pandas' index"]}, TableError),
    ],
    ids=["none", "rows", "error-body", "confidence", "index"],
)
def test_an_invalid_submission_is_found_before_it_is_submitted(
    ready, kernel_dir, output, kind
):
    ready.on_push = lambda version: (output, LOG, "COMPLETE")
    with pytest.raises(kind):
        push(kernel_dir, dataset=DATASET)
    assert not Path("submissions/landmark-inference-v1").exists()


def test_no_file_of_an_output_is_written_elsewhere(ready, kernel_dir, tmp_path):
    """The client joins its folder and the name that the kernel gave a file."""
    names = ["../up.txt", "a/../../up.txt", "..", f"{tmp_path}/absolute.txt"]
    good = {"submission.csv": SUBMISSION.encode(), "run/..a/x.txt": b"x", "a b": b"x"}
    ready.on_push = lambda version: (
        good | dict.fromkeys(names, b"escaped"),
        f"{LOG}GET /x?X-Goog-Signature=0123 KAGGLE_KEY=abcdefgh-01\n",
        "COMPLETE",
    )
    folder = Path(push(kernel_dir, dataset=DATASET).folder)
    assert not [p for p in tmp_path.rglob("*.txt") if p.read_bytes() == b"escaped"]
    saved = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    log = "landmark-inference.log"
    assert saved == {*good, log, "push.json"}
    text = "".join(entry["data"] for entry in json.loads((folder / log).read_text()))
    assert text == f"{LOG}GET /x?... KAGGLE_KEY=[hidden]\n"


@pytest.mark.extended
def test_it_waits_for_a_free_gpu_session(ready, kernel_dir):
    full = "Maximum batch GPU session count of 2 reached."
    ready.fault("SaveKernel", body=json.dumps({"error": full}).encode(), times=2)
    assert push(kernel_dir, dataset=DATASET).version == 1
    assert len([c for c in ready.calls if c.name == "SaveKernel"]) == 3


@pytest.mark.extended
def test_the_status_of_the_previous_session_is_ignored(ready, kernel_dir):
    push(kernel_dir, dataset=DATASET)
    ready.kernel_statuses = ["COMPLETE", "QUEUED", "RUNNING", "COMPLETE"]
    second = SUBMISSION.replace(" 0.05", " 0.25").encode()
    ready.on_push = lambda version: ({"submission.csv": second}, LOG, "COMPLETE")
    assert push(kernel_dir, dataset=DATASET).version == 2
    path = Path("submissions/landmark-inference-v2/submission.csv")
    assert path.read_bytes() == second


@pytest.mark.parametrize(
    "fault",
    [
        {"route": "SaveKernel", "status": 429},
        {"route": "GetKernelSessionStatus", "status": 500},
        {"route": "ListKernelSessionOutput", "status": 429},
        {"route": "storage GET", "status": 403, "skip": 0},
    ],
    ids=lambda f: "-".join(map(str, f.values())),
)
@pytest.mark.extended
def test_temporary_errors_are_retried(ready, kernel_dir, fault):
    ready.fault(**fault)
    assert push(kernel_dir, dataset=DATASET).version == 1


def test_a_push_with_a_lost_answer_is_not_repeated(ready, kernel_dir):
    ready.fault("SaveKernel", status=500)
    with pytest.raises(UnreachableError):
        push(kernel_dir, dataset=DATASET)
    assert len([c for c in ready.calls if c.name == "SaveKernel"]) == 1


def test_waiting_for_a_kernel_times_out(ready, kernel_dir, monkeypatch):
    monkeypatch.setattr(kernel_output, "RUN_TIMEOUT_S", 0.5)
    ready.kernel_statuses = ["RUNNING"] * 100
    with pytest.raises(WaitError, match="to keep waiting"):
        push(kernel_dir, dataset=DATASET)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"enable_internet": True}, "enable_internet"),
        ({"machine_shape": "NvidiaTeslaP100"}, "NvidiaTeslaT4"),
        ({"code_file": "other.py"}, r"other\.py"),
        ({"id": "nobody"}, "nobody"),
    ],
)
def test_metadata_that_kaggle_or_the_rules_forbid_is_named(kernel_dir, change, said):
    path = kernel_dir / "kernel-metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(KitError, match=said):
        complete_metadata(kernel_dir, None, DATASET)


def test_a_kernel_without_an_owner_is_named(kernel_dir):
    with pytest.raises(ArtefactError, match="INSERT_OWNER"):
        complete_metadata(kernel_dir, None, None)


def test_a_training_kernel_resumes_from_its_previous_version(ready):
    kernel = Path(__file__).parents[2] / "kernels" / "training"
    left = {"session.json": b'{"finished": false}', "run/history.csv": b"epoch\n1\n"}
    ready.on_push = lambda version: (left, LOG, "COMPLETE")
    assert push(kernel, dataset=DATASET).session == {"finished": False}
    assert "earlier" not in sent_sources(ready)
    second = push(kernel, dataset=DATASET)
    asked = [c.json.get("kernelDataSources", []) for c in ready.calls if c.json]
    sources = [s for s in asked if s]
    assert second.version == 2
    assert sources == [["tester/landmark-training"]]
    assert sent_sources(ready)["earlier"] == "tester/landmark-training"
    assert Path(second.folder, "run", "history.csv").read_bytes() == b"epoch\n1\n"
