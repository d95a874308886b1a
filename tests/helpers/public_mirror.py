"""The public data set on a local server that interrupts, delays and fails."""

import csv
import hashlib
import io
import re
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.helpers.small_competition import image_id, image_name, jpeg

SOLUTION = "ground_truth/recognition_solution_v2.1.csv"
ATTRIBUTION = b"id,url,author,license,title\n"
N_TRAIN = 8
INDEX = range(10, 14)
TEST = range(20, 32)
WITH_LANDMARK = (21, 28)  # of TEST


class Mirror(ThreadingHTTPServer):
    """Files by path; ``faults`` are dicts that answer the next requests of a path."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.faults, self.calls = {}, {}, []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/mirror"

    def add_tar(self, number, members, md5=None, part="train"):
        """A tar of (name or TarInfo, content) pairs, and its checksum."""
        content = tar_of(members)
        self.files[f"{part}/images_{number:03}.tar"] = content
        listed = md5 or hashlib.md5(content).hexdigest()
        name = f"images_{number:03}"
        line = f"{listed}  {name}.tar\n"
        self.files[f"md5sum/{part}/md5.{name}.txt"] = line.encode()

    def add_solution(self, rows):
        """The solution of the part test, of rows as they are in the file."""
        table = "\n".join(["id,landmarks,Usage", *rows, ""])
        self.files[SOLUTION] = table.encode()

    def got(self, path):
        """The Range headers of the requests of a path."""
        return [where for name, where in self.calls if name == path]

    def tars(self):
        """The tars that were requested, in order, since this was called last."""
        paths = [path for path, _ in self.calls if path.endswith(".tar")]
        self.calls.clear()
        return paths


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    def do_GET(self):
        mirror, path = self.server, self.path.removeprefix("/mirror/")
        where = self.headers.get("Range")
        mirror.calls.append((path, where))
        queue = mirror.faults.get(path, [])
        fault = queue.pop(0) if queue else {}
        content = mirror.files.get(path)
        if "raw" in fault:
            with suppress(OSError):  # the client has gone
                fault["raw"](self.wfile)
            return None
        if fault.get("status") or content is None:
            return self._send(fault.get("status", 404), b"<Error/>", fault)
        etag = '"' + hashlib.sha1(content).hexdigest() + '"'
        headers = {"ETag": etag, "Accept-Ranges": "bytes"}
        if where and self.headers.get("If-Range") == etag:
            start = int(re.fullmatch(r"bytes=(\d+)-", where)[1])
            headers["Content-Range"] = (
                f"bytes {start}-{len(content) - 1}/{len(content)}"
            )
            return self._send(206, content[start:], fault, headers)
        return self._send(200, content, fault, headers)

    def _send(self, status, body, fault, headers=()):
        self.send_response(status)
        headers = dict(headers)
        headers["Content-Length"] = str(len(body))
        if "retry_after" in fault:
            headers["Retry-After"] = str(fault["retry_after"])
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: fault.get("cut")])

    def log_message(self, *_):
        """Silent."""


def tar_of(members):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for member, data in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return content.getvalue()


def special(name, kind):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd"
    return info


def images(numbers):
    """Images by their name in a tar."""
    return {image_name(image_id(i)).removeprefix("train/"): jpeg(i) for i in numbers}


def solution_rows():
    """A row for each image of the part test."""
    return [
        f"{image_id(i)},{f'{i} 7' if i in WITH_LANDMARK else ''},"
        f"{('Public', 'Private')[i % 2]}"
        for i in TEST
    ]


@contextmanager
def public_mirror() -> Iterator[Mirror]:
    """A server with two tars of each part, and with their tables but for optional ones."""
    with Mirror() as server:
        threading.Thread(target=server.serve_forever, args=[0.05]).start()
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["id", "url", "landmark_id"])
        for i in range(N_TRAIN):
            writer.writerow([image_id(i), f"http://x/{i}, a.jpg", i % 3])
        server.files["metadata/train.csv"] = out.getvalue().encode()
        server.files["metadata/train_attribution.csv"] = ATTRIBUTION
        listed = "".join(f"{image_id(i)}\n" for i in INDEX)
        server.files["metadata/index.csv"] = f"id\n{listed}".encode()
        server.add_solution(solution_rows())
        server.add_tar(0, [("./", b""), *images(range(4)).items(), ("README", b"x")])
        flat = {name[6:]: data for name, data in images(range(4, 8)).items()}
        server.add_tar(1, flat.items())
        for part, numbers in (("index", INDEX), ("test", TEST)):
            half = len(numbers) // 2
            server.add_tar(0, images(numbers[:half]).items(), part=part)
            server.add_tar(1, images(numbers[half:]).items(), part=part)
        try:
            yield server
        finally:
            server.shutdown()


def found(out, folder="train"):
    """The installed images, by name."""
    return {
        p.relative_to(out).as_posix(): p.read_bytes()
        for p in (out / folder).rglob("*")
        if p.is_file()
    }


def expected(numbers, folder="train"):
    """The images of the mirror, by name."""
    return {f"{folder}/{name}": data for name, data in images(numbers).items()}
