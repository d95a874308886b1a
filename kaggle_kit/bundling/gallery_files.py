"""Write the gallery of a bundle, its local features, and the names of landmarks."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from kaggle_kit.bundling.evaluator import Evaluator
from kaggle_kit.config import Recognition
from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.local_features.extract import LocalReader
from kaggle_kit.retrieval.gallery import Gallery, build_gallery
from kaggle_kit.storage.csv_files import write_rows
from kaggle_kit.storage.tables import Label


def write_gallery(evaluator: Evaluator, ranking: Recognition, folder: Path) -> Gallery:
    """Write a gallery of the training images and the validation images of their landmarks.

    Validation images of other landmarks are not added.
    """
    fit = evaluator.fit(ranking)
    landmarks = set(fit.gallery.landmark_ids.tolist())
    queries = evaluator.pools["validation"].queries
    labels: list[Label] = []
    rows: list[int] = []
    for row, query in enumerate(queries):
        if query.landmark_id is not None and query.landmark_id in landmarks:
            labels.append(Label(query.image_id, query.landmark_id))
            rows.append(row)
    gallery = fit.gallery
    if rows:
        vectors = fit.embeddings["validation"].vectors[rows]
        gallery = gallery.concatenate(
            build_gallery(labels, vectors, gallery.non_landmarks, ranking)
        )
    gallery.save(folder / "gallery")
    return gallery


def write_local_features(
    image_ids: Sequence[str], files: Competition, reader: LocalReader, folder: Path
) -> None:
    """Write the local features of the gallery's images."""
    from kaggle_kit.local_features.sift import LocalFeatures  # OpenCV

    paths = [image_path(files.train_dir, image_id) for image_id in image_ids]
    LocalFeatures.concatenate(reader.read_all(paths)).save(folder / "local")


def write_names(names: Mapping[int, str], landmarks: set[int], folder: Path) -> None:
    """Write ``names.csv`` (landmark_id, name) for the landmarks whose name is known."""
    if names:
        rows = [(i, name) for i, name in names.items() if i in landmarks]
        write_rows(folder / "names.csv", ("landmark_id", "name"), rows)
