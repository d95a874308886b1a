"""The record of unpacked tars, ``tars.json``."""

from dataclasses import dataclass
from pathlib import Path

from kaggle_kit.errors import ArtefactError
from kaggle_kit.storage import json_files

RECORD = "tars.json"
ALL = "all"


@dataclass(frozen=True, slots=True)
class TarRecord:
    """A tar in ``tars.json``.

    Attributes:
        kept: ``ALL``, or the digests of the selections that were unpacked.
        photos, bytes: of the largest of these selections.
    """

    md5: str
    kept: list[str]
    photos: int
    bytes: int


def read_tar_records(path: Path) -> dict[str, TarRecord]:
    """Read ``tars.json``: a record per tar, by the tar's number; empty without a file.

    Raises:
        ArtefactError: the file is damaged.
    """
    if not path.exists():
        return {}
    try:
        return {
            str(number): TarRecord(
                md5=str(values["md5"]),
                kept=[str(key) for key in values["kept"]],
                photos=int(values["photos"]),
                bytes=int(values["bytes"]),
            )
            for number, values in json_files.read_json(path).items()
        }
    except (*json_files.DAMAGE, KeyError, TypeError, AttributeError) as error:
        raise ArtefactError(
            f"{path}: expected the record of downloaded tars, got {error!r:.200}; delete "
            f"it, then run the same command again"
        ) from None
