"""Kernels: pushed versions, their sessions, and what these leave behind."""

import json
import re
import threading
import traceback
from collections.abc import Callable, Container
from typing import TYPE_CHECKING

from tests.helpers.standin.replies import Json, Refused, Reply, advance, page

if TYPE_CHECKING:
    from tests.helpers.standin.server import Kaggle

PATIENCE_S = 5  # how long a poll waits for a kernel that is really running
SOURCES = {
    "datasetDataSources": "invalidDatasetSources",
    "competitionDataSources": "invalidCompetitionSources",
    "kernelDataSources": "invalidKernelSources",
    "modelDataSources": "invalidModelSources",
}


class Kernels:
    """``kernels.KernelsApiService``; methods are named as on the wire."""

    def __init__(self, kaggle: "Kaggle"):
        self.kaggle = kaggle

    def SaveKernel(self, request: Json) -> Json:
        ref = request["slug"]
        if ref.split("/")[0] != self.kaggle.username:
            raise Refused(403, "Permission 'kernels.update' was denied")
        if (
            request.get("enableGpu")
            and self._gpu_sessions() >= self.kaggle.gpu_sessions
        ):
            limit = self.kaggle.gpu_sessions
            return {"error": f"Maximum batch GPU session count of {limit} reached."}
        known: dict[str, Container[str]] = {
            "datasetDataSources": self.kaggle.datasets,
            "competitionDataSources": self.kaggle.competitions,
            "kernelDataSources": self.kaggle.kernels,
            "modelDataSources": self.kaggle.models,
        }
        metadata = {key: request[key] for key in request if key != "text"}
        invalid = {}
        for sources, complaint in SOURCES.items():
            given = request.get(sources, [])
            bad = [source for source in given if bare(source) not in known[sources]]
            metadata[sources] = [source for source in given if source not in bad]
            invalid[complaint] = bad
        versions = self.kaggle.kernels.setdefault(ref, [])
        version = self._session(request.get("text", ""), metadata)
        versions.append(version)
        if request.get("kernelExecutionType") == "QUICK_SAVE":  # saved, not run
            version |= {"status": "NEW_SCRIPT", "statuses": []}
        else:
            self._start(version)
        url = f"https://www.kaggle.com/code/{ref}"
        number = len(versions)
        return {"ref": f"/code/{ref}", "url": url, "versionNumber": number} | invalid

    def GetKernelSessionStatus(self, request: Json) -> Json:
        asked = self._version(request)
        for version in self.kaggle.kernels[ref_of(request)]:
            last = len(version["statuses"]) == 1
            if not last or version["done"].wait(PATIENCE_S):
                advance(version)
        reply = {"status": asked["status"]}
        if over(asked):
            reply["failureMessage"] = asked["failureMessage"]
        return reply

    def ListKernelSessionOutput(self, request: Json) -> Json:
        version = self._version(request)
        if not over(version):
            return {"files": [], "log": "", "nextPageToken": ""}
        names, token = page(sorted(version["files"]), request)
        root = f"kernels/{ref_of(request)}/output"
        files = [
            {
                "fileName": name,
                "url": self.kaggle.storage.sign(
                    f"{root}/{name}", version["files"][name]
                ),
            }
            for name in names
        ]
        return {"files": files, "log": version["log"], "nextPageToken": token}

    def GetKernel(self, request: Json) -> Json:
        slug, _, number = request["kernelSlug"].partition("/")
        label = {"versionLabel": f"v{number}"} if number else {}
        version = self._version(request | {"kernelSlug": slug} | label)
        metadata = version["metadata"]
        about = {
            "ref": metadata["slug"],
            "title": metadata.get("newTitle", slug),
            "slug": slug,
            "author": self.kaggle.username,
            "currentVersionNumber": len(self.kaggle.kernels[metadata["slug"]]),
        }
        blob = {
            "source": version["source"],
            "language": metadata.get("language", "python"),
            "kernelType": metadata.get("kernelType", "script"),
            "slug": slug,
        }
        return {"metadata": metadata | about, "blob": blob}

    def GetAcceleratorQuotaStatistics(self, request: Json) -> Json:
        (gpu, gpu_all), (tpu, tpu_all) = (
            self.kaggle.gpu_quota_s,
            self.kaggle.tpu_quota_s,
        )
        return {
            "quotaRefreshTime": "2026-01-03T00:00:00.000Z",
            "gpuQuota": {"timeUsed": f"{gpu}s", "totalTimeAllowed": f"{gpu_all}s"},
            "tpuQuota": {"timeUsed": f"{tpu}s", "totalTimeAllowed": f"{tpu_all}s"},
        }

    def stream(self, owner: str, slug: str) -> Reply:
        """The log that ``kernels logs --follow`` reads; whole, as after the session."""
        version = self._version({"userName": owner, "kernelSlug": slug})
        log = version["log"] if over(version) else "[]"
        return Reply(200, log.encode(), {"Content-Type": "application/json"})

    def _session(self, source: str, metadata: Json) -> Json:
        return {
            "source": source,
            "metadata": metadata,
            "inputs": self._inputs(metadata),
            "status": "QUEUED",
            "statuses": list(self.kaggle.kernel_statuses),
            "files": {},
            "log": "",
            "failureMessage": "",
            "done": threading.Event(),
        }

    def _inputs(self, metadata: Json) -> dict[str, dict[str, bytes]]:
        """The files that each source has at this moment, as the session will see them."""
        inputs = {}
        for ref in metadata["datasetDataSources"]:
            ready = [
                version
                for version in self.kaggle.datasets[bare(ref)]
                if version["status"] == "READY"
            ]
            inputs[ref] = dict(ready[-1]["files"]) if ready else {}
        for slug in metadata["competitionDataSources"]:
            inputs[slug] = dict(self.kaggle.competitions[slug]["files"])
        for ref in metadata["kernelDataSources"]:
            inputs[ref] = dict(self.kaggle.kernels[bare(ref)][-1]["files"])
        return inputs

    def _start(self, version: Json) -> None:
        run = self.kaggle.on_push
        if run is None:
            version["done"].set()
        else:
            threading.Thread(target=self._run, args=[run, version], daemon=True).start()

    def _run(self, run: Callable, version: Json) -> None:
        try:
            files, log, status = run(version)
        except Exception:  # noqa: BLE001 - whatever it is, the session failed
            files, log, status = {}, traceback.format_exc(), "ERROR"
        version["files"], version["log"] = files, as_json_log(log)
        version["statuses"][-1:] = [status]
        version["done"].set()

    def _gpu_sessions(self) -> int:
        return sum(
            not over(version) and version["metadata"].get("enableGpu", False)
            for versions in self.kaggle.kernels.values()
            for version in versions
        )

    def _version(self, request: Json) -> Json:
        versions = self.kaggle.kernels.get(ref_of(request))
        if not versions:
            raise Refused(403, "Permission 'kernels.get' was denied")
        label = request.get("versionLabel", f"v{len(versions)}")
        number = int(label[1:]) if re.fullmatch(r"v\d+", label) else 0
        if not 0 < number <= len(versions):
            raise Refused(404, "Not Found")
        return versions[number - 1]


def ref_of(request: Json) -> str:
    """``owner/slug``, as the client's user writes it."""
    return f"{request['userName']}/{request['kernelSlug']}"


def bare(source: str) -> str:
    """A dataset's or kernel's ``owner/slug`` without a version."""
    parts = source.split("/")
    return "/".join(parts[:2]) if len(parts) == 3 else source


def over(version: Json) -> bool:
    """Whether a session has shown its last status."""
    return not version["statuses"]


def as_json_log(log: str) -> str:
    """A log as Kaggle keeps it: a JSON array of what went to which stream and when."""
    events = [
        {"stream_name": "stdout", "time": float(i), "data": line}
        for i, line in enumerate(log.splitlines(keepends=True))
    ]
    return json.dumps(events)
