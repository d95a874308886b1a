"""The files that describe a bundle: config, metadata for Kaggle, manifest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaggle_kit import config
from kaggle_kit.bundling.leaks import check_no_leaks
from kaggle_kit.bundling.metadata import check_files
from kaggle_kit.bundling.notice import ATTRIBUTION
from kaggle_kit.config import Config
from kaggle_kit.data.non_landmarks import RECORD
from kaggle_kit.errors import ArtefactError
from kaggle_kit.inference.calibration import CALIBRATION, PLAIN_CALIBRATION
from kaggle_kit.storage.folders import FolderKind
from kaggle_kit.storage.json_files import JsonObject, json_text
from kaggle_kit.storage.manifest import (
    MANIFEST,
    METADATA,
    FileEntry,
    describe_file,
    read_manifest,
    upload_names,
)
from kaggle_kit.training.environment import read_environment


def _read_record(folder: Path) -> list[str]:
    """The files of an earlier bundle."""
    return [*read_manifest(folder).files, METADATA]


BUNDLE = FolderKind(
    MANIFEST,
    (
        *("kaggle_kit/*", "embedders/*", "gallery/*", "local/*", "LICENSE"),
        *("NOTICE.md", ATTRIBUTION, "classes.csv", "config.json", "names.csv"),
        *("tuning.json", RECORD, CALIBRATION, PLAIN_CALIBRATION, METADATA),
    ),
    _read_record,
)
LIBRARY, OTHER = "library", "other"
ADVICE = {  # for a part that is too large
    "embedders": "choose a smaller model.backbone, or fewer runs",
    "gallery": "set recognition.whiten to fewer axes, or make a smaller subset",
    "local": "lower local.n_features, or set recognition.verification=null",
}


@dataclass(frozen=True)
class BundleSizes(JsonObject):
    """The size of a bundle.

    Attributes:
        files: number of files.
        sizes_mb: megabytes of each part, largest first, and in total.
    """

    files: int
    sizes_mb: dict[str, float]


def write_config(settings: Config, folder: Path) -> None:
    """Write ``config.json``; of the path of a weights file only the name is kept."""
    if settings.model.weights is not None:
        name = Path(settings.model.weights).name
        model = settings.model.model_copy(update={"weights": name})
        settings = settings.model_copy(update={"model": model})
    config.write_json(settings, folder / "config.json")


def write_listing(listing: Mapping[str, Any], folder: Path) -> None:
    """Write ``dataset-metadata.json``."""
    _write_json(listing, folder / METADATA)


def write_manifest(
    folder: Path,
    out: Path,
    contents: Mapping[str, Any],
    private: Sequence[Path],
    max_mb: float | None,
) -> BundleSizes:
    """Check the files of a folder, and write its manifest.

    Args:
        folder: the partial folder.
        out: its final path, for error messages.
        contents: further entries of the manifest.
        private: paths of this machine that no file may contain.
        max_mb: upper bound of the size; None: no bound.

    Raises:
        ArtefactError: the folder is too large, or a file must not be uploaded.
    """
    files = {name: describe_file(folder / name) for name in upload_names(folder)}
    sizes = measure_parts(files)
    _check_size(out, sizes, max_mb)
    versions = read_environment()
    head = {
        "format": 3,
        "kit": {"version": versions.kaggle_kit, "commit": versions.commit},
        "packages": versions.packages,
    }
    _write_json({**head, **contents, "files": files}, folder / MANIFEST)
    check_files(folder)
    check_no_leaks(folder, private)
    return BundleSizes(len(files), sizes)


def measure_parts(files: Mapping[str, FileEntry]) -> dict[str, float]:
    """Sum the megabytes of each part of a bundle, largest first, and in total.

    Args:
        files: those in the manifest.
    """
    sizes: dict[str, int] = {}
    for name, file in files.items():
        top, slash, _ = name.partition("/")
        part = OTHER if not slash else LIBRARY if top == "kaggle_kit" else top
        sizes[part] = sizes.get(part, 0) + file.bytes
    items = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))
    items.append(("total", sum(sizes.values())))
    return {part: round(size / 1e6, 3) for part, size in items}


def _check_size(out: Path, sizes: Mapping[str, float], max_mb: float | None) -> None:
    if max_mb is None or sizes["total"] <= max_mb:
        return
    parts = [name for name in sizes if name != "total"][:3]
    largest = ", ".join(f"{name} {sizes[name]:g}" for name in parts)
    advice = "; ".join(f"{n}: {ADVICE[n]}" for n in parts if n in ADVICE)
    raise ArtefactError(
        f"{out}: expected at most {max_mb:g} MB, got {sizes['total']:g} MB ({largest}); "
        f"raise --max-mb{f', or for {advice}' if advice else ''}"
    )


def _write_json(values: Any, path: Path) -> None:
    path.write_text(json_text(values, ensure_ascii=False), encoding="utf-8")
