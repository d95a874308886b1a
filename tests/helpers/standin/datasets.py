"""Datasets: snapshots of files that take a while to be ready."""

import io
import zipfile
from typing import TYPE_CHECKING

from tests.helpers.standin.replies import (
    Json,
    Refused,
    Reply,
    advance,
    listed,
    page,
    zipped,
)

if TYPE_CHECKING:
    from tests.helpers.standin.server import Kaggle


class Datasets:
    """``datasets.DatasetApiService`` and ``blobs.BlobApiService``; named as on the wire."""

    def __init__(self, kaggle: "Kaggle"):
        self.kaggle = kaggle

    def StartBlobUpload(self, request: Json) -> Json:
        size = request.get("contentLength", 0)
        return self.kaggle.storage.start(request["name"], size)

    def GetDatasetStatus(self, request: Json) -> Json:
        return {"status": advance(self._versions(request)[-1])}

    def GetDataset(self, request: Json) -> Json:
        versions = self._versions(request)
        metadata = versions[-1]["metadata"]
        return {
            "ref": ref_of(request),
            "title": metadata.get("title", ""),
            "isPrivate": metadata.get("isPrivate", False),
            "currentVersionNumber": max([0, *ready(versions)]),
        }

    def GetDatasetMetadata(self, request: Json) -> Json:
        license_name = self._versions(request)[-1]["metadata"].get("licenseName")
        return {"info": {"licenses": [{"name": license_name or "unknown"}]}}

    def ListDatasetFiles(self, request: Json) -> Json:
        _, version = self._visible(request)
        files, token = page(listed(version["files"]), request)
        return {"datasetFiles": files, "nextPageToken": token}

    def DownloadDataset(self, request: Json) -> Reply:
        number, version = self._visible(request)
        root = f"datasets/{ref_of(request)}/{number}"
        name = request.get("fileName")
        if name is None:
            data = zipped(version["files"])
            return self.kaggle.storage.redirect(f"{root}/archive.zip", data)
        if name not in version["files"]:
            raise Refused(404, "Not Found")
        return self.kaggle.storage.redirect(f"{root}/{name}", version["files"][name])

    def CreateDataset(self, request: Json) -> Json:
        ref = f"{request['ownerSlug']}/{request['slug']}"
        self._check_owner(request["ownerSlug"], "datasets.create")
        if ref in self.kaggle.datasets:
            title = request["title"]
            return failed(
                f'The requested title "{title}" is already in use by a dataset. '
                "Please choose another title."
            )
        kept = "title licenseName isPrivate subtitle description categoryIds"
        metadata = {key: request[key] for key in kept.split() if key in request}
        return self._append(ref, request.get("files", []), metadata, "Initial release")

    def CreateDatasetVersion(self, request: Json) -> Json:
        ref, body = ref_of(request), request["body"]
        versions = self.kaggle.datasets.get(ref)
        self._check_owner(request["ownerSlug"], "datasets.update")
        if versions is None:
            raise Refused(403, "Permission 'datasets.update' was denied")
        kept = "subtitle description categoryIds"
        metadata = versions[-1]["metadata"] | {
            key: body[key] for key in kept.split() if key in body
        }
        reply = self._append(
            ref, body.get("files", []), metadata, body.get("versionNotes", "")
        )
        if body.get("deleteOldVersions") and reply["status"] == "ok":
            for old in versions[:-1]:
                old["files"] = {}
        return reply

    def _append(self, ref: str, files: list, metadata: Json, notes: str) -> Json:
        content: dict[str, bytes] = {}
        for file in files:
            name, data = self.kaggle.storage.uploaded(file["token"])
            content |= unpacked(name, data)
        if not content:
            return failed("At least one file is required")
        self.kaggle.add_dataset(
            ref, content, metadata, notes, statuses=self.kaggle.dataset_statuses
        )
        return {
            "ref": ref,
            "url": f"https://www.kaggle.com/datasets/{ref}",
            "status": "ok",
            "error": "",
        }

    def _check_owner(self, owner: str, permission: str) -> None:
        if owner != self.kaggle.username:
            raise Refused(403, f"Permission '{permission}' was denied")

    def _versions(self, request: Json) -> list[Json]:
        versions = self.kaggle.datasets.get(ref_of(request))
        if versions is None:
            raise Refused(403, "Permission 'datasets.get' was denied")
        return versions

    def _visible(self, request: Json) -> tuple[int, Json]:
        """Number and content of the version asked for, else of the last that is ready."""
        versions = self._versions(request)
        numbers = ready(versions)
        number = request.get("datasetVersionNumber") or max([0, *numbers])
        if number not in numbers:
            raise Refused(404, "Not Found")
        return number, versions[number - 1]


def ready(versions: list[Json]) -> list[int]:
    """Numbers of the versions that can be read."""
    return [n for n, version in enumerate(versions, 1) if version["status"] == "READY"]


def ref_of(request: Json) -> str:
    """``owner/slug``, as the client's user writes it."""
    return f"{request['ownerSlug']}/{request['datasetSlug']}"


def failed(error: str) -> Json:
    """How Kaggle says no to a new dataset or version: with status 200."""
    return {"status": "error", "error": error}


def unpacked(name: str, data: bytes) -> dict[str, bytes]:
    """An uploaded file as the dataset shows it: ``<folder>.zip`` becomes the folder."""
    if not name.endswith(".zip") or not zipfile.is_zipfile(io.BytesIO(data)):
        return {name: data}
    folder = name.removesuffix(".zip")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = [info.filename for info in archive.infolist() if not info.is_dir()]
        return {f"{folder}/{inner}": archive.read(inner) for inner in names}
