"""Where the client finds credentials, in its order; no text shows them."""

import json
import os

import pytest

from kaggle_kit import credentials

VARIABLES = (
    *("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY"),
    *("KAGGLE_CONFIG_DIR", "XDG_CONFIG_HOME"),
)


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".kaggle").mkdir()
    return tmp_path


def write_key(folder, mode=0o600):
    path = folder / "kaggle.json"
    path.write_text(json.dumps({"username": "ada", "key": "0123456789abcdef"}))
    path.chmod(mode)
    return path


def test_none_without_any(home):
    assert credentials.sources() == []
    assert credentials.username() is None


def test_order_is_the_clients(home, monkeypatch):
    write_key(home / ".kaggle")
    (home / ".kaggle" / "access_token").write_text("token-of-file\n")
    (home / ".kaggle" / "credentials.json").write_text("{}")
    monkeypatch.setenv("KAGGLE_API_TOKEN", "token-of-environment")
    monkeypatch.setenv("KAGGLE_USERNAME", "bob")
    monkeypatch.setenv("KAGGLE_KEY", "key-of-environment")
    found = credentials.sources()
    assert [s.kind for s in found] == ["token", "token", "key", "key", "login"]
    assert [s.name.rsplit("/")[-1] for s in found][:2] == [
        "KAGGLE_API_TOKEN",
        "access_token",
    ]
    assert credentials.username() == "bob"


def test_config_folder_is_the_clients(home, monkeypatch, tmp_path):
    assert credentials.config_dir() == home / ".kaggle"
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "other"))
    assert credentials.config_dir() == tmp_path / "other"
    (tmp_path / "other").mkdir()
    write_key(tmp_path / "other")
    assert credentials.username() == "ada"


@pytest.mark.parametrize(("mode", "open_"), [(0o600, False), (0o644, True)])
def test_a_file_open_to_others_is_known(home, mode, open_):
    write_key(home / ".kaggle", mode)
    (source,) = credentials.sources()
    assert source.open_to_others is open_


def test_a_token_may_be_a_path(home, monkeypatch):
    path = home / "token"
    path.write_text("token-in-a-file")
    monkeypatch.setenv("KAGGLE_API_TOKEN", str(path))
    assert credentials.redact("x token-in-a-file y") == "x [hidden] y"


@pytest.mark.parametrize(
    "text",
    [
        "the key 0123456789abcdef",
        "Authorization: Basic YWRhOjAxMjM0NTY3ODlhYmNkZWY=",
        "{'Authorization': 'Bearer KGAT_0123456789abcdef'}",
        "https://storage.test/a/b.zip?GoogleAccessId=x&Signature=0123456789abcdef",
    ],
)
def test_no_text_shows_them(home, text):
    write_key(home / ".kaggle")
    shown = credentials.redact(text)
    assert "0123456789abcdef" not in shown
    assert "YWRh" not in shown


def test_a_damaged_key_file_is_no_source(home):
    (home / ".kaggle" / "kaggle.json").write_text("{")
    assert credentials.sources() == []


def test_secrets_are_named_by_their_place(home, monkeypatch):
    folder = home / ".kaggle"
    (folder / "credentials.json").write_text(
        json.dumps({"username": "ada", "refresh_token": "token-of-login"})
    )
    (folder / "access_token").write_text("token-of-file\n")
    monkeypatch.setenv("KAGGLE_API_TOKEN", str(folder / "access_token"))
    assert credentials.secrets() == {
        "token-of-file": str(folder / "access_token"),
        "token-of-login": str(folder / "credentials.json"),
    }


def test_without_a_home_folder_and_a_user_entry_there_are_none(monkeypatch):
    for name in (*VARIABLES, "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])
    assert credentials.home_dir() is None and credentials.config_dir() is None
    assert credentials.sources() == [] and credentials.secrets() == {}
    assert credentials.redact("a KGAT_0123456789") != "a KGAT_0123456789"


@pytest.mark.parametrize("kind", ["a file", "a pipe", "not there"])
def test_a_home_that_is_no_folder_has_none(tmp_path, monkeypatch, kind):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    if kind == "a file":
        home.write_text("x")
    if kind == "a pipe":
        (home / ".kaggle").mkdir(parents=True)
        for name in ("access_token", "credentials.json", "kaggle.json"):
            os.mkfifo(home / ".kaggle" / name)
    monkeypatch.setenv("HOME", str(home))
    assert credentials.sources() == []
