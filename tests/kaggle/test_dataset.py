"""``publish`` with the real client: every file arrives, or there is an error."""

import json

import pytest

from kaggle_kit.errors import (
    ArtefactError,
    CredentialsError,
    IncompleteError,
    RefusedError,
    UnreachableError,
)
from kaggle_kit.kaggle import client
from kaggle_kit.kaggle.dataset import Publication, plan_publish, publish
from tests.helpers.kaggle_names import DATASET, files_of
from tests.helpers.signed_bundles import sign


def newest(kaggle):
    return kaggle.datasets[DATASET][-1]["files"]


def sent(kaggle):
    names = ("CreateDataset", "CreateDatasetVersion")
    return [call.name for call in kaggle.calls if call.name in names]


def test_a_dataset_is_created_then_versioned_with_all_files(kaggle, small_bundle):
    made = publish(small_bundle)
    assert made == Publication(DATASET, version=1, changed=True)
    assert newest(kaggle) == files_of(small_bundle)
    (small_bundle / "kaggle_kit" / "deep" / "gap.py").write_text("GAP = 2\n")
    (small_bundle / "config.json").unlink()
    sign(small_bundle)
    assert publish(small_bundle, "second").version == 2
    assert newest(kaggle) == files_of(small_bundle)
    assert kaggle.datasets[DATASET][-1]["notes"] == "second"
    assert sent(kaggle) == ["CreateDataset", "CreateDatasetVersion"]


def test_a_published_bundle_is_not_sent_again(kaggle, small_bundle):
    publish(small_bundle)
    before = len(sent(kaggle))
    again = publish(small_bundle)
    assert again == Publication(DATASET, version=1, changed=False)
    assert len(sent(kaggle)) == before


def test_dry_run_sends_nothing_and_prints_the_commands(kaggle, small_bundle):
    (command,) = plan_publish(small_bundle).commands
    assert command == f"kaggle datasets create -p {small_bundle} -r zip"
    publish(small_bundle)
    (small_bundle / "config.json").write_text('{"a": 1}\n')
    sign(small_bundle)
    (command,) = plan_publish(small_bundle, "what changed").commands
    assert (
        command == f"kaggle datasets version -p {small_bundle} -r zip -m 'what changed'"
    )
    assert sent(kaggle) == ["CreateDataset"]


def test_a_failed_upload_of_a_file_is_repeated(kaggle, small_bundle):
    """After a refused upload, 2.2.4 publishes the version without the file and exits with 0."""
    kaggle.fault("storage PUT", status=403)
    publish(small_bundle)
    assert newest(kaggle) == files_of(small_bundle)


@pytest.mark.extended
def test_a_repeatedly_failed_upload_is_an_error_and_the_next_call_succeeds(
    kaggle, small_bundle
):
    publish(small_bundle)
    (small_bundle / "config.json").write_text('{"a": 1}\n')
    sign(small_bundle)
    kaggle.fault("storage PUT", status=403, times=8)
    with pytest.raises((IncompleteError, RefusedError)) as raised:
        publish(small_bundle)
    assert "\n" not in str(raised.value)
    assert publish(small_bundle).changed
    assert newest(kaggle) == files_of(small_bundle)


@pytest.mark.parametrize(
    "fault",
    [
        {"route": "StartBlobUpload", "status": 429},
        {"route": "storage PUT", "status": 503},
        {"route": "storage PUT", "cut": 100},
        {"route": "CreateDataset", "status": 429, "retry_after": 0},
        {"route": "CreateDataset", "status": 500},
        {"route": "GetDatasetStatus", "status": 429},
        {"route": "ListDatasetFiles", "status": 500, "times": 2},
    ],
    ids=lambda f: "-".join(map(str, f.values())),
)
@pytest.mark.extended
def test_temporary_errors_are_retried(kaggle, small_bundle, fault):
    kaggle.fault(**fault)
    publish(small_bundle)
    assert newest(kaggle) == files_of(small_bundle)
    assert len(kaggle.datasets[DATASET]) == 1


@pytest.mark.extended
def test_a_hanging_connection_times_out_and_is_retried(
    kaggle, small_bundle, monkeypatch
):
    monkeypatch.setattr(client, "SILENCE_TIMEOUT_S", 3)
    kaggle.fault("ListDatasetFiles", hang_s=60)
    publish(small_bundle)
    assert newest(kaggle) == files_of(small_bundle)


def test_a_version_whose_answer_was_lost_is_not_made_twice(kaggle, small_bundle):
    kaggle.fault("CreateDataset", status=500, after=True)
    assert publish(small_bundle).version == 1
    assert sent(kaggle) == ["CreateDataset"]


def test_an_outage_is_one_line_and_nothing_is_published(kaggle, small_bundle):
    kaggle.fault("CreateDataset", status=500, times=20)
    with pytest.raises(UnreachableError):
        publish(small_bundle)
    assert DATASET not in kaggle.datasets


def test_failed_processing_is_one_line(kaggle, small_bundle):
    kaggle.dataset_statuses = ["BLOBS_RECEIVED", "FAILED"]
    with pytest.raises(RefusedError, match="to become ready, got failed"):
        publish(small_bundle)


def test_bad_credentials_are_one_line(kaggle, small_bundle, monkeypatch):
    monkeypatch.setenv("KAGGLE_USERNAME", "tester")
    monkeypatch.setenv("KAGGLE_KEY", "wrong-wrong-wrong")
    with pytest.raises(CredentialsError, match="kaggle-kit doctor"):
        publish(small_bundle)


def test_a_damaged_or_unnamed_bundle_is_refused_before_any_call(kaggle, small_bundle):
    path = small_bundle / "dataset-metadata.json"
    named = path.read_text()
    path.write_text(json.dumps(json.loads(named) | {"id": "INSERT_OWNER/landmark-kit"}))
    with pytest.raises(ArtefactError):
        publish(small_bundle)
    path.write_text(named)
    (small_bundle / "config.json").write_text("{")
    with pytest.raises(ArtefactError, match=r"config\.json"):
        publish(small_bundle)
    assert not kaggle.calls
