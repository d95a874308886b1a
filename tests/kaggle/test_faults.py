"""Every fault at every call of ``ship``: it is retried, or is one line.

After the one line the same command resumes. Nothing is lost, published incompletely or
submitted twice.
"""

import pytest

from kaggle_kit.errors import KaggleError
from kaggle_kit.kaggle import client, ledger
from kaggle_kit.kaggle.ship import ship
from tests.helpers.kaggle_names import DATASET, KERNEL, SLUG, SUBMISSION, files_of
from tests.helpers.longer import but_for

ROUTES = [
    *("GetDatasetStatus", "GetDataset", "StartBlobUpload", "storage PUT"),
    *("CreateDataset", "ListDatasetFiles", "SaveKernel", "GetKernelSessionStatus"),
    *("ListKernelSessionOutput", "storage GET", "DownloadDataFile", "DownloadDataset"),
    *("ListSubmissions", "GetSubmissionLimits", "CreateCodeSubmission"),
]
FAULTS = {
    "429": {"status": 429, "retry_after": 0},
    "500": {"status": 500},
    "403": {"status": 403},
    "cut": {"cut": 0},
    "done-but-500": {"status": 500, "after": True},
    "hang": {"hang_s": 60},
}
QUICK = [(route, list(FAULTS)[i % 5]) for i, route in enumerate(ROUTES)]
QUICK.append(("CreateCodeSubmission", "hang"))
FIRST = [QUICK[4], QUICK[14]]  # both are done, but answered with an error
EVERY = [(r, f) for r in ROUTES for f in FAULTS if (r, f) not in QUICK]


def outcome(kaggle, small_bundle, kernel_dir) -> str:
    """Ship, and ship again after an error; return the outcome of the first attempt."""
    kaggle.on_push = lambda version: (
        {"submission.csv": SUBMISSION.encode()},
        "",
        "COMPLETE",
    )
    first = "done"
    try:
        ship(small_bundle, kernel_dir, SLUG, "m")
    except KaggleError as error:
        assert "\n" not in str(error)
        assert error.exit_code in range(3, 10)
        first = type(error).__name__
        ship(small_bundle, kernel_dir, SLUG, "m")
    assert kaggle.datasets[DATASET][-1]["files"] == files_of(small_bundle)
    assert len(kaggle.submissions) == len(ledger.read_ledger()) == 1
    assert len(kaggle.kernels[KERNEL]) <= (1 if first == "done" else 2)
    return first


def attempt(kaggle, small_bundle, kernel_dir, monkeypatch, route, fault):
    monkeypatch.setattr(client, "SILENCE_TIMEOUT_S", 8)
    kaggle.fault(route, **FAULTS[fault])
    return outcome(kaggle, small_bundle, kernel_dir)


@pytest.mark.parametrize(("route", "fault"), but_for(FIRST, QUICK))
def test_a_fault_is_retried_or_one_line(
    kaggle, small_bundle, kernel_dir, monkeypatch, route, fault
):
    attempt(kaggle, small_bundle, kernel_dir, monkeypatch, route, fault)


@pytest.mark.slow
@pytest.mark.parametrize(("route", "fault"), EVERY)
def test_every_fault_at_every_call(
    kaggle, small_bundle, kernel_dir, monkeypatch, route, fault
):
    attempt(kaggle, small_bundle, kernel_dir, monkeypatch, route, fault)


@pytest.mark.extended
def test_an_upload_whose_url_expires_is_repeated(kaggle, small_bundle, kernel_dir):
    """Interrupted, then unknown to the storage: 2.2.4 leaves the file out."""
    kaggle.fault("storage PUT", status=503, cut=10)
    kaggle.fault("storage PUT", status=404, on_resume=True)
    outcome(kaggle, small_bundle, kernel_dir)


def test_an_outage_ends_in_one_line_and_spends_nothing(
    kaggle, small_bundle, kernel_dir
):
    kaggle.fault("CreateCodeSubmission", status=500, times=20)
    kaggle.on_push = lambda version: (
        {"submission.csv": SUBMISSION.encode()},
        "",
        "COMPLETE",
    )
    with pytest.raises(KaggleError) as raised:
        ship(small_bundle, kernel_dir, SLUG, "m")
    assert raised.value.exit_code == 6
    assert not kaggle.submissions
    assert not ledger.read_ledger()
