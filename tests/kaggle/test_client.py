"""Client output becomes errors of the right kind, without secrets."""

import stat
import sys
import time

import pytest

from kaggle_kit.errors import (
    CredentialsError,
    KaggleError,
    KitError,
    LimitError,
    RefusedError,
    RulesError,
    UnreachableError,
    WaitError,
)
from kaggle_kit.kaggle import client, polling

# exit code, output of the client, expected error
OUTPUTS = [
    (0, "Dataset version is being created. Please check progress at https://x", None),
    (0, "Upload unsuccessful: model.tflite", RefusedError),
    (0, "Dataset version creation error: See previous output", RefusedError),
    (0, "Dataset creation error: slug already in use", RefusedError),
    (0, "Kernel push error: Notebook not found", RulesError),
    (
        0,
        "The following are not valid kernel sources: ['a/b']\nKernel version 3 success",
        RefusedError,
    ),
    (0, "Could not submit to competition", RefusedError),
    (
        0,
        "Skipping folder: kaggle_kit; use '--dir-mode' to upload folders",
        RefusedError,
    ),
    (0, "Kernel push error: Maximum batch GPU session count of 2 reached.", LimitError),
    (1, "Authentication required to call the Kaggle API.\n\nFirst", CredentialsError),
    (
        1,
        "You must accept this competition's rules before you'll be able to download files.",
        RulesError,
    ),
    (1, "Permission 'competitions.participate' was denied", RulesError),
    (1, "404 Client Error: Not Found for url: https://api.kaggle.com/v1/x", RulesError),
    (1, "429 Client Error: Too Many Requests for url: https://x", UnreachableError),
    (1, "503 Server Error: Service Unavailable for url: https://x", UnreachableError),
    (1, "HTTPConnectionPool(host='x'): Max retries exceeded with", UnreachableError),
    (1, "Your team has used its daily Submission limit (5) today", LimitError),
    (
        1,
        "Not Found\n\nThe resource was not found. Check the spelling of the reference",
        RulesError,
    ),
    (
        1,
        "Something new\n\nYou don't have access to this resource.\nAccept its rules at\n x",
        RefusedError,
    ),
    (1, "\n\nYou have been rate limited. Wait a little while", UnreachableError),
    (1, "something new", RefusedError),
    (1, "", UnreachableError),
    (1, "Internal error", UnreachableError),
]


@pytest.mark.parametrize(("code", "output", "kind"), OUTPUTS, ids=range(len(OUTPUTS)))
def test_client_output_is_classified(code, output, kind):
    error = client.classify_failure(("kernels", "push", "-p", "x"), code, output)
    assert type(error) is (kind or type(None))
    if error:
        assert "\n" not in str(error)
        assert str(error).startswith("kaggle kernels push: ")


def test_each_kind_of_error_has_its_own_exit_code():
    kinds = KaggleError.__subclasses__()
    codes = [kind.exit_code for kind in kinds]
    assert len(set(codes)) == len(kinds) == 7
    assert not {0, 1, 2} & set(codes)


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A script that replaces the client and counts its calls."""

    def make(body: str) -> None:
        path = tmp_path / "kaggle"
        path.write_text(
            f"#!{sys.executable}\nimport os, sys, time\n"
            f"calls = {str(tmp_path / 'calls')!r}\n"
            "open(calls, 'a').write('x')\nn = len(open(calls).read())\n" + body
        )
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    monkeypatch.setattr(client, "executable", lambda: str(tmp_path / "kaggle"))
    monkeypatch.setattr(client, "BACKOFF_S", 0.01)
    monkeypatch.setattr(polling, "FIRST_INTERVAL_S", 0.01)
    return lambda body: (make(body), tmp_path / "calls")[1]


def test_temporary_errors_are_retried(fake):
    calls = fake("if n < 3: sys.exit('503 Server Error: x for url: y')\nprint('done')")
    assert client.call("a", "b") == "done\n"
    assert calls.read_text() == "xxx"


def test_retries_are_limited(fake):
    calls = fake("sys.exit('429 Client Error: x for url: y')")
    with pytest.raises(UnreachableError):
        client.call("a", "b")
    assert len(calls.read_text()) == client.TRIES


def test_a_call_that_is_not_idempotent_is_retried_only_after_429(fake):
    calls = fake("sys.exit('503 Server Error: x for url: y')")
    with pytest.raises(UnreachableError):
        client.call("a", "b", idempotent=False)
    assert calls.read_text() == "x"
    calls.unlink()
    fake("if n < 2: sys.exit('429 Client Error: x for url: y')\nprint('done')")
    assert client.call("a", "b", idempotent=False) == "done\n"
    assert calls.read_text() == "xx"


def test_a_silent_client_times_out(fake, monkeypatch):
    monkeypatch.setattr(client, "SILENCE_TIMEOUT_S", 0.3)
    monkeypatch.setattr(client, "TRIES", 2)
    calls = fake("time.sleep(60)")
    start = time.monotonic()
    with pytest.raises(UnreachableError, match="timed out"):
        client.call("a", "b")
    assert time.monotonic() - start < 20
    assert calls.read_text() == "xx"


def test_secrets_are_in_no_error_and_no_output(fake, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KAGGLE_API_TOKEN", "s3cr3t-token")
    monkeypatch.setenv("KAGGLE_KEY", "s3cr3t-key")
    fake("print('Bearer', os.environ['KAGGLE_API_TOKEN'], os.environ['KAGGLE_KEY'])")
    assert "s3cr3t" not in client.call("a", "b")
    fake("sys.exit('bad: http://store/x.zip?X-Goog-Signature=s3cr3t and KGAT_s3cr3t')")
    with pytest.raises(RefusedError) as raised:
        client.call("a", "b")
    assert "s3cr3t" not in str(raised.value)
    assert "http://store/x.zip?..." in str(raised.value)


def test_the_clients_temporary_folder_is_private_and_deleted(fake, tmp_path):
    fake(
        "folder = os.environ['TMPDIR']\n"
        "print(oct(os.stat(folder).st_mode & 0o777), folder)"
    )
    mode, folder = client.call("a", "b").split()
    assert mode == "0o700"
    assert not (tmp_path / folder).exists()


def test_the_clients_debugging_which_prints_credentials_is_off(fake, monkeypatch):
    monkeypatch.setenv("VERBOSE", "1")
    fake("print(os.environ.get('VERBOSE'))")
    assert client.call("a", "b") == "None\n"


def test_json_is_found_after_warnings(fake):
    fake("print('Warning: outdated [1]\\nNext Page Token = t')\nprint('[\\n 1\\n]')")
    assert client.call_json("a", "b") == [1]
    fake("print('No submissions found')")
    assert client.call_json("a", "b") is None


def test_all_pages_are_read(fake):
    fake(
        "assert ('--page-token' in sys.argv) == (n == 2)\n"
        "if n == 1: print('Next Page Token = two')\n"
        "print('[{\"n\": %d}]' % n)"
    )
    assert client.call_pages("a", "b") == [{"n": 1}, {"n": 2}]


def test_waiting_ends_with_a_result_or_times_out(fake):
    looks = iter([None, UnreachableError("away"), None, "found"])

    def look():
        now = next(looks)
        if isinstance(now, Exception):
            raise now
        return now

    fake("")
    assert polling.wait_for(look, 10, "it") == "found"
    with pytest.raises(WaitError, match="it: expected it within"):
        polling.wait_for(lambda: None, 0.05, "it")


@pytest.mark.parametrize(
    ("attempt", "output", "low", "high"),
    [
        (1, "", 1.6, 2.4),
        (3, "", 6.4, 9.6),
        (30, "", 96, 144),
        (1, "Retry-After: 7", 7, 7),
    ],
)
def test_backoff_doubles_and_honours_retry_after(attempt, output, low, high):
    assert low <= client.backoff_s(attempt, output) <= high


def test_a_missing_client_says_how_to_install_it(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KitError, match="pip install"):
        client.executable()


def test_a_client_that_prints_without_an_end_is_stopped(fake, monkeypatch):
    monkeypatch.setattr(client, "LARGEST_OUTPUT", 10**5)
    monkeypatch.setattr(client, "TRIES", 1)
    fake("while True: print('[' * 1000, flush=True)")
    with pytest.raises(UnreachableError, match="more than 100000 bytes of output"):
        client.call("a", "b")


def test_an_answer_nested_without_an_end_is_refused(fake):
    fake("print('[' * 10**5)")
    with pytest.raises(RefusedError, match="expected JSON"):
        client.call_json("a", "b")
