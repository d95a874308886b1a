"""A folder that a host of Streamlit pages runs: the page, a light bundle, thumbnails."""

import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

from PIL import Image

from kaggle_kit import config
from kaggle_kit.app.album import EXAMPLES, THUMBNAILS, Album, example_files
from kaggle_kit.app.serve import OPTIONS
from kaggle_kit.backends.base import INT8, LITE, MODEL
from kaggle_kit.backends.uploads import CheckedImage
from kaggle_kit.bundling.library import copy_library
from kaggle_kit.data.layout import Competition
from kaggle_kit.errors import ArtefactError, DataError
from kaggle_kit.progress import progress
from kaggle_kit.retrieval.gallery import sort_rarest_first
from kaggle_kit.storage import tables
from kaggle_kit.storage.files import atomic_write_dir
from kaggle_kit.storage.json_files import json_text, read_json
from kaggle_kit.storage.manifest import MANIFEST, describe_file, verify

PAGE = (
    "streamlit_app.py"  # the name that hosts look for; also what an export is known by
)
SIDE, QUALITY = 128, 80  # of a thumbnail: about 5 kB
MOST_MB = 100  # of all thumbnails; and of local features, which a host has to hold
SCRIPT = '''\
"""Which landmark is it? Run by a host of Streamlit pages: streamlit run {page}"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "bundle"))

from kaggle_kit.app.main import page  # from the bundle

page(HERE / "bundle", HERE / "photos" if (HERE / "photos").exists() else None)
'''
# Exactly what it was measured with, on disk under 500 MB; later versions of Arrow and
# LiteRT pass that.
REQUIREMENTS = """\
ai-edge-litert==1.4.0
numpy==2.3.5
pandas==2.2.2
pillow==11.3.0
protobuf==5.29.5
pyarrow==17.0.0
pydantic==2.14.4
streamlit==1.67.0
tqdm==4.70.1
"""
OPENCV = "opencv-python-headless==4.13.0.92\nthreadpoolctl==3.8.0\n"
LEFT_OUT = """\
# For the comparison of points that the bundle was tuned with; 150 MB more:
# opencv-python-headless==4.13.0.92
# threadpoolctl==3.8.0
"""


def export(bundle: Path, out: Path, photos: Path | None) -> dict[str, Any]:
    """Write the folder ``out``: requirements.txt, streamlit_app.py, bundle/, photos/.

    The bundle goes without SavedModels and with this version of the kit. Geometry is left
    out, since OpenCV takes more room than a free host has; a comment in the requirements
    says how to have it, where the local features are not too large to go along.

    Args:
        photos: a competition folder, of which thumbnails of the gallery's photos and a
            few test photos, as examples, are packed.

    Returns:
        The number of files, megabytes, and thumbnails.

    Raises:
        ArtefactError: the bundle has no LiteRT file or is not as its manifest says, or
            ``out`` is something else.
    """
    verify(bundle)
    settings = config.read_json(bundle / "config.json")
    name = INT8 if settings.recognition.int8 else LITE
    for folder in bundle.glob(f"embedders/*/{MODEL}"):
        if not folder.with_name(name).exists():
            raise ArtefactError(
                f"{folder.parent}: expected {name}, found none; make the bundle again"
            )
    local = _size(bundle / "local") <= MOST_MB * 1e6
    n_thumbnails = 0
    with atomic_write_dir(out, PAGE) as part:
        _copy_bundle(bundle, part / "bundle", local)
        if photos:
            place = Competition(photos).require("train")
            n_thumbnails = _pack(part / "bundle", place, part / "photos")
        (part / PAGE).write_text(SCRIPT.format(page=PAGE), encoding="utf-8")
        (part / "requirements.txt").write_text(
            REQUIREMENTS + _for_points(part / "bundle"), encoding="utf-8"
        )
        _write_options(part / ".streamlit")
        files = [path for path in part.rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
    return {
        "files": len(files),
        "mb": round(size / 1e6, 1),
        "thumbnails": n_thumbnails,
        "out": str(out),
    }


def _for_points(bundle: Path) -> str:
    """OpenCV, which visual words cannot do without."""
    if any(bundle.glob("embedders/*/words.npy")):
        return OPENCV
    return LEFT_OUT if (bundle / "local").exists() else ""


def _copy_bundle(bundle: Path, part: Path, with_local: bool) -> None:
    """The bundle without what only TensorFlow or Kaggle needs, and its new manifest."""
    left_out = ["kaggle_kit", MODEL, "LICENSE", "dataset-metadata.json"]
    if not with_local:
        left_out.append("local")
    shutil.copytree(bundle, part, ignore=shutil.ignore_patterns(*left_out))
    copy_library(part)
    manifest = read_json(part / MANIFEST)
    (part / MANIFEST).unlink()
    files = sorted(path for path in part.rglob("*") if path.is_file())
    manifest["files"] = {
        path.relative_to(part).as_posix(): describe_file(path).as_json()
        for path in files
    }
    text = json_text(manifest, ensure_ascii=False)
    (part / MANIFEST).write_text(text, encoding="utf-8")


def _pack(bundle: Path, place: Competition, out: Path) -> int:
    """Thumbnails into one file, those of the rarest landmarks first, and examples."""
    out.mkdir()
    labels = tables.read_labels(bundle / "gallery" / "gallery.csv")
    album = Album(bundle, place.root)
    n, size = 0, 0
    with zipfile.ZipFile(out / THUMBNAILS, "w", zipfile.ZIP_STORED) as packed:
        for label in progress(sort_rarest_first(labels), label="thumbnails"):
            photo = album.photo(label.image_id)
            data = _thumbnail(photo) if photo else None
            if data is None:
                continue
            size += len(data)
            if size > MOST_MB * 1e6:
                break
            # with one date, so that the same photos give the same bytes
            packed.writestr(zipfile.ZipInfo(f"{label.image_id}.jpg"), data)
            n += 1
    (out / EXAMPLES).mkdir()
    for i, path in enumerate(example_files(place), 1):
        shutil.copyfile(path, out / EXAMPLES / f"{i}{path.suffix}")
    return n


def _thumbnail(photo: CheckedImage) -> bytes | None:
    try:
        thumbnail = Image.fromarray(photo.pixels(SIDE))
    except DataError:
        return None
    thumbnail.thumbnail((2 * SIDE, SIDE))
    file = io.BytesIO()
    thumbnail.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def _write_options(folder: Path) -> None:
    """The page's options as Streamlit's ``config.toml``."""
    folder.mkdir()
    lines = []
    for name in sorted({option.split(".")[0] for option in OPTIONS}):
        lines.append(f"[{name}]")
        for option, value in OPTIONS.items():
            section, key = option.split(".")
            if section == name:
                lines.append(f"{key} = {json.dumps(value)}")
    (folder / "config.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
