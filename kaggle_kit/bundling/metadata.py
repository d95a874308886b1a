"""Kaggle's rules for datasets and names, checked before an upload.

The limits are those of Kaggle's client (2.2) and its documentation. Kaggle reports most
violations only after the upload, or not at all.
"""

import re
from pathlib import Path
from typing import Any

from kaggle_kit.errors import ArtefactError, KitError
from kaggle_kit.storage.manifest import METADATA, upload_names

PLACEHOLDER = "INSERT_OWNER"  # in place of the user's name
HANDLE = f"{PLACEHOLDER}/landmark-kit"
DATASET, KERNEL = "dataset", "kernel"  # kinds of handles
SLUG_LENGTHS = {DATASET: (6, 50), KERNEL: (5, 50)}
TITLE_LENGTHS = (6, 50)
SUBTITLE_LENGTHS = (20, 80)
LICENCES = """
AGPL-3.0 apache-2.0 CC-BY-3.0 CC-BY-3.0-IGO CC-BY-4.0 CC-BY-NC-4.0 CC-BY-NC-ND-4.0
CC-BY-NC-SA-3.0-IGO CC-BY-NC-SA-4.0 CC-BY-ND-4.0 CC-BY-SA-3.0 CC-BY-SA-4.0 CC0-1.0
CDLA-Permissive-1.0 CDLA-Sharing-1.0 copyright-authors DbCL-1.0 EU-ODP-Legal-Notice
FDL-1.3 GPL-2.0 GPL-3.0 LGPL-3.0 ODbL-1.0 ODC-BY-1.0 other PDDL unknown
US-Government-Works
"""
# Archives that Kaggle unpacks, if they are at the top level.
UNPACKED = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".7z", ".rar")
SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def check_handle(text: str, what: str) -> tuple[str, str]:
    """Split ``owner/slug`` into the owner and the slug, and check both.

    The owner may be ``PLACEHOLDER``; the caller must check that before an upload.

    Args:
        what: ``DATASET`` or ``KERNEL``, which allow slugs of different lengths.

    Raises:
        KitError: it is not of that form, or Kaggle would reject the slug.
    """
    owner, slash, slug = text.partition("/")
    if not slash or not OWNER.fullmatch(owner) or not SLUG.fullmatch(slug):
        raise KitError(
            f"handle: expected a {what} as OWNER/SLUG, with a slug of a-z, 0-9 and single "
            f"hyphens, got {text!r}; give one such as {HANDLE}"
        )
    _check_length(f"handle: the slug of a {what}", slug, SLUG_LENGTHS[what])
    return owner, slug


def dataset_metadata(
    handle: str, title: str | None, subtitle: str, description: str, licence: str
) -> dict[str, Any]:
    """The content of ``dataset-metadata.json``, checked.

    Args:
        title: None: the words of the slug.
        licence: a name in ``LICENCES``.

    Raises:
        KitError, ArtefactError: Kaggle would refuse a value.
    """
    values = {
        "id": handle,
        "title": make_title(handle, title),
        "subtitle": subtitle,
        "description": description,
        "licenses": [{"name": licence}],
        "keywords": [],
    }
    check_metadata(values, METADATA)
    return values


def make_title(handle: str, title: str | None = None) -> str:
    """Check the title of a dataset, or make one from the words of the slug.

    >>> make_title("somebody/landmark-kit")
    'Landmark kit'

    Raises:
        KitError: Kaggle would reject the handle or the title.
    """
    _, slug = check_handle(handle, DATASET)
    title = slug.replace("-", " ").capitalize() if title is None else title
    _check_length("title", title, TITLE_LENGTHS)
    return title


def check_metadata(values: Any, where: str) -> None:
    """Refuse metadata that Kaggle or its client would reject.

    Args:
        values: the content of ``dataset-metadata.json``.
        where: the place, for error messages.

    Raises:
        KitError, ArtefactError: a value is missing or out of range.
    """
    if not isinstance(values, dict):
        raise ArtefactError(
            f"{where}: expected a JSON object, got {values!r:.60}; correct the file"
        )
    names = [name for name in ("id", "title") if not isinstance(values.get(name), str)]
    if names:
        raise ArtefactError(
            f"{where}: {names[0]}: expected text, got {values.get(names[0])!r}; correct "
            f"the file"
        )
    check_handle(values["id"], DATASET)
    _check_length(f"{where}: title", values["title"], TITLE_LENGTHS)
    if values.get("subtitle"):
        _check_length(f"{where}: subtitle", str(values["subtitle"]), SUBTITLE_LENGTHS)
    licences = values.get("licenses")
    try:
        (licence,) = [entry["name"] for entry in licences or ()]
    except (TypeError, KeyError, ValueError):
        raise ArtefactError(
            f"{where}: licenses: expected a list of exactly one, such as "
            f'[{{"name": "apache-2.0"}}], got {licences!r:.100}; correct the list'
        ) from None
    if licence not in LICENCES.split():
        raise ArtefactError(
            f"{where}: licenses: expected one that Kaggle knows, got {licence!r}; known "
            f"are {', '.join(LICENCES.split())}"
        )


def check_files(folder: Path) -> None:
    """Refuse files that would not arrive unchanged on Kaggle.

    Raises:
        ArtefactError: a file is empty, has a name that the client skips, or is an archive
            that Kaggle would unpack; the first such file is named.
    """
    folder = Path(folder)
    uploads = set(upload_names(folder))
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir():
            if not any(path.iterdir()):
                raise ArtefactError(f"{path}: expected files, got an empty folder")
        elif name not in uploads and name != METADATA:
            raise ArtefactError(
                f"{path}: expected a name that Kaggle's client uploads, got one that it "
                f"skips; rename it"
            )
        elif "/" not in name and name.lower().endswith(UNPACKED):
            raise ArtefactError(
                f"{path}: expected no archive at the top level, which Kaggle would unpack; "
                f"put it into a folder"
            )
        elif not path.stat().st_size:
            raise ArtefactError(
                f"{path}: expected a file with content, got an empty one, which Kaggle may "
                f"drop; delete it, or write something into it"
            )


def _check_length(what: str, text: str, limits: tuple[int, int]) -> None:
    least, most = limits
    if not least <= len(text) <= most:
        raise KitError(
            f"{what}: expected {least} to {most} characters, got {len(text)}: {text!r}; "
            f"choose {'a longer' if len(text) < least else 'a shorter'} one"
        )
