"""Find files with the same content."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from kaggle_kit.data.layout import image_path
from kaggle_kit.progress import progress
from kaggle_kit.report.html import Html, Number, section, table
from kaggle_kit.report.images import parallel_map
from kaggle_kit.report.mistakes import NameOf

GROUPS = 200  # rows of the table
IDS = 8  # of a group, in the table
BLOCK = 1 << 20  # bytes read at a time


def duplicates(image_ids: Sequence[str], folder: Path) -> list[list[str]]:
    """Groups of ids whose files have the same content; sorted, the largest group first."""
    by_size: dict[int, list[str]] = defaultdict(list)
    for image_id in image_ids:
        by_size[image_path(folder, image_id).stat().st_size].append(image_id)
    same_size = [i for group in by_size.values() if len(group) > 1 for i in group]
    by_hash: dict[bytes, list[str]] = defaultdict(list)
    digests = parallel_map(lambda i: _hash(image_path(folder, i)), same_size)
    bar = progress(digests, total=len(same_size), label="duplicates")
    for image_id, digest in zip(same_size, bar, strict=True):
        by_hash[digest].append(image_id)
    groups = [sorted(group) for group in by_hash.values() if len(group) > 1]
    return sorted(groups, key=lambda group: (-len(group), group))


def duplicates_section(
    groups: Sequence[Sequence[str]], landmark: Mapping[str, int | None], name_of: NameOf
) -> Html:
    """A section of the page with the groups of duplicate files.

    Args:
        groups: the result of ``duplicates``.
        landmark: landmark id or None by image id.
        name_of: the name of a landmark.
    """
    rows = []
    for group in groups[:GROUPS]:
        landmarks = {landmark[image_id] for image_id in group}
        names = sorted("no landmark" if i is None else name_of(i) for i in landmarks)
        ids = ", ".join(group[:IDS]) + (" …" if len(group) > IDS else "")
        rows.append(
            (
                ids,
                Number(len(group), f"{len(group):,}"),
                ", ".join(names),
                "contradict each other" if len(landmarks) > 1 else "agree",
            )
        )
    limited = len(groups) > GROUPS
    limit = f", the {GROUPS} largest of {len(groups):,} groups" if limited else ""
    return section(
        "Duplicate files",
        table(
            f"Files with the same content{limit}",
            ("Images", "Files", "Landmarks", "Labels"),
            rows,
            sortable=True,
        ),
    )


def _hash(path: Path) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.digest()
