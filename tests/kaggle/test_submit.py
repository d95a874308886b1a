"""``submit``, ``submissions`` and ``ship`` with the real client."""

import json
from pathlib import Path

import pytest

from kaggle_kit.errors import (
    KitError,
    LimitError,
    RefusedError,
    RulesError,
    TableError,
    UnreachableError,
)
from kaggle_kit.kaggle import ledger
from kaggle_kit.kaggle import ship as ship_module
from kaggle_kit.kaggle.kernel_run import SUBMISSIONS
from kaggle_kit.kaggle.ship import ship
from kaggle_kit.kaggle.submissions import submissions
from kaggle_kit.kaggle.submit import plan_submit, submit
from tests.helpers.bad_headers import bad_headers
from tests.helpers.kaggle_names import KERNEL, SLUG, SUBMISSION
from tests.helpers.longer import but_for


@pytest.fixture
def ready(kaggle):
    """A stand-in whose kernels leave a valid submission, which scores 0.51 and 0.49."""
    kaggle.on_push = lambda version: (
        {"submission.csv": SUBMISSION.encode()},
        "done\n",
        "COMPLETE",
    )
    kaggle.competitions[SLUG]["scores"] = ("0.51", "0.49")
    return kaggle


@pytest.fixture
def pushed(ready):
    """Version 1 of the kernel has run, and its output is here."""
    ready.kernels[KERNEL] = [
        {
            "metadata": {},
            "status": "COMPLETE",
            "statuses": [],
            "files": {"submission.csv": SUBMISSION.encode()},
        }
    ]
    known = {"config": "tiny", "commit": "0123abc", "bundle": "0" * 12}
    path = Path("submissions/landmark-inference-v1/push.json")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(known | {"local_gap": 0.75}))
    return ready


def names(kaggle):
    return [call.name for call in kaggle.calls]


def test_a_kernel_version_is_submitted_scored_and_in_the_ledger(pushed):
    done = submit(SLUG, "first try", KERNEL, 1)
    assert (done.public, done.private, done.status) == (
        "0.51",
        "0.49",
        "complete",
    )
    assert done.submitted
    (row,) = ledger.read_ledger()
    assert (row.run, row.config, row.commit) == (
        "landmark-inference-v1",
        "tiny",
        "0123abc",
    )
    assert (row.kernel, row.version, row.local_gap) == (KERNEL, "1", "0.75000")
    assert (row.public, row.private, row.message) == ("0.51", "0.49", "first try")
    assert len(row.bundle) == 12
    assert row.date.startswith("20")


def test_a_kernel_version_is_never_submitted_twice(pushed):
    first = submit(SLUG, "first try", KERNEL, 1)
    again = submit(SLUG, "another message", KERNEL, 1)
    assert not again.submitted
    assert again.ref == first.ref
    assert len(pushed.submissions) == 1
    assert len(ledger.read_ledger()) == 1


def test_dry_run_sends_nothing_and_prints_the_command(pushed):
    (command,) = plan_submit(SLUG, "a b", KERNEL, 1).commands
    assert command == (
        f"kaggle competitions submit {SLUG} -k {KERNEL} -v 1 -f submission.csv "
        f"-m 'a b [{KERNEL} v1]'"
    )
    assert not pushed.submissions


def test_a_file_is_submitted_once(ready, tmp_path):
    ready.add_competition("another-competition", {"a.csv": b"x"})
    path = tmp_path / "submission.csv"
    path.write_text(SUBMISSION)
    assert submit("another-competition", "m", file=path).submitted
    assert not submit("another-competition", "m", file=path).submitted
    path.write_text(SUBMISSION + "\n")
    assert submit("another-competition", "m", file=path).submitted
    assert len(ledger.read_ledger()) == 2


@pytest.mark.extended
def test_a_failed_upload_is_repeated(ready, tmp_path):
    """2.2.4 prints "Could not submit to competition" and exits with 0."""
    ready.add_competition("another-competition", {"a.csv": b"x"})
    path = tmp_path / "submission.csv"
    path.write_text(SUBMISSION)
    ready.fault("storage PUT", status=403)
    assert submit("another-competition", "m", file=path).submitted
    assert len(ready.submissions) == 1
    ready.fault("storage PUT", status=403, times=2)
    path.write_text(SUBMISSION + "\n")
    with pytest.raises(RefusedError):
        submit("another-competition", "m", file=path)
    assert len(ready.submissions) == len(ledger.read_ledger()) == 1


def test_a_submission_whose_answer_was_lost_is_not_made_twice(pushed):
    pushed.fault("CreateCodeSubmission", status=500, after=True)
    assert submit(SLUG, "m", KERNEL, 1).status == "complete"
    assert len(pushed.submissions) == 1


def test_a_submission_that_did_not_arrive_is_repeated(pushed):
    pushed.fault("CreateCodeSubmission", status=500)
    assert submit(SLUG, "m", KERNEL, 1).status == "complete"
    assert len(pushed.submissions) == 1
    pushed.fault("CreateCodeSubmission", status=429)
    pushed.fault("ListSubmissions", status=500)
    pushed.fault("GetSubmissionLimits", status=429)


def test_an_outage_is_one_line_and_spends_nothing(pushed):
    pushed.fault("CreateCodeSubmission", status=500, times=9)
    with pytest.raises(UnreachableError):
        submit(SLUG, "m", KERNEL, 1)
    assert not pushed.submissions
    assert not ledger.read_ledger()


def test_the_limit_is_checked_first(pushed):
    pushed.competitions[SLUG]["daily_limit"] = 0
    with pytest.raises(LimitError, match="tomorrow"):
        submit(SLUG, "m", KERNEL, 1)
    assert "CreateCodeSubmission" not in names(pushed)


def test_a_failed_scoring_is_one_line_and_in_the_ledger(pushed):
    pushed.submission_statuses = ["PENDING", "ERROR"]
    with pytest.raises(RefusedError, match="got error"):
        submit(SLUG, "m", KERNEL, 1)
    assert [row.status for row in ledger.read_ledger()] == ["error"]


def test_rules_that_are_not_accepted_are_one_line(pushed):
    pushed.competitions[SLUG]["accepted"] = False
    with pytest.raises(RulesError):
        submit(SLUG, "m", KERNEL, 1)


@pytest.mark.parametrize(
    "given",
    [{}, {"kernel": KERNEL}, {"version": 1}, {"file": Path("x"), "kernel": KERNEL}],
)
def test_kernel_and_version_or_a_file_are_required(given):
    with pytest.raises(KitError, match="--kernel"):
        submit(SLUG, "m", **given)


def test_scores_are_updated_and_listed_beside_the_local_ones(pushed):
    submit(SLUG, "m", KERNEL, 1)
    for submission in pushed.submissions:
        submission["publicScore"] = "0.6"
    (shown,) = submissions(SLUG)
    assert (shown.local_gap, shown.public, shown.private) == (0.75, 0.6, 0.49)
    assert ledger.read_ledger()[0].public == "0.6"


def test_ship_makes_only_the_necessary_calls(ready, small_bundle, kernel_dir):
    done = ship(small_bundle, kernel_dir, SLUG, "all the way")
    assert done.submission.public == "0.51"
    assert done.kernel.version == done.dataset.version == 1
    counted = names(ready)
    for name in ("CreateDataset", "SaveKernel", "CreateCodeSubmission"):
        assert counted.count(name) == 1
    assert "CreateDatasetVersion" not in counted
    state = json.loads(Path("submissions/ship.json").read_text())
    assert state["kernel_version"] == 1


@pytest.mark.parametrize(
    "step", but_for(["submit"], ["publish", "send", "collect", "submit"])
)
@pytest.mark.parametrize("when", but_for(["before"], ["before", "after"]))
def test_ship_resumes_after_an_interruption(
    ready, small_bundle, kernel_dir, monkeypatch, step, when
):
    real = getattr(ship_module, step)

    def stopped(*args, **options):
        if when == "after":
            real(*args, **options)
        raise KeyboardInterrupt

    # a push is repeated if its version number was lost
    n_pushes = 2 if (step, when) == ("send", "after") else 1
    with monkeypatch.context() as patch:
        patch.setattr(ship_module, step, stopped)
        with pytest.raises(KeyboardInterrupt):
            ship(small_bundle, kernel_dir, SLUG, "m")
    assert ship(small_bundle, kernel_dir, SLUG, "m").submission.public == "0.51"
    counted = names(ready)
    for name in ("CreateDataset", "CreateCodeSubmission"):
        assert counted.count(name) == 1
    assert counted.count("SaveKernel") == n_pushes
    assert "CreateDatasetVersion" not in counted


@pytest.mark.extended
def test_ship_pushes_again_after_a_failed_run(ready, small_bundle, kernel_dir):
    works = ready.on_push
    ready.on_push = lambda version: ({}, "no room\n", "ERROR")
    with pytest.raises(RefusedError, match="no room"):
        ship(small_bundle, kernel_dir, SLUG, "m")
    ready.on_push = works
    assert ship(small_bundle, kernel_dir, SLUG, "m").kernel.version == 2
    assert names(ready).count("CreateDataset") == 1


@pytest.mark.extended
def test_ship_does_not_submit_a_kernel_that_writes_another_header(
    ready, small_bundle, kernel_dir
):
    files = {"submission.csv": bad_headers(SUBMISSION)["pandas' index"]}
    ready.on_push = lambda version: (files, "done\n", "COMPLETE")
    with pytest.raises(TableError, match="index=False"):
        ship(small_bundle, kernel_dir, SLUG, "m")
    assert not ready.submissions and "CreateCodeSubmission" not in names(ready)


@pytest.mark.extended
def test_ship_of_another_bundle_starts_again(ready, small_bundle, kernel_dir):
    from tests.helpers.signed_bundles import sign

    ship(small_bundle, kernel_dir, SLUG, "m")
    (small_bundle / "config.json").write_text('{"a": 1}\n')
    sign(small_bundle)
    done = ship(small_bundle, kernel_dir, SLUG, "m")
    assert (done.dataset.version, done.kernel.version) == (2, 2)
    assert len(ready.submissions) == len(ledger.read_ledger()) == 2


@pytest.mark.extended
def test_no_file_or_log_contains_secrets(
    ready, small_bundle, kernel_dir, tmp_path, caplog
):
    key = json.loads(next((tmp_path / "home").rglob("kaggle.json")).read_text())["key"]
    ready.fault("CreateDataset", status=500, message=f"bad key {key}")
    with caplog.at_level("DEBUG"):
        ship(small_bundle, kernel_dir, SLUG, "m")
    assert key not in caplog.text
    for path in tmp_path.rglob("*"):
        if path.is_file() and not path.is_relative_to(tmp_path / "home"):
            assert key.encode() not in path.read_bytes(), path


def test_ship_is_refused_for_a_kernel_of_another_competition(
    small_bundle, kernel_dir, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KitError, match="competition_sources"):
        ship(small_bundle, kernel_dir, "another-competition", "m")
    assert SUBMISSIONS.exists() is False
