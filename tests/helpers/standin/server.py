"""The stand-in itself: HTTP, credentials, faults, and what tests set and read."""

import base64
import json
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.helpers.standin.competitions import Competitions
from tests.helpers.standin.datasets import Datasets
from tests.helpers.standin.handler import OURS, Handler, Server
from tests.helpers.standin.kernels import Kernels
from tests.helpers.standin.replies import Call, Fault, Json
from tests.helpers.standin.storage import HOST, Storage

Scores = tuple[str, str] | Callable[[bytes], tuple[str, str]]


class Kaggle:
    """Kaggle on an ephemeral port of loopback, from ``with`` until its end.

    Attributes (tests read and set them freely):
        competitions: by slug; made by :meth:`add_competition`.
        datasets: by ``owner/slug``, a list of versions: dicts of ``files`` (name to
            bytes), ``metadata``, ``notes``, ``status`` and ``statuses`` (those to come).
        dataset_statuses: what a new version shows, one a poll. Its files are there once
            READY has been shown; an empty list makes it ready at once.
        kernels: by ``owner/slug``, a list of versions: dicts of ``source``, ``metadata``
            (the rest of the push), ``inputs`` (source to its files, at the push),
            ``status``, ``statuses``, ``files`` and ``log`` (once over),
            ``failureMessage``, ``done``.
        kernel_statuses: what a new session shows, one a poll of its kernel.
        on_push: called in a thread with a new version; returns the session's output
            files, its log and its last status. An exception ends it as ERROR.
        models: known ``owner/model/framework/variation/version``.
        gpu_sessions: how many unfinished GPU sessions may exist.
        gpu_quota_s, tpu_quota_s: seconds used this week, seconds allowed.
        submissions: dicts in the order they came, with ``ref``, ``competition``,
            ``fileName``, ``description``, ``content``, ``kernel`` ((``owner/slug``,
            version) or None), ``status``, ``publicScore``, ``privateScore``.
        submission_statuses: what a new submission shows, one a poll.
        calls: every request, in order.
        leaks: calls that showed the storage, or a stranger, a credential; must stay
            empty.
        strays: calls to hosts that are neither Kaggle nor its storage; refused.
    """

    username = "tester"
    key = "0123456789abcdef0123456789abcdef"
    token = "KGAT_0123456789abcdef"

    def __init__(self) -> None:
        self.competitions: dict[str, Json] = {}
        self.datasets: dict[str, list[Json]] = {}
        self.dataset_statuses = ["BLOBS_RECEIVED", "READY"]
        self.kernels: dict[str, list[Json]] = {}
        self.kernel_statuses = ["QUEUED", "RUNNING", "COMPLETE"]
        self.on_push: Callable[[Json], tuple[dict[str, bytes], str, str]] | None = None
        self.models: set[str] = set()
        self.gpu_sessions = 2
        self.gpu_quota_s = (3600, 108_000)
        self.tpu_quota_s = (0, 72_000)
        self.submissions: list[Json] = []
        self.submission_statuses = ["PENDING", "COMPLETE"]
        self.calls: list[Call] = []
        self.leaks: list[Call] = []
        self.strays: list[Call] = []
        self.storage = Storage()
        self.lock = threading.RLock()  # held while a service answers
        self._log_lock = threading.Lock()  # never held for long
        self.closing = threading.Event()
        self.errors: list[str] = []
        self._faults: dict[str, list[Fault]] = {}
        datasets = Datasets(self)
        self.services: dict[str, Any] = {
            "competitions.CompetitionApiService": Competitions(self),
            "datasets.DatasetApiService": datasets,
            "blobs.BlobApiService": datasets,
            "kernels.KernelsApiService": Kernels(self),
        }

    def __enter__(self) -> Self:
        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.kaggle = self
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.05])
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        if self.errors and kind is None:
            raise AssertionError("the stand-in broke:\n" + "\n".join(self.errors))

    def env(self, home: Path, *, token: bool = False) -> dict[str, str]:
        """An environment that knows this server alone, and its credentials.

        Everything that the client writes goes below ``home``. The credentials are a
        ``kaggle.json``, or a ``KAGGLE_API_TOKEN`` if ``token``.
        """
        config, tmp = home / "config", home / "tmp"
        config.mkdir(parents=True, exist_ok=True)
        tmp.mkdir(exist_ok=True)
        env = {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.defpath]),
            "HOME": str(home),
            "TMPDIR": str(tmp),
            "KAGGLE_CONFIG_DIR": str(config),
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            "http_proxy": f"http://127.0.0.1:{self.port}",
            # nothing may leave the machine: what should not be asked is refused here
            "https_proxy": f"http://127.0.0.1:{self.port}",
        }
        credentials = config / "kaggle.json"
        credentials.unlink(missing_ok=True)
        if token:
            return env | {"KAGGLE_API_TOKEN": self.token}
        content = json.dumps({"username": self.username, "key": self.key})
        credentials.touch(mode=0o600)
        credentials.write_text(content, "utf-8")
        return env

    def add_competition(
        self,
        slug: str,
        files: Mapping[str, bytes],
        *,
        title: str | None = None,
        solution_scores: Scores = ("0.50000", "0.40000"),
        accepted: bool = True,
        daily_limit: int = 5,
        code: bool = False,
        zipped: Sequence[str] = (),
    ) -> None:
        """Open a competition.

        Args:
            slug: Its short name.
            files: Content by name, folders with ``/``.
            title: Its long name; made from the slug by default.
            solution_scores: Public and private score of every submission, or a function
                of its content; the function's ValueError makes the submission an ERROR.
            accepted: Whether the user has accepted the rules.
            daily_limit: Submissions a day (a stand-in lives one day).
            code: Whether only kernels may submit.
            zipped: Names that are downloaded one by one as ``<name>.zip``.
        """
        self.competitions[slug] = {
            "title": title or slug.replace("-", " ").title(),
            "files": dict(files),
            "scores": solution_scores,
            "accepted": accepted,
            "daily_limit": daily_limit,
            "code": code,
            "zipped": set(zipped),
        }

    def add_dataset(
        self,
        ref: str,
        files: Mapping[str, bytes],
        metadata: Json | None = None,
        notes: str = "",
        *,
        statuses: Sequence[str] = (),
    ) -> None:
        """Add a version to a dataset, the first one too; ready if no statuses are left."""
        version = {
            "files": dict(files),
            "metadata": dict(metadata or {}),
            "notes": notes,
            "status": "NOT_YET_PERSISTED" if statuses else "READY",
            "statuses": list(statuses),
        }
        self.datasets.setdefault(ref, []).append(version)

    def fault(
        self,
        route: str,
        *,
        status: int | None = None,
        message: str = "",
        body: bytes | None = None,
        retry_after: int | None = None,
        cut: int | None = None,
        hang_s: float = 0,
        on_resume: bool = False,
        skip: int = 0,
        times: int = 1,
        after: bool = False,
    ) -> None:
        """Make the next calls of a route go wrong. Faults of a route queue up.

        Args:
            route: ``"ListDataFiles"`` and so on, ``"storage GET"`` or ``"storage PUT"``.
            status: Answer this, with ``message`` as Kaggle's JSON or the storage's XML.
            body: Answer this instead, as it is (with status 200 by default).
            retry_after: Seconds, for a Retry-After header.
            cut: Close the connection: after this many bytes of the file (storage GET),
                having taken this many (storage PUT), or without an answer (elsewhere).
                With a status, a PUT is read to its end and answered, but only this many
                bytes are kept.
            hang_s: Seconds of silence before anything is answered.
            on_resume: Only requests with a Range or Content-Range header.
            skip: This many matching calls go well first.
            times: Then so many fail.
            after: Do what was asked first, so that only the answer is wrong.
        """
        fault = Fault(
            status,
            message,
            body,
            retry_after,
            cut,
            hang_s,
            on_resume,
            skip,
            times,
            after,
        )
        with self._log_lock:
            self._faults.setdefault(route, []).append(fault)

    def next_fault(self, route: str, resumed: bool) -> Fault | None:
        """The fault that this call gets, if any; used by the server."""
        with self._log_lock:
            queue = self._faults.get(route, [])
            for fault in queue:
                if fault.on_resume and not resumed:
                    continue
                if fault.skip:
                    fault.skip -= 1
                    return None
                fault.times -= 1
                if not fault.times:
                    queue.remove(fault)
                return fault
        return None

    def names(self) -> list[str]:
        """The names of all calls so far."""
        return [call.name for call in self.calls]

    def record(self, call: Call) -> None:
        """Note a request; used by the server."""
        with self._log_lock:
            self.calls.append(call)
            ours = call.host.split(":")[0] in OURS
            if not ours and "authorization" in call.headers:
                self.leaks.append(call)
            if not ours and call.host != HOST:
                self.strays.append(call)

    def knows(self, authorization: str) -> bool:
        """Whether an Authorization header is the user's."""
        pair = base64.b64encode(f"{self.username}:{self.key}".encode()).decode()
        return authorization in (f"Basic {pair}", f"Bearer {self.token}")
