"""The gallery photos most like a photo."""

from pathlib import Path
from typing import Any

from kaggle_kit.backends.tensorflow import TensorFlowEngine
from kaggle_kit.errors import DataError
from kaggle_kit.inference.recogniser import Recogniser
from kaggle_kit.retrieval.knn import top_k
from kaggle_kit.storage import tables


def similar(photo: Path, bundle: Path, k: int) -> dict[str, Any]:
    """Search the gallery of a bundle for one photo.

    Returns:
        ``photo`` and ``similar``: the k nearest, most similar first, each with the id of
        the photo and of its landmark, the landmark's name (None where it is not known) and
        the similarity, a cosine.

    Raises:
        DataError: the photo does not decode.
        ArtefactError: the bundle is damaged.
    """
    if not Path(photo).is_file():
        raise DataError(f"{photo}: expected a photo, found no file; check the path")
    recogniser = Recogniser.load(Path(bundle), Path(bundle), TensorFlowEngine())
    found = recogniser.embedder.embed([Path(photo)], "photo")
    if not len(found.which):
        raise DataError(
            f"{photo}: expected a photo (JPEG, PNG, GIF or BMP), got a file that does not "
            f"decode; save it again as JPEG"
        )
    names = tables.read_names(Path(bundle) / "names.csv")
    gallery = recogniser.gallery
    cosines, rows = top_k(found.vectors, gallery.vectors, k)
    nearest = [
        {
            "id": gallery.image_ids[row],
            "landmark_id": int(gallery.landmark_ids[row]),
            "name": names.get(int(gallery.landmark_ids[row])),
            "similarity": round(float(cosine), 4),
        }
        for cosine, row in zip(cosines[0], rows[0], strict=True)
    ]
    return {"photo": str(photo), "similar": nearest}
