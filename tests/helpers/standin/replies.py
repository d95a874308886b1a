"""What every part of the stand-in answers with."""

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Json = dict[str, Any]
EPOCH = (2021, 8, 1, 0, 0, 0)
CREATED = "2021-08-01T00:00:00.123Z"


@dataclass
class Reply:
    """One HTTP answer."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class Call(NamedTuple):
    """One request that came in."""

    method: str  # of HTTP
    name: str  # "ListDataFiles", or "storage GET /path"
    json: Any  # what was asked, None for the storage
    headers: dict[str, str]  # names in lower case
    host: str


@dataclass
class Fault:
    """What goes wrong; see :meth:`Kaggle.fault`."""

    status: int | None = None
    message: str = ""
    body: bytes | None = None
    retry_after: int | None = None
    cut: int | None = None
    hang_s: float = 0
    on_resume: bool = False
    skip: int = 0
    times: int = 1
    after: bool = False


class Refused(Exception):
    """Kaggle says no: the client gets this status and message."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status
        self.message = message


def json_reply(status: int, content: Json) -> Reply:
    """An answer of Kaggle's own services."""
    kind = {"Content-Type": "application/json; charset=utf-8"}
    return Reply(status, json.dumps(content).encode(), kind)


def xml_error(status: int, code: str) -> Reply:
    """An error as the storage sends it: XML, as if it were the file."""
    body = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code></Error>"
    return Reply(status, body.encode(), {"Content-Type": "application/xml"})


def page(items: list, request: Json) -> tuple[list, str]:
    """The page a request asks for, and the token of the next ("" after the last)."""
    start = int(request.get("pageToken") or 0)
    end = start + min(request.get("pageSize") or 20, 200)
    return items[start:end], str(end) if end < len(items) else ""


def listed(files: Mapping[str, bytes]) -> list[Json]:
    """Files as Kaggle lists them, sorted by name."""
    return [
        {"ref": name, "name": name, "totalBytes": len(data), "creationDate": CREATED}
        for name, data in sorted(files.items())
    ]


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A zip of the files; the same files give the same bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name, EPOCH), data)
    return out.getvalue()


def advance(item: Json) -> str:
    """Time passes by one poll: the next of the item's statuses, the last one for good."""
    if item["statuses"]:
        item["status"] = item["statuses"].pop(0)
    return item["status"]
