"""A bundle, ready to say what photos show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kaggle_kit import config
from kaggle_kit.backends.base import Engine
from kaggle_kit.config import Config
from kaggle_kit.errors import ArtefactError
from kaggle_kit.inference.embedder import Embedded, Embedder, load_embedder
from kaggle_kit.inference.reduced_embedding import alike, cut_gallery
from kaggle_kit.local_features.extract import KEPT, LocalReader
from kaggle_kit.retrieval.gallery import Gallery
from kaggle_kit.retrieval.ranking import Evidence, evidence
from kaggle_kit.retrieval.whitening import unit
from kaggle_kit.storage import tables
from kaggle_kit.storage.manifest import verify
from kaggle_kit.storage.tables import Class, Label

if TYPE_CHECKING:
    from kaggle_kit.local_features.rerank import Geometry


@dataclass(frozen=True)
class Recogniser:
    """What a bundle holds.

    Attributes:
        settings: its config, with the ranking as it was tuned.
        classes: what the heads' columns mean.
        embedder: from photos to vectors.
        gallery: all of its labelled photos.
        geometry: the comparison of local features, where that is asked for.
    """

    settings: Config
    classes: list[Class]
    embedder: Embedder
    gallery: Gallery
    geometry: Geometry | None

    @classmethod
    def load(
        cls,
        folder: Path,
        train_dir: Path,
        engine: Engine,
        kept: int = KEPT,
        with_geometry: bool = True,
    ) -> Recogniser:
        """Read a bundle.

        Args:
            train_dir: where gallery photos are that the bundle does not have.
            engine: what decodes photos and runs networks.
            kept: of how many photos the local features are kept.
            with_geometry: whether to look at geometry if the bundle does.

        Raises:
            ArtefactError, ConfigError, TableError: a file is missing, damaged, or not
                as the manifest says.
        """
        verify(folder)
        settings = config.read_json(folder / "config.json")
        if not with_geometry:
            settings = without_geometry(settings)
        reader = LocalReader(settings.local, engine, kept)
        gallery = Gallery.load(folder / "gallery")
        geometry = None
        if settings.recognition.verification:
            geometry = _geometry(folder / "local", gallery, reader, train_dir)
        return cls(
            settings,
            tables.read_classes(folder / "classes.csv"),
            load_embedder(folder, settings.recognition, reader),
            gallery,
            geometry,
        )

    def evidence(self, found: Embedded, gallery: Gallery) -> Evidence:
        """Search a gallery for embedded photos; without geometry.

        Photos that only some embedders have seen are compared by those alone.
        """
        if not self.embedder.partial or not len(found.which):
            return self._evidence(found, gallery)
        widths = [d for _, (d, _) in sorted(self.embedder.shapes.items())]
        pieces = []
        for places, numbers in alike(found.vectors, widths):
            part = Embedded._make(values[places] for values in found)
            if numbers.all() or not numbers.any():
                pieces.append((places, self._evidence(part, gallery)))
                continue
            part = part._replace(vectors=unit(part.vectors[:, numbers]))
            cut = cut_gallery(gallery, numbers)
            pieces.append((places, self._evidence(part, cut)))
        order = np.argsort(np.concatenate([places for places, _ in pieces]))
        columns = zip(*(known for _, known in pieces), strict=True)
        return Evidence._make(np.concatenate(column)[order] for column in columns)

    def _evidence(self, found: Embedded, gallery: Gallery) -> Evidence:
        return evidence(
            found.vectors,
            found.log_probability,
            gallery,
            self.classes,
            self.settings.recognition,
        )


def without_geometry(settings: Config) -> Config:
    """The same ranking, but for what inliers add to it."""
    plain = settings.recognition.model_copy(update={"verification": None})
    return settings.model_copy(update={"recognition": plain})


def rarest_first(labels: Sequence[Label], have: Sequence[int] = ()) -> list[Label]:
    """Order photos so that, wherever one stops, the landmarks with fewest have most.

    Each comes after as many of its landmark as there are already, here or in ``have``;
    where that is equal, order stays.

    >>> [x.landmark_id for x in rarest_first([Label("a", i) for i in (7, 7, 7, 8)], [8])]
    [7, 7, 8, 7]
    """
    counts = Counter(have)
    after = []
    for label in labels:
        after.append(counts[label.landmark_id])
        counts[label.landmark_id] += 1
    return [labels[i] for i in sorted(range(len(labels)), key=after.__getitem__)]


def _geometry(
    folder: Path, gallery: Gallery, reader: LocalReader, train_dir: Path
) -> Geometry:
    from kaggle_kit.local_features.rerank import Geometry  # OpenCV
    from kaggle_kit.local_features.sift import LocalFeatures

    stored = LocalFeatures.load(folder)
    if len(stored) != len(gallery.image_ids):
        raise ArtefactError(
            f"{folder}: expected the features of {len(gallery.image_ids)} photos, got "
            f"{len(stored)}; make the bundle again"
        )
    return Geometry(reader, train_dir, stored, gallery.image_ids)
