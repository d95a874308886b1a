"""``--ledger`` sets the table of submissions."""

from pathlib import Path

import pytest

import kaggle_kit.kaggle.ship
import kaggle_kit.kaggle.submissions
import kaggle_kit.kaggle.submit
from kaggle_kit import cli

CASES = {
    "submit": (kaggle_kit.kaggle.submit, ["--message", "a", "--file", "s.csv"]),
    "ship": (kaggle_kit.kaggle.ship, ["--message", "a", "--bundle", "b"]),
    "submissions": (kaggle_kit.kaggle.submissions, []),
}


@pytest.mark.parametrize("command", CASES)
@pytest.mark.parametrize(
    ("given", "expected"),
    [([], "submissions/ledger.csv"), (["--ledger", "other.csv"], "other.csv")],
)
def test_the_ledger_asked_for_is_kept(command, given, expected, monkeypatch, capsys):
    module, args = CASES[command]
    asked = []
    monkeypatch.setattr(module, command, lambda *_, ledger: asked.append(ledger) or {})
    assert cli.main([command, "--slug", "glr", *args, *given]) == 0
    assert asked == [Path(expected)]
