"""Queries against a gallery of training images: what tuning and ablations score by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

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
from kaggle_kit.metrics.score import Score, precisions_of, with_intervals
from kaggle_kit.retrieval.gallery import Gallery, build_gallery
from kaggle_kit.retrieval.knn import top_k
from kaggle_kit.retrieval.ranking import Evidence
from kaggle_kit.retrieval.whitening import Whitening, fit_whitening
from kaggle_kit.storage.json_files import JsonObject, to_json
from kaggle_kit.storage.tables import Class, Guess, Label, Truth

WHITENING_IMAGES = 20_000  # that a whitening is fitted to
WIDE = 4096  # numbers; to wider vectors, whitening is fitted to so many images
MAP_AT = 10
Precisions = NDArray[np.float64]  # what each of M landmark images adds to GAP, times M


class Query(NamedTuple):
    """An image and the landmark it shows, None for no landmark."""

    image_id: str
    path: Path
    landmark_id: int | None


class Pool(NamedTuple):
    """Images that decode, and what each part of an embedder gives of them, unwhitened."""

    queries: list[Query]
    by_part: list[Embeddings]


class Fit(NamedTuple):
    """What follows from the training images and the settings.

    whitenings: one for each part, or None.
    embeddings: of the images of each pool, whitened and joined.
    gallery: of the training images.
    """

    whitenings: list[Whitening | None]
    embeddings: dict[str, Embeddings]
    gallery: Gallery


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
        score: GAP and related values, with intervals.
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
        settings: the config that the embedder was made with.
        pools: "train" and "penalty" make the gallery; "validation" and "test" are queried.
        reader: local features of the images.
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
        """Embed the images of each pool; those that do not decode are left out."""
        self.settings = settings
        self.classes = classes
        self.embedder = embedder
        self.reader = reader
        self.train_dir = train_dir
        self.pools: dict[str, Pool] = {}
        for name, some in queries.items():
            by_part = embedder.embed_by_part([query.path for query in some], name)
            decoded = [some[i] for i in by_part[0].positions]
            self.pools[name] = Pool(decoded, by_part)
        self._fit: tuple[str, Fit] | None = None  # the last: vectors are large
        self._evidence: dict[str, Evidence] = {}

    @property
    def n_parts(self) -> int:
        """How many embedders there are."""
        return len(self.embedder.parts)

    @property
    def has_head(self) -> bool:
        """Whether any embedder gives class scores."""
        return any(part.n_classes for part in self.embedder.parts)

    def fit(self, ranking: Recognition) -> Fit:
        """Whiten, join and build the gallery as the settings say; the last is cached."""
        key = repr((ranking.whiten, ranking.whitening, ranking.weights))
        if self._fit is None or self._fit[0] != key:
            self._fit = None
            self._fit = key, self._compute_fit(ranking)
        return self._fit[1]

    def recogniser(self, ranking: Recognition) -> Recogniser:
        """What recognises with a ranking, by the gallery of the training images."""
        settings = self.settings.model_copy(update={"recognition": ranking})
        geometry = None
        if ranking.verification:
            from kaggle_kit.local_features.rerank import Geometry  # OpenCV

            geometry = Geometry(self.reader, self.train_dir)
        gallery = self.fit(ranking).gallery
        return Recogniser(settings, self.classes, self.embedder, gallery, geometry)

    def evidence(self, pool: str, ranking: Recognition) -> Evidence:
        """The evidence of the images of a pool, geometry included; it is cached."""
        verification = ranking.verification
        compared = verification and verification.model_dump(
            exclude={"weight", "full_inliers"}
        )
        vectors = ranking.whiten, ranking.whitening, ranking.weights
        key = repr((pool, vectors, compared))
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

    def precisions(self, ranking: Recognition) -> Precisions:
        """What each validation image of a landmark adds to GAP."""
        return precisions_of(
            self.guesses("validation", ranking), self.truths("validation")
        )

    def truths(self, pool: str) -> dict[str, Truth]:
        """What each image of a pool shows, of the landmarks that can be named."""
        named = {query.landmark_id for query in self.pools["train"].queries}

        def shown(landmark_id: int | None) -> frozenset[int]:
            if landmark_id is None or landmark_id not in named:
                return frozenset()
            return frozenset({landmark_id})

        return {
            q.image_id: Truth(shown(q.landmark_id)) for q in self.pools[pool].queries
        }

    def scores(self, pool: str, ranking: Recognition) -> PoolScore | None:
        """GAP and its companions on a pool, with intervals, and mAP of the search.

        None where the pool has no image.
        """
        if not self.pools[pool].queries:
            return None
        fit = self.fit(ranking)
        shown = [query.landmark_id for query in self.pools[pool].queries]
        landmarks = set(fit.gallery.landmark_ids.tolist())
        known = sum(i in landmarks for i in shown)
        non_landmarks = sum(i is None for i in shown)
        unknown = len(shown) - known - non_landmarks
        _, rows = top_k(fit.embeddings[pool].vectors, fit.gallery.vectors, MAP_AT)
        return PoolScore(
            with_intervals(self.guesses(pool, ranking), self.truths(pool)),
            QueryCounts(known, unknown, non_landmarks),
            _mean_average_precision(shown, rows, fit.gallery),
        )

    def _compute_fit(self, ranking: Recognition) -> Fit:
        train = self.pools["train"]
        whitenings = [self._whitening(part, ranking) for part in train.by_part]
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

    def _whitening(
        self, embeddings: Embeddings, ranking: Recognition
    ) -> Whitening | None:
        if ranking.whiten is None:
            return None
        rng = np.random.default_rng(self.settings.seed)
        wide = embeddings.vectors.shape[1] > WIDE
        n = min(len(embeddings.vectors), WIDE if wide else WHITENING_IMAGES)
        some = np.sort(rng.permutation(len(embeddings.vectors))[:n])
        landmarks = None
        if ranking.whitening == "within":
            queries = self.pools["train"].queries
            landmarks = np.array([queries[i].landmark_id for i in some], np.int64)
        return fit_whitening(embeddings.vectors[some], ranking.whiten, landmarks)


def _mean_average_precision(
    shown: Sequence[int | None], rows: NDArray[np.int64], gallery: Gallery
) -> float | None:
    """mAP of the nearest gallery images, over the images whose landmark the gallery has."""
    of_row = gallery.landmark_ids
    landmarks = np.array([-1 if i is None else i for i in shown], np.int64)
    counts = Counter(of_row.tolist())
    n_relevant = np.array([counts[i] for i in landmarks.tolist()], np.int64)
    asked = np.flatnonzero(n_relevant)
    if not len(asked):
        return None
    relevant = of_row[rows[asked]] == landmarks[asked, None]
    return mean_average_precision(relevant, n_relevant[asked], MAP_AT)
