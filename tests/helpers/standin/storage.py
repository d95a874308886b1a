"""The storage behind Kaggle: signed addresses, ranges, resumable uploads."""

import hashlib
import re
import threading
from dataclasses import dataclass
from urllib.parse import parse_qs, quote, unquote

from tests.helpers.standin.replies import Json, Refused, Reply, xml_error

HOST = "storage.test"
LAST_MODIFIED = "Sun, 01 Aug 2021 00:00:00 GMT"


@dataclass
class Upload:
    """A file on its way up."""

    name: str
    size: int
    received: bytes = b""
    complete: bool = False


class Storage:
    """Objects and uploads of ``http://storage.test``; knows no user, only signatures."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, Upload] = {}
        self.lock = threading.Lock()

    def sign(self, path: str, data: bytes) -> str:
        """Where a client may read ``data``; the address's path ends with ``path``."""
        path = "/" + quote(path)
        with self.lock:
            self.objects[path] = data
        return f"http://{HOST}{path}?X-Goog-Signature={signature(path)}"

    def redirect(self, path: str, data: bytes) -> Reply:
        """Kaggle's answer to a download: look over there."""
        return Reply(302, headers={"Location": self.sign(path, data)})

    def get(self, path: str, query: str, headers: Json) -> Reply:
        """Read an object, or from the byte that a Range header names if it is unchanged."""
        if parse_qs(query).get("X-Goog-Signature") != [signature(path)]:
            return xml_error(403, "SignatureDoesNotMatch")
        with self.lock:
            data = self.objects.get(path)
        if data is None:
            return xml_error(404, "NoSuchKey")
        etag = f'"{hashlib.md5(data).hexdigest()}"'
        about = {
            "Content-Type": "application/octet-stream",
            "ETag": etag,
            "Last-Modified": LAST_MODIFIED,
            "Accept-Ranges": "bytes",
        }
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("range", ""))
        if not wanted or headers.get("if-range", etag) not in (etag, LAST_MODIFIED):
            return Reply(200, data, about)
        start, last = int(wanted[1]), int(wanted[2] or len(data) - 1)
        if start >= len(data):
            return Reply(416, b"", {"Content-Range": f"bytes */{len(data)}"})
        part = data[start : last + 1]
        span = f"bytes {start}-{start + len(part) - 1}/{len(data)}"
        return Reply(206, part, about | {"Content-Range": span})

    def start(self, name: str, size: int) -> Json:
        """Begin an upload: its token for Kaggle and its address for the storage."""
        with self.lock:
            token = f"upload-{len(self.uploads) + 1}"
            self.uploads[token] = Upload(name, size)
        path = f"/uploads/{token}"
        url = f"http://{HOST}{path}?X-Goog-Signature={signature(path)}"
        return {"token": token, "createUrl": url}

    def put(
        self, path: str, query: str, headers: Json, body: bytes, cut: bool = False
    ) -> Reply:
        """Take (more of) an upload; ``cut`` when ``body`` is not all that was sent."""
        if parse_qs(query).get("X-Goog-Signature") != [signature(path)]:
            return xml_error(403, "SignatureDoesNotMatch")
        with self.lock:
            upload = self.uploads.get(unquote(path).rpartition("/")[2])
            if upload is None:
                return xml_error(404, "NoSuchUpload")
            span = headers.get("content-range", "")
            if not span.startswith("bytes */"):
                start = int(span.split()[1].split("-")[0]) if span else 0
                upload.received = upload.received[:start] + body
                upload.complete = not cut and len(upload.received) == upload.size
        if upload.complete:
            return Reply(200)
        so_far = len(upload.received)
        return Reply(308, headers={"Range": f"bytes=0-{so_far - 1}"} if so_far else {})

    def uploaded(self, token: str) -> tuple[str, bytes]:
        """Name and content of a complete upload."""
        upload = self.uploads.get(token)
        if upload is None or not upload.complete:
            raise Refused(400, f"Invalid upload token: {token}")
        return upload.name, upload.received


def signature(path: str) -> str:
    """What makes an address valid; not to be guessed from the path by a client."""
    return hashlib.sha256(b"a secret of the stand-in" + path.encode()).hexdigest()
