"""The record of unpacked tars by part of the data set, ``tars.json``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaggle_kit.download.parts import PARTS, TRAIN, Part
from kaggle_kit.errors import ArtefactError
from kaggle_kit.storage import json_files

RECORD = "tars.json"
ALL = "all"
FOLDERS = ", ".join(f"{part.folder}/" for part in PARTS.values())


@dataclass(frozen=True, slots=True)
class TarRecord:
    """A tar in ``tars.json``.

    Attributes:
        kept: ``ALL``, or the digests of the selections that were unpacked.
        photos, bytes: the number and the bytes of its images that exist, of any selection.
    """

    md5: str
    kept: list[str]
    photos: int
    bytes: int


@dataclass(frozen=True, slots=True)
class PartRecord:
    """The unpacked tars of a part.

    Attributes:
        resize: the longest side of its images in pixels; None: as they are in the tars.
        tars: by number.
    """

    resize: int | None
    tars: dict[str, TarRecord]


def read_tar_records(path: Path) -> dict[str, PartRecord]:
    """Read ``tars.json``: a record per part, by the part's name; empty without a file.

    Before 0.2.0 the file had the tars of ``train`` only, by number.

    Raises:
        ArtefactError: the file is damaged.
    """
    if not path.exists():
        return {}
    try:
        values = json_files.read_json(path)
        if values.keys() and all(map(str.isdecimal, values)):
            return {TRAIN.name: PartRecord(None, _read_tars(values))}
        return {
            str(name): PartRecord(
                resize=None if part["resize"] is None else int(part["resize"]),
                tars=_read_tars(part["tars"]),
            )
            for name, part in values.items()
        }
    except (*json_files.DAMAGE, KeyError, TypeError, AttributeError) as error:
        raise ArtefactError(
            f"{path}: expected the record of downloaded tars, got {error!r:.200}; delete "
            f"it, and those of the folders {FOLDERS} that were made with --resize, then run "
            f"the same command again"
        ) from None


def open_part_record(
    records: dict[str, PartRecord], root: Path, part: Part, resize: int | None
) -> PartRecord:
    """The record of a part in ``records``, where it is added if there is none.

    Raises:
        ArtefactError: the part's folder has images of another size.
    """
    record = records.get(part.name, PartRecord(None, {}))
    folder = root / part.folder
    if record.resize != resize:
        if folder.is_dir() and any(folder.iterdir()):
            raise ArtefactError(
                f"{folder}: expected {_describe(record.resize)}, as for the images that "
                f"are there, got {_describe(resize)}; give the same, or choose another "
                f"--out"
            )
        record = PartRecord(resize, {})
    records[part.name] = record
    return record


def _read_tars(values: dict[str, Any]) -> dict[str, TarRecord]:
    return {
        str(number): TarRecord(
            md5=str(tar["md5"]),
            kept=[str(key) for key in tar["kept"]],
            photos=int(tar["photos"]),
            bytes=int(tar["bytes"]),
        )
        for number, tar in values.items()
    }


def _describe(resize: int | None) -> str:
    return "no --resize" if resize is None else f"--resize {resize}"
