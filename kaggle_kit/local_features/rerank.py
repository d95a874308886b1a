"""Add to what is known of queries how many local features agree on one geometry."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

import numpy as np

from kaggle_kit import config
from kaggle_kit.data.layout import image_path
from kaggle_kit.local_features.extract import TOGETHER, LocalReader
from kaggle_kit.local_features.matching import verified
from kaggle_kit.local_features.sift import NO_FEATURES, Features, LocalFeatures
from kaggle_kit.progress import progress
from kaggle_kit.retrieval.gallery import Gallery
from kaggle_kit.retrieval.ranking import Evidence


class Geometry:
    """Local features of queries and of gallery photos, and their comparison.

    Gallery photos that ``stored`` does not have are read from ``train_dir``.
    """

    def __init__(
        self,
        reader: LocalReader,
        train_dir: Path,
        stored: LocalFeatures | None = None,
        image_ids: Sequence[str] = (),
    ):
        self.reader = reader
        self.train_dir = train_dir
        self.stored = stored
        self._place = {image_id: i for i, image_id in enumerate(image_ids)}

    def verified(
        self,
        known: Evidence,
        queries: Sequence[Path],
        gallery: Gallery,
        settings: config.Verification,
        order: Sequence[int] | None = None,
    ) -> Generator[Evidence]:
        """Count the inliers of the nearest photos, some queries at a time.

        Yields what is known so far; the last is complete.

        Args:
            queries: (q,) the photos of ``known``.
            gallery: what the rows of ``known`` mean.
            order: the places of those to be looked at, one after the other; None: all.
        """
        inliers = np.zeros(known.rows.shape, np.float32)
        places = range(len(queries)) if order is None else order
        yield known._replace(inliers=inliers)
        with progress(total=len(places), label="geometry") as bar:
            for start in range(0, len(places), TOGETHER):
                block = list(places[start : start + TOGETHER])
                rows = known.rows[block, : settings.candidates]
                others = self._of_rows(rows, gallery)
                read = self.reader.read([queries[i] for i in block])
                seen = [_some(features) for features in read]
                inliers[block, : rows.shape[1]] = verified(seen, others, rows, settings)
                bar.update(len(rows))
                yield known._replace(inliers=inliers)

    def _of_rows(self, rows: np.ndarray, gallery: Gallery) -> Mapping[int, Features]:
        ids = {int(row): gallery.image_ids[row] for row in np.unique(rows)}
        new = [row for row, image_id in ids.items() if image_id not in self._place]
        paths = [image_path(self.train_dir, ids[row]) for row in new]
        found = dict(zip(new, map(_some, self.reader.read(paths)), strict=True))
        for row, image_id in ids.items():
            if self.stored is not None and image_id in self._place:
                found[row] = self.stored[self._place[image_id]]
        return found


def _some(found: Features | None) -> Features:
    """Features; none of a photo that does not decode."""
    return NO_FEATURES if found is None else found
