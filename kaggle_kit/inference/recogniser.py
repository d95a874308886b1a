"""The recogniser: a bundle in memory that embeds, searches, verifies and ranks images."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from kaggle_kit import config
from kaggle_kit.backends.base import Engine, Image
from kaggle_kit.backends.images import as_image
from kaggle_kit.backends.isolated import IsolatedEngine
from kaggle_kit.config import Config
from kaggle_kit.data.image_files import FORMAT_NAMES
from kaggle_kit.errors import ArtefactError, DataError
from kaggle_kit.inference.answers import Answer, SimilarImage, explain
from kaggle_kit.inference.calibration import CALIBRATION, PLAIN_CALIBRATION, Calibration
from kaggle_kit.inference.embedder import (
    Embedder,
    Embeddings,
    load_embedder,
    split_batches,
)
from kaggle_kit.local_features.extract import BLOCK, CACHED, LocalReader
from kaggle_kit.progress import progress
from kaggle_kit.retrieval import ranking
from kaggle_kit.retrieval.gallery import FILES, Gallery
from kaggle_kit.retrieval.knn import top_k
from kaggle_kit.retrieval.ranking import Evidence
from kaggle_kit.retrieval.whitening import normalise
from kaggle_kit.storage import tables
from kaggle_kit.storage.manifest import BundleManifest, verify
from kaggle_kit.storage.tables import Class, Guess

if TYPE_CHECKING:
    from kaggle_kit.local_features.rerank import Geometry


@dataclass(frozen=True)
class Recogniser:
    """The contents of a bundle, and the computation from images to guesses.

    Thread-safe. Close it, or use it as a context manager, to stop its own threads.

    Attributes:
        settings: the bundle's config, with the tuned ranking.
        classes: the landmark of each column of class scores.
        embedder: computes the vectors of images.
        gallery: the labelled images to search in.
        geometry: compares local features; None if that is not part of the ranking.
        names: names of landmarks, by id.
        calibration: from confidence to probability; None if the bundle has none.
        missing_geometry: why the ranking lacks the geometry it was tuned with, or None.

    ::

        with Recogniser.load("bundle") as recogniser:
            print(recogniser.recognise(["a.jpg"])[0].name)
    """

    settings: Config
    classes: list[Class]
    embedder: Embedder
    gallery: Gallery
    geometry: Geometry | None = None
    names: dict[int, str] = field(default_factory=dict)
    calibration: Calibration | None = None
    missing_geometry: str | None = None

    @classmethod
    def load(
        cls,
        bundle: str | Path,
        engine: Engine | None = None,
        train_dir: Path | None = None,
        n_cached: int = CACHED,
        geometry_optional: bool = False,
        untrusted: bool = False,
    ) -> Recogniser:
        """Load a bundle.

        Args:
            bundle: the folder that ``kaggle-kit bundle`` or ``build_bundle`` wrote.
            engine: decodes images and runs networks; None: TensorFlow.
            train_dir: the competition's ``train`` folder, for gallery images without
                local features in the bundle.
            n_cached: number of files whose local features are cached.
            geometry_optional: rank without geometry if its files or packages are missing.
            untrusted: the bundle is a stranger's. Networks run in processes of their own,
                which may not write; LiteRT files are preferred to SavedModels. See
                ``backends.isolated``.

        Raises:
            ArtefactError, ConfigError, TableError: a file is missing, damaged or does not
                match the manifest. A file that the manifest does not list is missing.
        """
        manifest = verify(Path(bundle))
        settings = config.read_json(manifest.path("config.json"))
        missing_geometry = None
        if settings.recognition.verification and geometry_optional:
            missing_geometry = _explain_missing_geometry(manifest)
            settings = _disable_geometry(settings) if missing_geometry else settings
        engine = engine or _load_tensorflow()
        engine = IsolatedEngine(engine) if untrusted else engine
        reader = LocalReader(settings.local, engine, n_cached)
        gallery = Gallery.load(manifest.subfolder("gallery", FILES))
        geometry = None
        if settings.recognition.verification:
            geometry = _load_geometry(manifest, gallery, reader, train_dir)
        # Confidences with and without geometry need different calibrations.
        calibration = manifest.find(
            PLAIN_CALIBRATION if missing_geometry else CALIBRATION
        )
        names = manifest.find("names.csv")
        return cls(
            settings=settings,
            classes=tables.read_classes(manifest.path("classes.csv")),
            gallery=gallery,
            geometry=geometry,
            names=tables.read_names(names) if names else {},
            calibration=Calibration.load(calibration) if calibration else None,
            missing_geometry=missing_geometry,
            # Last, since loading a network takes seconds.
            embedder=load_embedder(
                manifest.folder, settings.recognition, reader, manifest.files
            ),
        )

    @property
    def ranking(self) -> config.Recognition:
        """The settings of the ranking."""
        return self.settings.recognition

    def with_gallery(self, gallery: Gallery) -> Recogniser:
        """A copy that searches another gallery."""
        return replace(self, gallery=gallery)

    def recognise(self, images: Sequence[Any]) -> list[Answer]:
        """Recognise the landmark in each image.

        The guesses are those of ``predict``, but without ``recognition.demote_share``,
        which needs all images of a competition.

        Args:
            images: paths, PIL images, or (h, w, 3) uint8 arrays.

        Returns:
            An answer per image; of one that does not decode, it has only an ``error``.

        Raises:
            DataError: an element of ``images`` is of another type.
        """
        sources = [as_image(image) for image in images]
        answers = [Answer(error=None)] * len(sources)
        for start, batch, upcoming in split_batches(sources, self.ranking.batch_size):
            embeddings = self.embedder.embed(batch, None, upcoming)
            queries = [batch[i] for i in embeddings.positions]
            evidence = self.verify(self.search(embeddings), queries)
            for row, i in enumerate(embeddings.positions.tolist()):
                one = slice(row, row + 1)
                answers[start + i] = explain(
                    self, evidence.select(one), embeddings.log_probability[one]
                )
            for i in set(range(len(batch))) - set(embeddings.positions.tolist()):
                answers[start + i] = Answer(error=_explain_unreadable(batch[i]))
        return answers

    def similar(self, image: Any, k: int = 5) -> list[SimilarImage]:
        """Find the k gallery images most similar to an image, most similar first.

        They are compared by embedding only, without penalties and geometry.

        Raises:
            DataError: the image does not decode.
        """
        source = as_image(image)
        embeddings = self.embedder.embed([source])
        if not len(embeddings.positions):
            raise DataError(_explain_unreadable(source))
        cosines, rows = top_k(embeddings.vectors, self.gallery.vectors, k)
        landmarks = self.gallery.landmark_ids[rows[0]].tolist()
        return [
            SimilarImage(
                self.gallery.image_ids[row], landmark, self.names.get(landmark), cosine
            )
            for row, landmark, cosine in zip(
                rows[0].tolist(), landmarks, cosines[0].tolist(), strict=True
            )
        ]

    def search(self, embeddings: Embeddings) -> Evidence:
        """Search the gallery for the neighbours of images.

        Images that only some parts embedded are compared in the columns of these parts.
        """
        if embeddings.parts.all():
            return self._search(embeddings, self.gallery)
        masks, mask_of = np.unique(embeddings.parts, axis=0, return_inverse=True)
        groups = [np.flatnonzero(mask_of.ravel() == i) for i in range(len(masks))]
        evidence = []
        for mask, rows in zip(masks, groups, strict=True):
            group, gallery = embeddings.select(rows), self.gallery
            if not mask.all():
                columns = np.repeat(mask, self.embedder.widths)
                group = group._replace(vectors=normalise(group.vectors[:, columns]))
                gallery = gallery.select_columns(columns)
            evidence.append(self._search(group, gallery))
        order = np.argsort(np.concatenate(groups))
        return Evidence._make(
            np.concatenate(values)[order] for values in zip(*evidence, strict=True)
        )

    def verify(self, evidence: Evidence, images: Sequence[Image]) -> Evidence:
        """Add inliers to the evidence, if geometry is part of the ranking.

        Args:
            images: (q,) the queries of ``evidence``.
        """
        if not self.geometry or not self.ranking.verification:
            return evidence
        inliers = [
            self.count_inliers(
                evidence.select(slice(i, i + BLOCK)), images[i : i + BLOCK]
            )
            for i in progress(range(0, len(images), BLOCK), label="geometry")
        ]
        return evidence._replace(
            inliers=np.concatenate([evidence.inliers[:0], *inliers])
        )

    def count_inliers(self, evidence: Evidence, images: Sequence[Image]) -> np.ndarray:
        """Weighted inliers of a block of queries with their nearest images, (b, k)."""
        geometry, settings = self.geometry, self.ranking.verification
        assert geometry is not None and settings is not None
        return geometry.count_inliers(images, evidence.rows, self.gallery, settings)

    def guesses(
        self,
        embeddings: Embeddings,
        evidence: Evidence | None,
        landmarks: Collection[int],
    ) -> list[Guess | None]:
        """Guess the landmark of each image, by the gallery or by class scores.

        Args:
            evidence: None is allowed if ``recognition.ranking`` is ``head``.
            landmarks: those that a guess by class scores may name.
        """
        if self.ranking.ranking == "head":
            scores, share = embeddings.log_probability, self.ranking.demote_share
            return ranking.guess_by_head(scores, self.classes, landmarks, share)
        assert evidence is not None
        return ranking.guess_by_gallery(evidence, self.gallery, self.ranking)

    def name(self, landmark: int) -> str:
        """A landmark's name, or its number where no name is known."""
        return self.names.get(landmark) or f"landmark {landmark}"

    def close(self) -> None:
        """Stop the threads."""
        self.embedder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _search(self, embeddings: Embeddings, gallery: Gallery) -> Evidence:
        vectors, scores = embeddings.vectors, embeddings.log_probability
        return ranking.search_gallery(
            vectors, scores, gallery, self.classes, self.ranking
        )


def _disable_geometry(settings: Config) -> Config:
    """A copy of the settings that ranks without inliers."""
    plain = settings.recognition.model_copy(update={"verification": None})
    return settings.model_copy(update={"recognition": plain})


def _load_tensorflow() -> Engine:
    from kaggle_kit.backends.tensorflow import TensorFlowEngine  # takes seconds

    return TensorFlowEngine()


def _load_geometry(
    manifest: BundleManifest,
    gallery: Gallery,
    reader: LocalReader,
    train_dir: Path | None,
) -> Geometry:
    from kaggle_kit.local_features.rerank import Geometry  # OpenCV
    from kaggle_kit.local_features.sift import FILES, LocalFeatures

    folder = manifest.subfolder("local", FILES)
    features = LocalFeatures.load(folder, reader.settings.n_features)
    if len(features) != len(gallery.image_ids):
        raise ArtefactError(
            f"{folder}: expected the features of {len(gallery.image_ids)} "
            f"images, got {len(features)}; make the bundle again"
        )
    return Geometry(reader, train_dir, features, gallery.image_ids)


def _explain_missing_geometry(manifest: BundleManifest) -> str | None:
    """Why geometry is not possible; None if it is."""
    if not manifest.list_names("local"):
        return "the exported folder has no local features"
    missing = [name for name in ("cv2", "threadpoolctl") if find_spec(name) is None]
    return "OpenCV is not installed" if missing else None


def _explain_unreadable(image: Image) -> str:
    """Why an image does not decode."""
    if not isinstance(image, Path):
        try:
            image.pixels(1)
        except DataError as error:
            return str(error)
        return "image: expected an image, got one without pixels; choose another"
    if not image.is_file():
        return f"{image}: expected an image, found no file; check the path"
    return (
        f"{image}: expected an image ({FORMAT_NAMES}), got a file that does not "
        f"decode; save it again as JPEG"
    )
