"""Download tars of a part of the public data set, and unpack the wanted images.

A tar is downloaded, verified by its checksum, unpacked and deleted before the next one.
So the disk holds the wanted images and one tar.
"""

import hashlib
import re
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from kaggle_kit.data.index import image_ids
from kaggle_kit.download import http
from kaggle_kit.download.archives import Choice, UnpackCounts, unpack_tar
from kaggle_kit.download.parts import TRAIN, Part
from kaggle_kit.download.responses import Session
from kaggle_kit.download.staging import BrokenImages, StagingFolder, format_size
from kaggle_kit.download.tar_records import ALL, RECORD, PartRecord, TarRecord
from kaggle_kit.errors import DataError, IncompleteError, RefusedError
from kaggle_kit.storage import json_files
from kaggle_kit.storage.json_files import OPTIONAL

MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Limits:
    """Additionally accepted checksums, and the bytes of disk that may be used."""

    accepted: frozenset[str] = frozenset()
    n_bytes: float = float("inf")


@dataclass(frozen=True, slots=True)
class TarCounts:
    """The counts of a download of tars.

    Attributes:
        tars: tars that were asked for.
        fetched: images that were unpacked.
        there: wanted images that existed before.
        bytes: bytes of the tars that were downloaded.
        broken: images that do not decode.
        missing: selected images that are in none of the tars.
    """

    tars: int
    fetched: int
    there: int
    bytes: int
    broken: int
    missing: int | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The images that are wanted of a part.

    Attributes:
        ids: None means all.
        enough: how many of them that decode are wanted; None means all.
    """

    ids: frozenset[str] | None = None
    enough: int | None = None

    @property
    def key(self) -> str:
        """What the record of a tar says if all of them in it were unpacked."""
        if self.ids is None:
            return ALL
        return hashlib.sha256("\n".join(sorted(self.ids)).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class TarDownloader:
    """Downloads tars of a part from a server to a staging folder, and unpacks them."""

    session: Session
    url: str
    staging: StagingFolder
    limits: Limits
    part: Part
    wanted: Wanted
    records: dict[str, PartRecord]

    @property
    def folder(self) -> Path:
        """The folder of the images."""
        return self.staging.root / self.part.folder

    @property
    def record(self) -> PartRecord:
        """The record of the part."""
        return self.records[self.part.name]

    def fetch(self, numbers: Sequence[int]) -> TarCounts:
        """Download and unpack the tars that are not recorded yet for what is wanted.

        Raises:
            DataError: they have too few of the wanted images; these are unpacked.
        """
        n_existing = self._count_wanted()
        self._write_record()  # before there is an image of this size
        unpacked = [self._fetch_missing(number) for number in numbers]
        n_broken = BrokenImages(self.staging).write_table()
        n_missing = None
        if self.wanted.enough is not None:
            self._require_enough()
        elif self.wanted.ids is not None:
            n_missing = len(self.wanted.ids) - self._count_wanted()
        else:
            n_existing = sum(counts.there for counts, _ in unpacked)
        return TarCounts(
            tars=len(numbers),
            fetched=sum(counts.fetched for counts, _ in unpacked),
            there=n_existing,
            bytes=sum(size for _, size in unpacked),
            broken=n_broken,
            missing=n_missing,
        )

    def _fetch_missing(self, number: int) -> tuple[UnpackCounts, int]:
        """Fetch a tar, unless that is not needed; record it.

        Returns:
            What was unpacked, and the bytes of the tar; 0 if it was not needed.
        """
        path = self._tar_path(number)
        record = self._tar_record(number)
        key = self.wanted.key
        if {ALL, key} & set(record.kept):
            path.unlink(missing_ok=True)  # of a run that was killed before it did so
            return UnpackCounts(0, record.photos, record.photos, record.bytes), 0
        most = self._count_lacking()
        if most == 0 and not path.exists():
            return UnpackCounts(0, 0, record.photos, record.bytes), 0
        counts, md5, size = self._fetch_tar(number, most)
        kept = record.kept if counts.left else [*record.kept, key]
        self.record.tars[str(number)] = TarRecord(
            md5=md5,
            kept=[ALL] if ALL in kept else kept,
            photos=counts.n_files,
            bytes=counts.n_bytes,
        )
        self._write_record()
        path.unlink()
        return counts, size

    def _fetch_tar(
        self, number: int, most: int | None
    ) -> tuple[UnpackCounts, str, int]:
        """Download, verify and unpack a tar; return the counts, its MD5 and its size.

        Args:
            most: how many images to unpack; None means all that are wanted.
        """
        name = self._full_name(number)
        expected = self._expected_md5(number)
        path = self._tar_path(number)
        choice = Choice(self.part.folder, self.wanted.ids, most, self.record.resize)
        keeps_all = choice.ids is None and choice.side is None

        def check_tar_space(size: int, existing: int) -> None:
            images = size if keeps_all else 0  # otherwise not known before it is there
            here = self._tar_record(number).bytes
            new = size - existing + max(images - here, 0)
            self._require_space(number, new, size + max(images, here))

        if not path.exists():  # else an earlier run completed it, but did not unpack it
            url = f"{self.url}/{name}"
            http.fetch_file(self.session, url, path, check_tar_space)
        with path.open("rb") as file:
            md5 = hashlib.file_digest(file, "md5").hexdigest()
        if md5 != expected and md5 not in self.limits.accepted:
            path.unlink()
            raise IncompleteError(
                f"{name}: expected the checksum {expected}, got {md5}; run the same "
                f"command again, or with --accept-md5 {md5} if you trust it"
            )
        size = path.stat().st_size

        def check_image_space(new: int, images: int) -> None:
            self._require_space(number, new, size + images)

        try:
            counts = unpack_tar(path, self.staging, choice, check_image_space)
            return counts, md5, size
        except (tarfile.TarError, EOFError) as error:
            path.unlink()
            raise IncompleteError(
                f"{name}: expected an intact tar, got a damaged one ({str(error)[:200]}); run the "
                f"same command again"
            ) from None

    def _expected_md5(self, number: int) -> str:
        name = _tar_name(number).replace(".tar", ".txt")
        url = f"{self.url}/md5sum/{self.part.name}/md5.{name}"
        md5 = (http.fetch_text(self.session, url).split() or [""])[0].lower()
        if not MD5.fullmatch(md5):
            raise RefusedError(
                f"{url}: expected an MD5 checksum, got {md5[:80]!r}; check --url"
            )
        return md5

    def _require_space(self, number: int, new: int, total: int) -> None:
        """Check the disk, and the user's limit, before a tar or its images are written.

        Args:
            new: bytes that will be written.
            total: bytes of the tar and of all its images, including existing ones.
        """
        name = self._full_name(number)
        limit = self.limits.n_bytes
        tars = [tar for part in self.records.values() for tar in part.tars.values()]
        used = sum(tar.bytes for tar in tars) - self._tar_record(number).bytes
        if used + total > limit:
            raise DataError(
                f"{name}: expected to stay within --disk-gb, {format_size(limit)}, got "
                f"{format_size(used)} of images of other tars, and {format_size(total)} for "
                f"this one and its images; allow more, or download fewer tars"
            )
        self.staging.require_space(new, name)

    def _count_wanted(self) -> int:
        """How many of the wanted images exist; 0 if all images are wanted.

        If a number of them is wanted, those that do not decode are left out.
        """
        ids = self.wanted.ids
        if ids is None or not self.folder.is_dir():
            return 0
        there = ids.intersection(image_ids(self.folder))
        if self.wanted.enough is None:
            return len(there)
        broken = {PurePosixPath(name) for name in BrokenImages(self.staging).read()}
        folder = PurePosixPath(self.part.folder)
        return len(there - {name.stem for name in broken if folder in name.parents})

    def _count_lacking(self) -> int | None:
        """How many wanted images are still lacking; None: as many as the tars have."""
        if self.wanted.enough is None:
            return None
        return max(0, self.wanted.enough - self._count_wanted())

    def _require_enough(self) -> None:
        if self._count_lacking():
            n_wanted = self._count_wanted()
            raise DataError(
                f"{self.folder}: expected {self.wanted.enough} images without a landmark, "
                f"got {n_wanted}, all that these tars have; ask for at most {n_wanted}, or "
                f"for more --tars"
            )

    def _tar_record(self, number: int) -> TarRecord:
        return self.record.tars.get(str(number), TarRecord("", [], 0, 0))

    def _full_name(self, number: int) -> str:
        return f"{self.part.name}/{_tar_name(number)}"

    def _tar_path(self, number: int) -> Path:
        prefix = "" if self.part is TRAIN else f"{self.part.name}_"
        return self.staging.folder / f"{prefix}{_tar_name(number)}"

    def _write_record(self) -> None:
        json_files.write_json(self.records, self.staging.root / RECORD)


def _tar_name(number: int) -> str:
    return f"images_{number:03}.tar"
