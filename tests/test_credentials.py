"""Where the client finds credentials, in its order; no text shows them."""

import base64
import json
import os
import string
import time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaggle_kit import credentials
from kaggle_kit.errors import KitError
from kaggle_kit.kaggle.checks import check_text
from tests.helpers.complaints import steady

# What tokens and keys consist of: dashes, dots and percent-escapes, too.
TOKENS = st.text(
    string.ascii_letters + string.digits + "-_.~", min_size=12, max_size=60
)
# Where others put them; {} is the secret.
PLACES = (
    "https://storage.test/a.zip?GoogleAccessId=me&Expires=1&Signature={}",
    "Max retries exceeded with url: /bucket/a.zip?X-Goog-Signature={} (Caused by x)",
    "url: /a?X-Amz-Credential=AK%2F1&X-Amz-Security-Token={}&X-Amz-Signature={}",
    "/a?sv=2024&sig={}&se=2",
    "GET /a?token={} HTTP/1.1",
    "('/a?sig={}', 403)",
    "https://host.test/#access_token={}&x=1",
    "Authorization: Bearer {}",
    "authorization={}",
    "{{'Authorization': 'Bearer {}', 'x': 'y'}}",
    '{{"Authorization": "Basic {}"}}',
    "Proxy-Authorization: Digest {}",
    "sent a bearer {} there",
    "KGAT_{}",
    "token KGAT_{}-{}",
    "https://me:{}@host.test/a",
    "http://{}@host.test/a",
    '{{"username":"me","key":"{}"}}',
    '{{\\"username\\": \\"me\\", \\"key\\": \\"{}\\"}}',
    "{{'key': '{}'}}",
    "KAGGLE_KEY={} KAGGLE_USERNAME=me",
    "export KAGGLE_API_TOKEN='{}'",
    "--api-token={}",
    '"refresh_token": "{}"',
    "X-Amz-Signature={}",
    "&Signature={}&",
    "password: 1{}0000",
)

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


@pytest.mark.parametrize("place", PLACES)
@steady(25)
@given(token=TOKENS)
def test_secrets_of_others_are_hidden_whole(place, token):
    """By their place alone: they are in no file of the user."""
    shown = credentials.redact(f"before\n{place.format(token, token)}\nafter")
    rest = place.format("", "")  # what is shown anyway, as the word "Signature"
    pieces = {token[i : i + 6] for i in range(len(token) - 5)}
    assert not any(piece in shown for piece in pieces if piece not in rest), shown
    assert shown.startswith("before\n") and shown.endswith("\nafter")
    assert credentials.redact(shown) == shown


@steady(100)
@given(token=TOKENS, cut=st.integers(16, 60), kind=st.sampled_from(["key", "token"]))
def test_the_users_own_secrets_are_hidden_in_every_form(token, cut, kind):
    """Whole or cut off, plain, percent-encoded, or in base64 with the name before it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("KAGGLE_API_TOKEN", "KAGGLE_KEY", "KAGGLE_USERNAME"):
            patch.delenv(name, raising=False)
        name = {"key": "KAGGLE_KEY", "token": "KAGGLE_API_TOKEN"}[kind]
        patch.setenv(name, token)
        user = "ada:" if kind == "key" else ""
        if user:
            patch.setenv("KAGGLE_USERNAME", "ada")
        encoded = base64.b64encode(f"{user}{token}".encode()).decode()
        forms = (token, token[:cut], quote(token, safe=""), encoded)
        for form in forms:
            for text in (f"got {form}, then", f"x{form}", f"[{form}]", f"'{form}'"):
                shown = credentials.redact(text)
                assert form[:14] not in shown, (text, shown)
        assert credentials.holds_secret(f"my {token}")
        with pytest.raises(KitError) as caught:
            check_text("the message", f"my {token}")
        assert token not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "kaggle-kit train: no setting 'train.epoch': did you mean 'epochs'?",
        "a.csv: row 2: expected '<landmark_id> <confidence>' or nothing, got '7;0.9'",
        "https://www.kaggle.com/code/me/landmark-inference: look at it",
        "monkey=12345678901 tokenize(x) keys: a, b and c; the key is missing",
        "train.epochs=3 recognition.neighbours=5 bundle=0123456789ab",
        '{"bundle": "0123456789abcdef", "ref": "7", "sha256": "0123456789abcdef"}',
        "basic understanding, bearer of news; is it signed? yes: 100% = all",
        "sorted(rows, key=len)",
    ],
)
def test_ordinary_text_is_unchanged(home, text):
    assert credentials.redact(text) == text
    assert not credentials.holds_secret(text)


def test_long_text_takes_no_long_time(home):
    """Each pattern reads it once: 200 kB of what begins a pattern and does not end it."""
    for piece in (
        "a-",
        "https://",
        "?x",
        "key ",
        "authorization ",
        "://",
        "basic ",
        "_",
    ):
        start = time.process_time()
        credentials.redact(piece * (200_000 // len(piece)))
        assert time.process_time() - start < 2, piece


def test_a_file_that_is_kept_has_no_secret_and_is_else_unchanged(tmp_path):
    path = tmp_path / "log.txt"
    content = b"line 1\r\n\xff\xfe binary\x00\nurl: /x?sig=0123456789\nlast"
    path.write_bytes(content)
    credentials.redact_file(path)
    assert path.read_bytes() == content.replace(b"?sig=0123456789", b"?...")
    before = path.stat().st_ino
    credentials.redact_file(path)
    assert path.stat().st_ino == before and [p.name for p in tmp_path.iterdir()] == [
        path.name
    ]


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
