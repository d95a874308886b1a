"""Score a ranking by queries against a gallery of training images, to tune or ablate it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.bundling.queries import Query
from kaggle_kit.config import Config, Recognition
from kaggle_kit.inference.embedder import (
    Embedder,
    Embeddings,
    apply_whitening,
    join_parts,
)
from kaggle_kit.inference.recogniser import Recogniser
from kaggle_kit.local_features.extract import LocalReader
from kaggle_kit.metrics.gap import mean_average_precision
from kaggle_kit.metrics.score import SHARES, Score, precisions_of, with_intervals
from kaggle_kit.retrieval.gallery import Gallery, build_gallery
from kaggle_kit.retrieval.knn import top_k
from kaggle_kit.retrieval.ranking import Evidence
from kaggle_kit.retrieval.whitening import Whitening, fit_whitening
from kaggle_kit.storage.json_files import JsonObject, to_json
from kaggle_kit.storage.tables import Class, Guess, Label, Truth

WHITENING_IMAGES = 20_000  # in the sample that a whitening is fitted to
WIDE = 4096  # dimensions; above, the sample has only so many images
MAP_AT = 10
Precisions = NDArray[np.float64]  # of M landmark images; GAP is their mean


class Pool(NamedTuple):
    """Images that decode, and their embeddings by each part, before whitening."""

    queries: list[Query]
    by_part: list[Embeddings]


class Fit(NamedTuple):
    """What is computed from the training images for some settings.

    whitenings: of each part; None without whitening.
    embeddings: of each pool, whitened and joined.
    gallery: of the training images.
    """

    whitenings: list[Whitening | None]
    embeddings: dict[str, Embeddings]
    gallery: Gallery


class Outcome(NamedTuple):
    """What a ranking reaches on the M validation images of landmarks.

    precisions: (M,) of each image, at ``recognition.tune_share``; GAP is their mean.
    at_share: the same at each of ``score.SHARES``; nan if all images show landmarks.
    """

    precisions: Precisions
    at_share: dict[float, Precisions]


@dataclass(frozen=True)
class QueryCounts(JsonObject):
    """How many queries show a landmark of the gallery, another landmark, or none."""

    landmark: int
    unknown_landmark: int
    non_landmark: int


@dataclass(frozen=True)
class PoolScore(JsonObject):
    """The scores of a pool: of the guesses, and of the search.

    Attributes:
        score: GAP and related values, with intervals; an image of an unknown landmark
            counts as one without a landmark.
        queries: counts.
        map_at_10: mAP of the ten nearest; None if no query's landmark is in the gallery.
    """

    score: Score
    queries: QueryCounts
    map_at_10: float | None

    def as_json(self) -> dict[str, Any]:
        """All as one flat object."""
        queries, map_at_10 = to_json(self.queries), self.map_at_10
        return self.score.as_json() | {"queries": queries, "map_at_10": map_at_10}


class Evaluator:
    """Scores a ranking on the images of a subset.

    Attributes:
        settings: the config of the embedder.
        pools: "train" and "penalty" form the gallery; "validation" and "test" are queries.
        reader: detects the local features of images.
    """

    def __init__(
        self,
        settings: Config,
        classes: list[Class],
        embedder: Embedder,
        queries: Mapping[str, Sequence[Query]],
        reader: LocalReader,
        train_dir: Path,
    ):
        """Embed the images of each pool; images that do not decode are dropped."""
        self.settings = settings
        self.classes = classes
        self.embedder = embedder
        self.reader = reader
        self.train_dir = train_dir
        self.pools: dict[str, Pool] = {}
        for name, pool in queries.items():
            by_part = embedder.embed_by_part([query.path for query in pool], name)
            readable = [pool[i] for i in by_part[0].positions]
            self.pools[name] = Pool(readable, by_part)
        self._fit: tuple[str, Fit] | None = None  # only the last one: vectors are large
        self._evidence: dict[str, Evidence] = {}

    @property
    def n_parts(self) -> int:
        """The number of parts of the embedder."""
        return len(self.embedder.parts)

    @property
    def has_head(self) -> bool:
        """Whether any part has class scores."""
        return any(part.n_classes for part in self.embedder.parts)

    def fit(self, ranking: Recognition) -> Fit:
        """Whiten and join embeddings, and build the gallery; the last result is cached."""
        key = repr((ranking.whiten, ranking.whitening, ranking.weights))
        if self._fit is None or self._fit[0] != key:
            self._fit = None
            self._fit = key, self._compute_fit(ranking)
        return self._fit[1]

    def recogniser(self, ranking: Recognition) -> Recogniser:
        """A recogniser with a ranking and the gallery of the training images."""
        settings = self.settings.model_copy(update={"recognition": ranking})
        geometry = None
        if ranking.verification:
            from kaggle_kit.local_features.rerank import Geometry  # OpenCV

            geometry = Geometry(self.reader, self.train_dir)
        gallery = self.fit(ranking).gallery
        return Recogniser(settings, self.classes, self.embedder, gallery, geometry)

    def evidence(self, pool: str, ranking: Recognition) -> Evidence:
        """The evidence for the images of a pool, with inliers; it is cached."""
        verification = ranking.verification
        geometry = verification and verification.model_dump(
            exclude={"weight", "full_inliers"}
        )
        vectors = ranking.whiten, ranking.whitening, ranking.weights
        key = repr((pool, vectors, geometry))
        if key not in self._evidence:
            recogniser = self.recogniser(ranking)
            evidence = recogniser.search(self.fit(ranking).embeddings[pool])
            paths = [query.path for query in self.pools[pool].queries]
            self._evidence[key] = recogniser.verify(evidence, paths)
        return self._evidence[key]

    def guesses(self, pool: str, ranking: Recognition) -> dict[str, Guess | None]:
        """The guess for each image of a pool."""
        evidence = None
        if ranking.ranking != "head":
            evidence = self.evidence(pool, ranking)
        guesses = self.recogniser(ranking).guesses(
            self.fit(ranking).embeddings[pool],
            evidence,
            {row.landmark_id for row in self.classes},
        )
        ids = [query.image_id for query in self.pools[pool].queries]
        return dict(zip(ids, guesses, strict=True))

    def outcome(self, ranking: Recognition) -> Outcome:
        """What a ranking reaches on the validation images."""
        guesses, truths = self.guesses("validation", ranking), self.truths("validation")
        return Outcome(
            precisions_of(guesses, truths, ranking.tune_share),
            {share: precisions_of(guesses, truths, share) for share in SHARES},
        )

    def truths(self, pool: str) -> dict[str, Truth]:
        """The landmark of each image of a pool, if it is one of the training images'."""
        train_landmarks = {query.landmark_id for query in self.pools["train"].queries}

        def as_truth(landmark_id: int | None) -> Truth:
            if landmark_id is None or landmark_id not in train_landmarks:
                return Truth(frozenset())
            return Truth(frozenset({landmark_id}))

        return {q.image_id: as_truth(q.landmark_id) for q in self.pools[pool].queries}

    def scores(self, pool: str, ranking: Recognition) -> PoolScore | None:
        """Compute GAP and other scores on a pool, with intervals, and mAP of the search.

        Returns:
            None if the pool has no image.
        """
        if not self.pools[pool].queries:
            return None
        fit = self.fit(ranking)
        landmarks = [query.landmark_id for query in self.pools[pool].queries]
        gallery_landmarks = set(fit.gallery.landmark_ids.tolist())
        known = sum(i in gallery_landmarks for i in landmarks)
        non_landmarks = sum(i is None for i in landmarks)
        unknown = len(landmarks) - known - non_landmarks
        _, rows = top_k(fit.embeddings[pool].vectors, fit.gallery.vectors, MAP_AT)
        return PoolScore(
            with_intervals(self.guesses(pool, ranking), self.truths(pool)),
            QueryCounts(known, unknown, non_landmarks),
            _mean_average_precision(landmarks, rows, fit.gallery),
        )

    def _compute_fit(self, ranking: Recognition) -> Fit:
        train = self.pools["train"]
        whitenings = [self._fit_whitening(part, ranking) for part in train.by_part]
        embeddings = {
            name: join_parts(
                [
                    apply_whitening(part, whitening)
                    for part, whitening in zip(pool.by_part, whitenings, strict=True)
                ],
                ranking.weights,
            )
            for name, pool in self.pools.items()
        }
        labels = [
            Label(query.image_id, query.landmark_id)
            for query in train.queries
            if query.landmark_id is not None
        ]
        non_landmarks = embeddings["penalty"].vectors.astype(np.float16)
        gallery = build_gallery(
            labels, embeddings["train"].vectors, non_landmarks, ranking
        )
        return Fit(whitenings, embeddings, gallery)

    def _fit_whitening(
        self, embeddings: Embeddings, ranking: Recognition
    ) -> Whitening | None:
        """Fit a whitening to a sample of the embeddings of the training images."""
        if ranking.whiten is None:
            return None
        rng = np.random.default_rng(self.settings.seed)
        is_wide = embeddings.vectors.shape[1] > WIDE
        n = min(len(embeddings.vectors), WIDE if is_wide else WHITENING_IMAGES)
        rows = np.sort(rng.permutation(len(embeddings.vectors))[:n])
        landmarks = None
        if ranking.whitening == "within":
            queries = self.pools["train"].queries
            landmarks = np.array([queries[i].landmark_id for i in rows], np.int64)
        return fit_whitening(embeddings.vectors[rows], ranking.whiten, landmarks)


def _mean_average_precision(
    landmarks: Sequence[int | None], rows: NDArray[np.int64], gallery: Gallery
) -> float | None:
    """mAP of the nearest gallery images, over the queries with a landmark of the gallery.

    Args:
        landmarks: of q queries.
        rows: (q, k) their nearest gallery rows.
    """
    query_landmarks = np.array([-1 if i is None else i for i in landmarks], np.int64)
    counts = Counter(gallery.landmark_ids.tolist())
    n_relevant = np.array([counts[i] for i in query_landmarks.tolist()], np.int64)
    queries = np.flatnonzero(n_relevant)
    if not len(queries):
        return None
    neighbours = gallery.landmark_ids[rows[queries]]
    is_relevant = neighbours == query_landmarks[queries, None]
    return mean_average_precision(is_relevant, n_relevant[queries], MAP_AT)
