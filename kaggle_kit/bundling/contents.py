"""What lies in a bundle: its listing for Kaggle, its manifest, and how large it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaggle_kit.bundling.leaks import check_no_leaks
from kaggle_kit.bundling.metadata import check_files
from kaggle_kit.errors import ArtefactError
from kaggle_kit.storage.json_files import JsonObject, json_text, to_json
from kaggle_kit.storage.manifest import (
    MANIFEST,
    METADATA,
    FileEntry,
    describe_file,
    upload_names,
)
from kaggle_kit.training.environment import read_environment

LIBRARY, OTHER = "library", "other"
SMALLER = {  # what to do about a part that is too large
    "embedders": "choose a smaller model.backbone, or fewer runs",
    "gallery": "set recognition.whiten to fewer axes, or make a smaller subset",
    "local": "lower local.n_features, or set recognition.verification=null",
}


@dataclass(frozen=True)
class BundleSizes(JsonObject):
    """What a bundle holds.

    Attributes:
        files: how many.
        sizes_mb: megabytes of each part, largest first, and in total.
    """

    files: int
    sizes_mb: dict[str, float]


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
    """Check what is in the folder, and write its manifest.

    Args:
        private: paths of this machine that no file may name.
    """
    files = {name: describe_file(folder / name) for name in upload_names(folder)}
    sizes = sizes_mb(files)
    _check_size(out, sizes, max_mb)
    kit = read_environment()
    head = {
        "format": 3,
        "kit": {"version": kit.kaggle_kit, "commit": kit.commit},
        "packages": kit.packages,
    }
    _write_json({**head, **contents, "files": to_json(files)}, folder / MANIFEST)
    check_files(folder)
    check_no_leaks(folder, private)
    return BundleSizes(len(files), sizes)


def sizes_mb(files: Mapping[str, FileEntry]) -> dict[str, float]:
    """Megabytes of each part of a bundle, largest first, and in total.

    Args:
        files: the manifest's.
    """
    sizes: dict[str, int] = {}
    for name, file in files.items():
        top, slash, _ = name.partition("/")
        part = OTHER if not slash else LIBRARY if top == "kaggle_kit" else top
        sizes[part] = sizes.get(part, 0) + file.bytes
    ordered = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))
    ordered.append(("total", sum(sizes.values())))
    return {part: round(size / 1e6, 3) for part, size in ordered}


def _check_size(out: Path, sizes: Mapping[str, float], max_mb: float | None) -> None:
    if max_mb is None or sizes["total"] <= max_mb:
        return
    parts = [name for name in sizes if name != "total"][:3]
    named = ", ".join(f"{name} {sizes[name]:g}" for name in parts)
    advice = "; ".join(f"{n}: {SMALLER[n]}" for n in parts if n in SMALLER)
    raise ArtefactError(
        f"{out}: expected at most {max_mb:g} MB, got {sizes['total']:g} MB ({named}); "
        f"raise --max-mb{f', or for {advice}' if advice else ''}"
    )


def _write_json(values: Any, path: Path) -> None:
    path.write_text(json_text(values, ensure_ascii=False), encoding="utf-8")
