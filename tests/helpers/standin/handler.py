"""The HTTP of the stand-in: connections, credentials, faults."""

import json
import sys
import traceback
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from tests.helpers.standin.replies import (
    Call,
    Fault,
    Json,
    Refused,
    Reply,
    json_reply,
    xml_error,
)
from tests.helpers.standin.storage import HOST

if TYPE_CHECKING:
    from tests.helpers.standin.server import Kaggle

OURS = ("localhost", "127.0.0.1")
NO_FAULT = Fault()


class Server(ThreadingHTTPServer):
    """Threads end with their connections, or with the process."""

    daemon_threads = True
    kaggle: "Kaggle"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no error of ours; anything else is."""
        if not isinstance(sys.exception(), ConnectionError):
            self.kaggle.errors.append(traceback.format_exc())


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        self._serve()

    do_GET = do_PUT = do_HEAD = do_CONNECT = do_POST

    def log_message(self, format: str, *args: object) -> None:
        """Silent: tests read ``Kaggle.calls``."""

    def _serve(self) -> None:
        tunnel = self.command == "CONNECT"  # for https: its target is host:port alone
        url = urlsplit(f"//{self.path}" if tunnel else self.path)
        kaggle = self.server.kaggle
        host = url.netloc or self.headers.get("Host", "")
        headers = {name.lower(): value for name, value in self.headers.items()}
        if host == HOST:
            name, route = (
                f"storage {self.command} {url.path}",
                f"storage {self.command}",
            )
        else:
            name = route = url.path.rpartition("/")[2]
        resumed = "range" in headers or "content-range" in headers
        fault = kaggle.next_fault(route, resumed) or NO_FAULT
        put = host == HOST and self.command == "PUT"
        body = self._body(headers, fault.cut if put and fault.status is None else None)
        asked = json.loads(body) if body and host != HOST else None
        kaggle.record(Call(self.command, name, asked, headers, host))
        if fault.hang_s:
            kaggle.closing.wait(fault.hang_s)
        if put and fault.cut is not None:
            kaggle.storage.put(
                url.path, url.query, headers, body[: fault.cut], cut=True
            )
        if fault.after:
            self._answer(host, url, headers, body, asked)
        if fault.status or fault.body is not None:
            self._send(fault_reply(fault, host))
        elif fault.cut is not None and (put or host != HOST):
            self.close_connection = True
        else:
            self._send(self._answer(host, url, headers, body, asked), fault.cut)

    def _answer(
        self,
        host: str,
        url: SplitResult,
        headers: dict[str, str],
        body: bytes,
        asked: Any,
    ) -> Reply:
        kaggle = self.server.kaggle
        if host == HOST and self.command == "GET":
            return kaggle.storage.get(url.path, url.query, headers)
        if host == HOST and self.command == "PUT":
            return kaggle.storage.put(url.path, url.query, headers, body)
        if host.split(":")[0] not in OURS:
            return Reply(502, b"the stand-in reaches nobody else")
        try:
            with kaggle.lock:
                return call(kaggle, url.path, headers, asked or {})
        except Refused as refused:
            content = {"code": refused.status, "message": refused.message}
            return json_reply(refused.status, content)
        except Exception:  # noqa: BLE001 - the test is told at its end
            kaggle.errors.append(traceback.format_exc())
            return Reply(500, b"the stand-in broke")

    def _body(self, headers: dict[str, str], taken: int | None) -> bytes:
        """The request's body, or of a plain one only as many bytes as are taken."""
        if headers.get("transfer-encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        length = int(headers.get("content-length", 0))
        return self.rfile.read(length if taken is None else min(taken, length))

    def _send(self, reply: Reply, cut: int | None = None) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body if cut is None else reply.body[:cut])
        if cut is not None:
            self.close_connection = True


def call(kaggle: "Kaggle", path: str, headers: dict[str, str], asked: Json) -> Reply:
    """Answer a call of one of Kaggle's services."""
    parts = path.removeprefix("/api").split("/")[2:]  # without "" and "v1"
    if parts[-1] == "IntrospectToken":
        if asked.get("token") != kaggle.token:
            raise Refused(400, "Invalid token")
        return json_reply(200, {"active": True, "username": kaggle.username})
    if not kaggle.knows(headers.get("authorization", "")):
        raise Refused(401, "Unauthenticated")
    if parts[:3] == ["kernels", "logs", "stream"]:
        return kaggle.services["kernels.KernelsApiService"].stream(*parts[3:])
    service = kaggle.services.get(parts[0])
    method = getattr(service, parts[-1], None) if parts[-1][:1].isupper() else None
    if method is None:
        raise Refused(404, "Not Found")
    answer = method(asked)
    return answer if isinstance(answer, Reply) else json_reply(200, answer)


def fault_reply(fault: Fault, host: str) -> Reply:
    """The answer that a fault wants."""
    status = fault.status or 200
    if fault.body is not None:
        kind = "application/json" if fault.body.startswith(b"{") else "text/html"
        reply = Reply(status, fault.body, {"Content-Type": kind})
    elif host == HOST:
        reply = xml_error(status, fault.message or "AccessDenied")
    else:
        message = fault.message or HTTPStatus(status).phrase
        reply = json_reply(status, {"code": status, "message": message})
    if fault.retry_after is not None:
        reply.headers["Retry-After"] = str(fault.retry_after)
    return reply
