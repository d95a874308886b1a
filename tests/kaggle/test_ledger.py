"""The ledger has one row per submission, and loses none."""

from dataclasses import replace

import pytest

from kaggle_kit.errors import TableError
from kaggle_kit.kaggle import ledger
from kaggle_kit.kaggle.replies import parse_submission

REMOTE = {
    "ref": 7,
    "date": "2026-08-01T10:00:00",
    "description": "first [ada/k v1]",
    "status": "SubmissionStatus.PENDING",
    "publicScore": "",
    "privateScore": None,
}


def row(**values):
    return replace(ledger.EMPTY_ROW, **values)


def test_a_row_with_the_same_ref_is_replaced(tmp_path):
    path = tmp_path / "submissions" / "ledger.csv"
    assert ledger.read_ledger(path) == []
    first, second = row(ref="1", message='says "a, b"'), row(ref="2", message="é")
    ledger.save_row(first, path)
    ledger.save_row(second, path)
    ledger.save_row(replace(first, public="0.5"), path)
    assert ledger.read_ledger(path) == [replace(first, public="0.5"), second]
    assert [p.name for p in path.parent.iterdir()] == ["ledger.csv"]


def test_a_row_is_updated_from_kaggles_reply():
    waiting = ledger.update_row(row(run="k-v1"), parse_submission(REMOTE))
    assert (waiting.ref, waiting.status, waiting.public) == ("7", "pending", "")
    done = REMOTE | {"status": "COMPLETE", "publicScore": "0.51", "privateScore": "0.5"}
    scored = ledger.update_row(waiting, parse_submission(done))
    assert (scored.run, scored.status) == ("k-v1", "complete")
    assert (scored.public, scored.private) == ("0.51", "0.5")


def test_another_table_is_refused(tmp_path):
    path = tmp_path / "ledger.csv"
    path.write_text("date,run\n")
    with pytest.raises(TableError):
        ledger.read_ledger(path)
