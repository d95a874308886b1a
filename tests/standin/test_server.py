"""What the client alone cannot show of the stand-in."""

import http.client
import json
import threading
import time
from urllib.parse import urlsplit

import pytest

from tests.helpers.standin import Kaggle, kernels
from tests.helpers.standin.client import KERNEL


def get(kaggle: Kaggle, url: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    """Read an address in origin form, naming its host only in the header."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection("127.0.0.1", kaggle.port, timeout=60)
    target = f"{parts.path}?{parts.query}"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("GET", target, headers={"Host": parts.netloc} | named)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content, dict(answer.getheaders())


def test_ranges_hold_for_an_unchanged_file_only(kaggle):
    url = kaggle.storage.sign("x/a.bin", b"0123456789")
    status, content, headers = get(kaggle, url)
    assert (status, content) == (200, b"0123456789")
    etag = headers["ETag"]
    status, content, headers = get(kaggle, url, Range="bytes=4-", If_Range=etag)
    assert (status, content) == (206, b"456789")
    assert headers["Content-Range"] == "bytes 4-9/10"
    assert get(kaggle, url, Range="bytes=4-", If_Range='"other"')[:2] == (
        200,
        b"0123456789",
    )
    assert get(kaggle, url, Range="bytes=10-")[0] == 416


def test_only_signed_addresses_are_read(kaggle):
    url = kaggle.storage.sign("x/a.bin", b"0123456789")
    status, content, _ = get(kaggle, url[:-1] + ("0" if url[-1] != "0" else "1"))
    assert status == 403
    assert b"SignatureDoesNotMatch" in content


def post(kaggle: Kaggle, call: str, **asked) -> tuple[int, dict]:
    """Call a service as the client does."""
    connection = http.client.HTTPConnection("127.0.0.1", kaggle.port, timeout=60)
    headers = {"Authorization": f"Bearer {kaggle.token}", "Host": "localhost"}
    connection.request("POST", f"/api/v1/{call}", json.dumps(asked), headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, json.loads(content) if answer.status == 200 else {}


def test_a_session_lasts_as_long_as_its_kernel(kaggle, monkeypatch):
    monkeypatch.setattr(kernels, "PATIENCE_S", 0.05)
    end = threading.Event()
    kaggle.on_push = lambda version: ({}, "", "COMPLETE" if end.wait(60) else "ERROR")
    post(kaggle, "kernels.KernelsApiService/SaveKernel", slug=KERNEL, text="1")
    owner, slug = KERNEL.split("/")
    ask = "kernels.KernelsApiService/GetKernelSessionStatus"
    shown = [post(kaggle, ask, userName=owner, kernelSlug=slug)[1] for _ in range(4)]
    assert [reply["status"] for reply in shown] == ["QUEUED"] + 3 * ["RUNNING"]
    monkeypatch.setattr(kernels, "PATIENCE_S", 60)
    end.set()
    _, last = post(kaggle, ask, userName=owner, kernelSlug=slug)
    assert last["status"] == "COMPLETE"


def test_leaks_and_strays_are_noticed():
    with Kaggle() as kaggle:
        url = kaggle.storage.sign("x/a.bin", b"1")
        get(kaggle, url, Authorization="Bearer " + kaggle.token)
        get(kaggle, "http://stranger.test/?")
        secret = http.client.HTTPSConnection("127.0.0.1", kaggle.port, timeout=60)
        secret.set_tunnel("another.test", 443)
        with pytest.raises(OSError, match="502"):
            secret.connect()
        assert [call.host for call in kaggle.leaks] == ["storage.test"]
        assert [call.host for call in kaggle.strays] == [
            "stranger.test",
            "another.test:443",
        ]


def test_it_closes_while_a_call_hangs():
    with Kaggle() as kaggle:
        kaggle.fault("storage GET", hang_s=600)
        connection = http.client.HTTPConnection("127.0.0.1", kaggle.port, timeout=0.2)
        connection.request("GET", kaggle.storage.sign("x/a.bin", b"1"))
        with pytest.raises(TimeoutError):
            connection.getresponse()
        start = time.monotonic()
    assert time.monotonic() - start < 30
    connection.close()


def test_a_bug_of_its_own_fails_the_test():
    with pytest.raises(AssertionError, match="KeyError"), Kaggle() as kaggle:
        assert post(kaggle, "blobs.BlobApiService/StartBlobUpload")[0] == 500
