"""``publish`` against Kaggle's stand-in, by the real client: all of it arrives, or it says so."""

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


def test_first_it_is_created_then_versioned_and_all_of_it_is_there(
    kaggle, small_bundle
):
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


def test_what_is_there_already_is_not_sent_again(kaggle, small_bundle):
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


def test_a_file_that_the_client_lost_is_sent_again(kaggle, small_bundle):
    """Its upload is refused: 2.2.4 publishes the version without it, and says 0."""
    kaggle.fault("storage PUT", status=403)
    publish(small_bundle)
    assert newest(kaggle) == files_of(small_bundle)


@pytest.mark.extended
def test_a_file_that_is_lost_each_time_is_an_error_and_the_next_call_mends_it(
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
def test_what_passes_is_got_over(kaggle, small_bundle, fault):
    kaggle.fault(**fault)
    publish(small_bundle)
    assert newest(kaggle) == files_of(small_bundle)
    assert len(kaggle.datasets[DATASET]) == 1


@pytest.mark.extended
def test_a_hanging_connection_is_given_up_and_tried_again(
    kaggle, small_bundle, monkeypatch
):
    monkeypatch.setattr(client, "SILENCE_TIMEOUT_S", 3)
    kaggle.fault("ListDatasetFiles", hang_s=60)
    publish(small_bundle)
    assert newest(kaggle) == files_of(small_bundle)


def test_a_version_that_kaggle_made_without_saying_so_is_not_made_twice(
    kaggle, small_bundle
):
    kaggle.fault("CreateDataset", status=500, after=True)
    assert publish(small_bundle).version == 1
    assert sent(kaggle) == ["CreateDataset"]


def test_an_outage_is_one_line_and_nothing_is_published(kaggle, small_bundle):
    kaggle.fault("CreateDataset", status=500, times=20)
    with pytest.raises(UnreachableError):
        publish(small_bundle)
    assert DATASET not in kaggle.datasets


def test_processing_that_fails_is_one_line(kaggle, small_bundle):
    kaggle.dataset_statuses = ["BLOBS_RECEIVED", "FAILED"]
    with pytest.raises(RefusedError, match="to become ready, got failed"):
        publish(small_bundle)


def test_bad_credentials_are_one_line(kaggle, small_bundle, monkeypatch):
    monkeypatch.setenv("KAGGLE_USERNAME", "tester")
    monkeypatch.setenv("KAGGLE_KEY", "wrong-wrong-wrong")
    with pytest.raises(CredentialsError, match="kaggle-kit doctor"):
        publish(small_bundle)


def test_a_damaged_or_unnamed_bundle_is_refused_before_kaggle_is_asked(
    kaggle, small_bundle
):
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
