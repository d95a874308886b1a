"""Verify queries geometrically against their nearest gallery images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kaggle_kit import config
from kaggle_kit.backends.base import Image
from kaggle_kit.data.layout import image_path
from kaggle_kit.local_features.extract import LocalReader
from kaggle_kit.local_features.matching import count_inliers
from kaggle_kit.local_features.sift import NO_FEATURES, Features, LocalFeatures
from kaggle_kit.retrieval.gallery import Gallery


class Geometry:
    """Compares local features of queries with those of gallery images.

    Attributes:
        reader: detects the features of queries, and of gallery images without stored ones.
        train_dir: the folder of gallery images without stored features; None: these
            images have no features.
        stored: features of gallery images, or None.
    """

    def __init__(
        self,
        reader: LocalReader,
        train_dir: Path | None,
        stored: LocalFeatures | None = None,
        image_ids: Sequence[str] = (),
    ):
        """Index the stored features.

        Args:
            image_ids: of the images in ``stored``, in its order.
        """
        self.reader = reader
        self.train_dir = train_dir
        self.stored = stored
        self._stored_row = {image_id: i for i, image_id in enumerate(image_ids)}

    def count_inliers(
        self,
        queries: Sequence[Image],
        rows: NDArray[np.int64],
        gallery: Gallery,
        settings: config.Verification,
    ) -> NDArray[np.float32]:
        """Weighted inliers of a block of queries with their nearest images.

        Args:
            queries: b images.
            rows: (b, k) rows of the gallery, most similar first.

        Returns:
            (b, k); 0 beyond the first ``settings.candidates``.
        """
        shortlist = rows[:, : settings.candidates]
        gallery_features = self._load_features(shortlist, gallery)
        query_features = [f or NO_FEATURES for f in self.reader.read(queries)]
        inliers = np.zeros(rows.shape, np.float32)
        inliers[:, : shortlist.shape[1]] = count_inliers(
            query_features, gallery_features, shortlist, settings
        )
        return inliers

    def _load_features(
        self, rows: NDArray[np.int64], gallery: Gallery
    ) -> Mapping[int, Features]:
        """The features of gallery images, by row: stored ones, or detected in the file."""
        ids = {int(row): gallery.image_ids[row] for row in np.unique(rows)}
        missing = [row for row in ids if ids[row] not in self._stored_row]
        features = dict.fromkeys(missing, NO_FEATURES)
        if self.train_dir is not None:
            paths = [image_path(self.train_dir, ids[row]) for row in missing]
            detected = [f or NO_FEATURES for f in self.reader.read(paths)]
            features = dict(zip(missing, detected, strict=True))
        if self.stored is not None:
            for row, image_id in ids.items():
                if image_id in self._stored_row:
                    features[row] = self.stored[self._stored_row[image_id]]
        return features
