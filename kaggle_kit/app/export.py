"""Export a folder for a host of Streamlit pages: the page, a light bundle, thumbnails."""

import io
import json
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from PIL import Image

from kaggle_kit import config
from kaggle_kit.app.album import EXAMPLES, THUMBNAILS, Album, choose_examples
from kaggle_kit.app.serve import OPTIONS
from kaggle_kit.backends.base import INT8, LITE, MODEL
from kaggle_kit.backends.uploads import CheckedImage
from kaggle_kit.bundling.library import copy_library
from kaggle_kit.data.layout import Competition
from kaggle_kit.errors import ArtefactError, DataError
from kaggle_kit.progress import progress
from kaggle_kit.retrieval.gallery import sort_rarest_first
from kaggle_kit.storage import tables
from kaggle_kit.storage.folders import FolderKind, atomic_write_dir, list_files
from kaggle_kit.storage.inside import require_no_link
from kaggle_kit.storage.json_files import json_text
from kaggle_kit.storage.manifest import (
    MANIFEST,
    BundleManifest,
    describe_file,
    read_manifest,
    upload_names,
    verify,
)

# The name that hosts look for. Its presence also marks a folder as an earlier export.
PAGE = "streamlit_app.py"
LIBRARY = "library"  # in bundle/: holds kaggle_kit/, and nothing else
SIDE, QUALITY = 128, 80  # of a thumbnail, which takes about 5 kB
MAX_MB = 100  # of all thumbnails, and of local features, which must fit into memory
SCRIPT = '''\
"""Which landmark is it? Run by a host of Streamlit pages: streamlit run {page}"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
# Behind the installed packages, and a folder of its own: nothing else can be imported.
sys.path.append(str(HERE / "bundle" / "{library}"))

from kaggle_kit.app.main import page

page(HERE / "bundle", HERE / "photos" if (HERE / "photos").exists() else None)
'''
# The versions with which the export takes less than 500 MB of disk. Later versions of
# Arrow and LiteRT take more.
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
OPTIONAL_OPENCV = """\
# For the comparison of points that the bundle was tuned with; 150 MB more:
# opencv-python-headless==4.13.0.92
# threadpoolctl==3.8.0
"""


@dataclass(frozen=True)
class AppExport:
    """An exported folder.

    Attributes:
        files: number of files.
        mb: their size in megabytes.
        thumbnails: number of thumbnails.
        out: the folder.
    """

    files: int
    mb: float
    thumbnails: int
    out: str


def export(bundle: Path, out: Path, images: Path | None) -> AppExport:
    """Write the folder ``out``: requirements.txt, streamlit_app.py, bundle/, photos/.

    The exported bundle has no SavedModels, and the library of this version. Geometry is
    disabled, since OpenCV takes more disk space than a free host has. A comment in the
    requirements says how to enable it, unless the local features are too large to be
    exported.

    Args:
        images: a competition folder, for the thumbnails of gallery images and for example
            images; None: neither.

    Raises:
        ArtefactError: the bundle has no LiteRT file, does not match its manifest or has
            a link, or ``out`` is a folder of another kind.
    """
    manifest = verify(bundle)
    for name in manifest.files:
        require_no_link(manifest.folder, name)
    settings = config.read_json(manifest.path("config.json"))
    name = INT8 if settings.recognition.int8 else LITE
    saved_model = f"{MODEL}/saved_model.pb"
    for network in manifest.list_names("embedders"):
        run = network.removesuffix(saved_model)
        if run != network and not manifest.find(f"{run}{name}"):
            raise ArtefactError(
                f"{bundle / run}: expected {name}, found none; make the bundle again"
            )
    has_local = manifest.measure("local") <= MAX_MB * 1e6
    n_thumbnails = 0
    with atomic_write_dir(out, EXPORT) as folder:
        _copy_bundle(manifest, folder / "bundle", has_local)
        if images:
            competition = Competition(images).require("train")
            n_thumbnails = _pack_images(
                folder / "bundle", competition, folder / "photos"
            )
        (folder / PAGE).write_text(
            SCRIPT.format(page=PAGE, library=LIBRARY), encoding="utf-8"
        )
        (folder / "requirements.txt").write_text(
            REQUIREMENTS + _extra_requirements(folder / "bundle"), encoding="utf-8"
        )
        _write_options(folder / ".streamlit")
        files = [path for path in folder.rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
    return AppExport(len(files), round(size / 1e6, 1), n_thumbnails, str(out))


def _read_record(folder: Path) -> list[str]:
    """The files of an earlier export; its bundle has a list of its own."""
    bundle = [
        f"bundle/{name}" for name in (*read_manifest(folder / "bundle").files, MANIFEST)
    ]
    others = (name for name in list_files(folder) if not name.startswith("bundle/"))
    return bundle + [name for name in others if EXPORT.has_name(name)]


EXPORT = FolderKind(
    PAGE,
    (
        *("requirements.txt", ".streamlit/config.toml", "bundle/*"),
        *(f"photos/{THUMBNAILS}", f"photos/{EXAMPLES}/[1-9].*"),
    ),
    _read_record,
)


def _extra_requirements(bundle: Path) -> str:
    """OpenCV if the bundle has visual words; a comment if it has only geometry."""
    if any(bundle.glob("embedders/*/words.npy")):
        return OPENCV
    return OPTIONAL_OPENCV if (bundle / "local").exists() else ""


def _copy_bundle(bundle: BundleManifest, out: Path, has_local: bool) -> None:
    """Copy a bundle without what only TensorFlow or Kaggle needs; update its manifest.

    Only what the manifest lists is copied. The library is that of this version.
    """
    skipped = {"kaggle_kit", LIBRARY, MODEL, "LICENSE"}
    skipped |= set() if has_local else {"local"}
    out.mkdir()
    for name in bundle.files:
        if skipped.isdisjoint(PurePosixPath(name).parts):
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(bundle.folder / name, out / name)
    copy_library(out / LIBRARY)
    (out / LIBRARY / "LICENSE").rename(out / "LICENSE")
    files = {name: describe_file(out / name) for name in upload_names(out)}
    text = json_text({**bundle.content, "files": files}, ensure_ascii=False)
    (out / MANIFEST).write_text(text, encoding="utf-8")


def _pack_images(bundle: Path, competition: Competition, out: Path) -> int:
    """Write thumbnails, those of the rarest landmarks first, and examples.

    Returns:
        The number of thumbnails.
    """
    out.mkdir()
    labels = tables.read_labels(bundle / "gallery" / "gallery.csv")
    album = Album(bundle, competition.root)
    n, size = 0, 0
    with zipfile.ZipFile(out / THUMBNAILS, "w", zipfile.ZIP_STORED) as file:
        for label in progress(sort_rarest_first(labels), label="thumbnails"):
            image = album.load_image(label.image_id)
            thumbnail = _encode_thumbnail(image) if image else None
            if thumbnail is None:
                continue
            size += len(thumbnail)
            if size > MAX_MB * 1e6:
                break
            # ZipInfo has a fixed date, so that the file is reproducible.
            file.writestr(zipfile.ZipInfo(f"{label.image_id}.jpg"), thumbnail)
            n += 1
    (out / EXAMPLES).mkdir()
    for i, path in enumerate(choose_examples(competition), 1):
        content = path.read_bytes()
        if _decodes(path.name, content):  # whatever a link leads to
            (out / EXAMPLES / f"{i}{path.suffix}").write_bytes(content)
    return n


def _decodes(name: str, content: bytes) -> bool:
    try:
        return bool(CheckedImage(name, content).pixels(SIDE).size)
    except DataError:
        return False


def _encode_thumbnail(image: CheckedImage) -> bytes | None:
    """A small JPEG of an image; None if it does not decode."""
    try:
        thumbnail = Image.fromarray(image.pixels(SIDE))
    except DataError:
        return None
    thumbnail.thumbnail((2 * SIDE, SIDE))
    file = io.BytesIO()
    thumbnail.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def _write_options(folder: Path) -> None:
    """Write the options of the page to Streamlit's ``config.toml``."""
    folder.mkdir()
    lines = []
    for name in sorted({option.split(".")[0] for option in OPTIONS}):
        lines.append(f"[{name}]")
        for option, value in OPTIONS.items():
            section, key = option.split(".")
            if section == name:
                lines.append(f"{key} = {json.dumps(value)}")
    (folder / "config.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
