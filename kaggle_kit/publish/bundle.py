"""The bundle: library, model and gallery in one folder, for ``kaggle datasets version``."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import kaggle_kit
from kaggle_kit.paths import written_dir
from kaggle_kit.publish.manifest import MANIFEST, described
from kaggle_kit.recognition.prepare import prepare, settings_of


def bundle(
    runs: Sequence[Path],
    competition: Path,
    out: Path,
    changes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write the folder ``out`` from one or several runs and the photos of their subset.

    It holds ``kaggle_kit/`` (this library), ``embedders/`` (a SavedModel and, or, visual
    words for each run), ``gallery/``, ``local/`` where geometry is looked at,
    ``config.json`` (with the ranking as it was tuned), ``classes.csv``, ``names.csv``,
    ``tuning.json`` and a manifest with the size and SHA-256 of every file, the versions
    the runs were made with, and the scores on the validation and test splits.

    Args:
        runs: the first one's config says how to rank; several make an ensemble.
        changes: settings to replace in that config, by dotted name.

    Returns:
        The number of files, their megabytes, gallery and pool sizes, scores, the ranking.

    Raises:
        ArtefactError, DataError: there is no finished run, or not the photos it used.
    """
    runs = [Path(run) for run in runs]
    settings = settings_of(runs, dict(changes or {}))
    with written_dir(out, MANIFEST) as part:
        _copy_library(part / "kaggle_kit")
        made = prepare(runs, Path(competition), part, dict(changes or {}))
        files = {name: described(part / name) for name in _file_names(part)}
        manifest = {
            "format": 2,
            "name": settings.name,
            "made_with": [
                json.loads((run / "environment.json").read_text("utf-8"))
                for run in runs
            ],
            "validation": made["validation"],
            "test": made["test"],
            "files": files,
        }
        text = json.dumps(manifest, indent=2) + "\n"
        (part / MANIFEST).write_text(text, encoding="utf-8")
    megabytes = round(sum(file["bytes"] for file in files.values()) / 1e6, 1)
    shown = ("gallery", "non_landmarks", "validation", "test", "chosen")
    return {"files": len(files), "megabytes": megabytes} | {k: made[k] for k in shown}


def _copy_library(out: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc", "configs", "kernels")
    shutil.copytree(Path(kaggle_kit.__file__).parent, out, ignore=ignored)


def _file_names(folder: Path) -> Iterator[str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return iter(sorted(path.relative_to(folder).as_posix() for path in files))
