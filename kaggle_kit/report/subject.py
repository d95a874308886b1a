"""What a report is about: a run, a folder of ``kaggle-kit run``, or a bundle."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kaggle_kit import config
from kaggle_kit.config import Config
from kaggle_kit.data.layout import Competition
from kaggle_kit.errors import ArtefactError
from kaggle_kit.storage import json_files, tables

CONFIG, ENVIRONMENT, HISTORY = "config.json", "environment.json", "history.csv"
RESULT, MANIFEST = "result.json", "kit-manifest.json"


@dataclass(frozen=True)
class Subject:
    """What is known of it; all but the name may be missing.

    Attributes:
        name: of the config, or of the folder.
        settings: its config.
        history: ``history.csv``, where it was trained.
        environments: ``environment.json`` of each run in it.
        result: ``result.json`` of ``kaggle-kit run``.
        bundle: the bundle that belongs to it.
    """

    name: str
    settings: Config | None = None
    history: Path | None = None
    environments: list[dict[str, Any]] = field(default_factory=list)
    result: dict[str, Any] = field(default_factory=dict)
    bundle: Path | None = None


def subject(folder: Path) -> Subject:
    """Look into a folder that ``train``, ``run`` or ``bundle`` made.

    Raises:
        ArtefactError, ConfigError: there is no such folder, or a file in it is damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ArtefactError(
            f"{folder}: expected a folder that train, run or bundle made, found none; "
            f"check --run"
        )
    run = folder / "run" if (folder / "run" / CONFIG).exists() else folder
    settings = config.read_json(run / CONFIG) if (run / CONFIG).exists() else None
    own = folder / "bundle" if run != folder else folder
    bundle = own if (own / MANIFEST).exists() else None
    environments = [_json(run / ENVIRONMENT)] if (run / ENVIRONMENT).exists() else []
    if bundle == folder:
        environments = _json(bundle / MANIFEST).get("made_with", [])
    result = folder / RESULT
    return Subject(
        name=settings.name if settings else folder.name,
        settings=settings,
        history=run / HISTORY if (run / HISTORY).exists() else None,
        environments=environments,
        result=_json(result) if result.exists() else {},
        bundle=bundle,
    )


def landmark_names(competition: Path | None, bundle: Path | None) -> dict[int, str]:
    """Landmarks' names, as far as the competition's folder or the bundle tells them."""
    names: dict[int, str] = {}
    if competition:
        names = tables.read_names(Competition(competition).names_csv)
    return names or (tables.read_names(bundle / "names.csv") if bundle else {})


def _json(path: Path) -> dict[str, Any]:
    try:
        values = json_files.read_json(path)
    except json_files.DAMAGE as error:
        raise ArtefactError(
            f"{path}: expected JSON that the kit wrote, got {error}; make it again"
        ) from None
    return dict(values)
