"""Replies of the client become records; a malformed reply is one line."""

import json

import pytest

from kaggle_kit.errors import RefusedError
from kaggle_kit.kaggle import client, replies

MALFORMED = {
    "submission-without-fields": (replies.list_submissions, [{"ref": 1}]),
    "submission-of-text": (replies.list_submissions, ["text"]),
    "limit-of-text": (replies.submission_limits, {"numAllowedNow": "many"}),
    "limits-as-a-list": (replies.submission_limits, [1]),
    "dataset-without-status": (replies.dataset_status, {}),
    "dataset-of-nothing": (replies.dataset_status, None),
    "file-without-size": (replies.dataset_files, [{"name": "config.json"}]),
    "quota-of-a-number": (
        lambda _: replies.gpu_quota(),
        [{"resource": "GPU", "remaining": 7}],
    ),
}


@pytest.mark.parametrize(("read", "reply"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_reply_is_one_line(read, reply, monkeypatch):
    output = "" if reply is None else json.dumps(reply)
    monkeypatch.setattr(client, "call", lambda *_, **__: output)
    with pytest.raises(RefusedError, match="expected the reply of client 2.2, got"):
        read("me/landmark-kit")


def test_output_that_is_no_json_is_one_line(monkeypatch):
    monkeypatch.setattr(client, "call", lambda *_, **__: '[{"ref": 1')
    with pytest.raises(RefusedError, match="expected JSON, got"):
        replies.list_submissions("glr")


def test_an_empty_list_and_a_missing_quota(monkeypatch):
    monkeypatch.setattr(client, "call", lambda *_, **__: "No submissions found")
    assert replies.list_submissions("glr") == []
    assert replies.submission_limits("glr") == replies.SubmissionLimits(0, 0)
    assert replies.gpu_quota() is None
