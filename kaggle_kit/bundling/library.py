"""The kit itself, as it travels in a folder."""

import shutil
from pathlib import Path

import kaggle_kit
from kaggle_kit.bundling.notice import licence_text


def copy_library(part: Path) -> None:
    """Put the package, without what is of no use there, and its licence into a folder."""
    ignored = shutil.ignore_patterns(
        "__pycache__", "*.pyc", "py.typed", "configs", "kernels"
    )
    library = Path(kaggle_kit.__file__).parent
    shutil.copytree(library, part / "kaggle_kit", ignore=ignored)
    (part / "LICENSE").write_text(licence_text(), encoding="utf-8")
