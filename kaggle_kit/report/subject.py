"""Read what a report is about: a run, a folder of ``kaggle-kit run``, or a bundle."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kaggle_kit import config
from kaggle_kit.config import Config
from kaggle_kit.data.layout import Competition
from kaggle_kit.data.non_landmarks import RECORD, PoolCounts, read_record
from kaggle_kit.errors import ArtefactError
from kaggle_kit.storage import json_files, tables
from kaggle_kit.storage.manifest import MANIFEST, BundleManifest, read_manifest

CONFIG, ENVIRONMENT, HISTORY = "config.json", "environment.json", "history.csv"
RESULT = "result.json"


@dataclass(frozen=True)
class Subject:
    """A run or bundle; everything but the name and the folder may be missing.

    Attributes:
        name: of the config, or of the folder without a config.
        run: folder of the run; that of the bundle where there is no run.
        settings: the config.
        history: path of ``history.csv``, if there was a training.
        environments: ``environment.json`` of each run.
        result: ``result.json`` of ``kaggle-kit run``.
        bundle: folder of the bundle.
        pools: of non-landmarks, and where they come from; None if it was not recorded.
    """

    name: str
    run: Path
    settings: Config | None = None
    history: Path | None = None
    environments: list[dict[str, Any]] = field(default_factory=list)
    result: dict[str, Any] = field(default_factory=dict)
    bundle: Path | None = None
    pools: PoolCounts | None = None


def subject(folder: Path) -> Subject:
    """Read a folder that ``train``, ``run`` or ``bundle`` wrote.

    Raises:
        ArtefactError, ConfigError: the folder is missing, or a file in it is damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ArtefactError(
            f"{folder}: expected a folder of train, run or bundle, found none; check --run"
        )
    if (folder / MANIFEST).exists():
        return _read_bundle(read_manifest(folder))
    run = folder / "run" if (folder / "run" / CONFIG).exists() else folder
    settings = config.read_json(run / CONFIG) if (run / CONFIG).exists() else None
    bundle = folder / "bundle"
    has_bundle = run != folder and (bundle / MANIFEST).exists()
    environments = (
        [_read_json(run / ENVIRONMENT)] if (run / ENVIRONMENT).exists() else []
    )
    result = folder / RESULT
    return Subject(
        name=settings.name if settings else folder.name,
        run=run,
        settings=settings,
        history=run / HISTORY if (run / HISTORY).exists() else None,
        environments=environments,
        result=_read_json(result) if result.exists() else {},
        bundle=bundle if has_bundle else None,
        pools=(_read_pools(bundle) if has_bundle else None) or read_record(run),
    )


def landmark_names(competition: Path | None, bundle: Path | None) -> dict[int, str]:
    """The names of landmarks, from the competition's folder, or else from the bundle.

    Raises:
        TableError, ArtefactError: a file is damaged, or the bundle has no manifest.
    """
    names: dict[int, str] = {}
    if competition:
        names = tables.read_names(Competition(competition).names_csv)
    path = read_manifest(bundle).find("names.csv") if bundle and not names else None
    return tables.read_names(path) if path else names


def _read_bundle(manifest: BundleManifest) -> Subject:
    """Read a bundle; nothing that its manifest does not list."""
    path = manifest.find(CONFIG)
    settings = config.read_json(path) if path else None
    return Subject(
        name=settings.name if settings else manifest.folder.name,
        run=manifest.folder,
        settings=settings,
        environments=manifest.content.get("made_with", []),
        bundle=manifest.folder,
        pools=_read_pools(manifest.folder),
    )


def _read_pools(bundle: Path) -> PoolCounts | None:
    return read_record(bundle) if read_manifest(bundle).find(RECORD) else None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json_files.read_json(path)
    except json_files.DAMAGE as error:
        raise ArtefactError(
            f"{path}: expected JSON, got {error}; run the command that writes it again"
        ) from None
    return dict(values)
