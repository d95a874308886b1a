"""``doctor`` with the real client: each failure is named, with a remedy."""

import json

import pytest

from kaggle_kit import cli
from kaggle_kit.kaggle import doctor as doctor_module
from kaggle_kit.kaggle.doctor import doctor
from tests.helpers.kaggle_names import SLUG


def failing(slug: str = SLUG) -> dict[str, doctor_module.Check]:
    result = doctor(slug)
    found = {check.name: check for check in result.checks if not check.ok}
    assert result.ok is not bool(found)
    assert all(check.do for check in found.values())
    return found


def test_all_checks_pass(kaggle):
    assert failing() == {}


def test_versions_that_differ_from_kaggles_image_are_named(kaggle, monkeypatch):
    monkeypatch.setitem(doctor_module.VERSIONS, "keras", "2.15.0")
    assert "keras==2.15.0" in failing()["keras"].do


def test_no_credentials(kaggle, tmp_path):
    (tmp_path / "home" / "config" / "kaggle.json").unlink()
    found = failing()
    assert "chmod 600" in found["credentials"].do
    assert {"competition", "submissions", "GPU quota"} <= set(found)


def test_a_file_open_to_others(kaggle, tmp_path):
    (tmp_path / "home" / "config" / "kaggle.json").chmod(0o644)
    assert failing()["file mode"].do.startswith("chmod 600 ")


def test_a_token_beside_another_source_is_named_and_shown_nowhere(
    kaggle, monkeypatch, caplog, capsys
):
    """The client falls back on the file, but still sends the bad token."""
    monkeypatch.setenv("KAGGLE_API_TOKEN", "KGAT_bad-bad-bad")
    assert "unset KAGGLE_API_TOKEN" in failing()["one source"].do
    assert cli.main(["doctor", "--slug", SLUG]) == 1
    said = capsys.readouterr()
    for text in (said.out, said.err, caplog.text):
        assert "bad-bad-bad" not in text


def test_rules_that_are_not_accepted(kaggle):
    kaggle.competitions[SLUG]["accepted"] = False
    assert "rules" in failing()["competition"].found


def test_a_wrong_name_of_the_competition(kaggle):
    assert "check the name" in failing("landmark-recognitoin")["competition"].found


def test_no_submission_and_no_quota_left(kaggle):
    kaggle.competitions[SLUG]["daily_limit"] = 0
    kaggle.gpu_quota_s = (107_900, 108_000)
    found = failing()
    assert "tomorrow" in found["submissions"].do
    assert "wait until" in found["GPU quota"].do


@pytest.mark.parametrize(("free", "name"), [(5e9, {"disk"}), (100e9, set())])
def test_the_disk(kaggle, monkeypatch, free, name):
    usage = doctor_module.shutil.disk_usage("/")._replace(free=int(free))
    monkeypatch.setattr(doctor_module.shutil, "disk_usage", lambda _: usage)
    assert set(failing()) == name


@pytest.mark.parametrize(
    ("said", "ok"),
    [
        ("Kaggle CLI 2.2.5", True),
        ("Kaggle CLI 2.2.4", True),
        ("Kaggle CLI 1.6.17", False),
        ("ModuleNotFoundError: No module named 'six'", False),
    ],
)
def test_the_client(monkeypatch, tmp_path, said, ok):
    path = tmp_path / "kaggle"
    path.write_text(f'#!/bin/sh\necho "{said}"\n')
    path.chmod(0o755)
    monkeypatch.setattr(doctor_module.client, "executable", lambda: str(path))
    (check,) = doctor_module._client()
    assert check.ok is ok
    assert ok or "pip install" in check.do


def test_the_command_prints_every_check_as_json(kaggle, capsys):
    assert cli.main(["doctor", "--slug", SLUG]) == 0
    result = json.loads(capsys.readouterr().out)
    names = [check["name"] for check in result["checks"]]
    assert {"client", "credentials", "competition", "disk", "tensorflow"} <= set(names)
