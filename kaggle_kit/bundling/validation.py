"""Queries against a gallery of training photos: what tuning and ablations measure on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.bundling.tune import Precisions, Search, Trial, tune
from kaggle_kit.config import Config, Recognition
from kaggle_kit.inference.embedder import Embedded, Embedder, joined, whitened
from kaggle_kit.metrics.gap import mean_average_precision
from kaggle_kit.metrics.score import precisions_of, with_intervals
from kaggle_kit.retrieval.gallery import Gallery, gallery_from
from kaggle_kit.retrieval.knn import top_k
from kaggle_kit.retrieval.ranking import (
    Evidence,
    evidence,
    gallery_guesses,
    head_guesses,
)
from kaggle_kit.retrieval.whitening import Whitening, whitening_of
from kaggle_kit.storage.tables import Class, Guess, Label, Truth

if TYPE_CHECKING:
    from kaggle_kit.local_features.rerank import Geometry

WHITENING_PHOTOS = 20_000  # that a whitening is fitted to
WIDE = 4096  # numbers; to wider vectors, whitening is fitted to so many photos
WEIGHTS = (0.25, 0.5, 2.0, 4.0)  # tried for each embedder after the first, besides 1
MAP_AT = 10


class Query(NamedTuple):
    """A photo and the landmark it shows, None for no landmark."""

    image_id: str
    path: Path
    landmark_id: int | None


class Pool(NamedTuple):
    """Photos that decode, and what each part of the embedder says of them, unwhitened."""

    queries: list[Query]
    apart: list[Embedded]


class Fitted(NamedTuple):
    """What follows from the training photos and the settings.

    whitenings: one for each part, or None.
    found: what is known of the photos of each pool, whitened and joined.
    gallery: of the training photos.
    """

    whitenings: list[Whitening | None]
    found: dict[str, Embedded]
    gallery: Gallery


def pool(embedder: Embedder, queries: Sequence[Query], label: str) -> Pool:
    """Embed the photos of a pool; those that do not decode are left out."""
    apart = embedder.embed_apart([query.path for query in queries], label)
    return Pool([queries[i] for i in apart[0].which], apart)


class Bench:
    """The pools of a subset; "train" and "penalty" are what the others are held against."""

    def __init__(
        self,
        settings: Config,
        classes: Sequence[Class],
        pools: dict[str, Pool],
        geometry: Geometry | None,
    ):
        self.settings = settings
        self.classes = classes
        self.pools = pools
        self.geometry = geometry
        self._fitted: tuple[str, Fitted] | None = None  # the last: vectors are large
        self._known: dict[str, Evidence] = {}

    @property
    def n_parts(self) -> int:
        """How many embedders there are."""
        return len(self.pools["train"].apart)

    @property
    def has_head(self) -> bool:
        """Whether any embedder gives class scores."""
        return any(f.log_probability.shape[1] for f in self.pools["train"].apart)

    def fitted(self, recognition: Recognition) -> Fitted:
        """Whiten, join and build the gallery as the settings say; the last is kept."""
        key = repr(_embedding(recognition))
        if self._fitted is None or self._fitted[0] != key:
            self._fitted = None
            self._fitted = key, self._fit(recognition)
        return self._fitted[1]

    def _fit(self, recognition: Recognition) -> Fitted:
        whitenings = [
            self._whitening(p, recognition) for p in self.pools["train"].apart
        ]
        found = {
            name: joined(
                [whitened(f, w) for f, w in zip(part.apart, whitenings, strict=True)],
                recognition.weights,
            )
            for name, part in self.pools.items()
        }
        labels = [
            Label(query.image_id, query.landmark_id)
            for query in self.pools["train"].queries
            if query.landmark_id is not None
        ]
        non_landmarks = found["penalty"].vectors.astype(np.float16)
        gallery = gallery_from(
            labels, found["train"].vectors, non_landmarks, recognition
        )
        return Fitted(whitenings, found, gallery)

    def known(self, name: str, recognition: Recognition) -> Evidence:
        """What is known of the photos of a pool, geometry included; found out once."""
        verification = recognition.verification
        looked = verification and verification.model_dump(
            exclude={"weight", "full_inliers"}
        )
        key = repr((name, _embedding(recognition), looked))
        if key not in self._known:
            self._known[key] = self._look(name, recognition)
        return self._known[key]

    def _look(self, name: str, recognition: Recognition) -> Evidence:
        fitted = self.fitted(recognition)
        found = fitted.found[name]
        known = evidence(
            found.vectors,
            found.log_probability,
            fitted.gallery,
            self.classes,
            recognition,
        )
        if self.geometry is None or recognition.verification is None:
            return known
        paths = [query.path for query in self.pools[name].queries]
        steps = self.geometry.verified(
            known, paths, fitted.gallery, recognition.verification
        )
        for known in steps:
            pass
        return known

    def guesses(self, name: str, recognition: Recognition) -> dict[str, Guess | None]:
        """The guess for each photo of a pool."""
        fitted = self.fitted(recognition)
        if recognition.ranking == "head":
            landmarks = {row.landmark_id for row in self.classes}
            logs = fitted.found[name].log_probability
            found = head_guesses(
                logs, self.classes, landmarks, recognition.demote_share
            )
        else:
            known = self.known(name, recognition)
            found = gallery_guesses(known, fitted.gallery, recognition)
        ids = [query.image_id for query in self.pools[name].queries]
        return dict(zip(ids, found, strict=True))

    def scores(self, name: str, recognition: Recognition) -> dict[str, Any]:
        """GAP and its companions on a pool, with intervals, and mAP of the search."""
        guesses = self.guesses(name, recognition)
        scores = with_intervals(guesses, self.truths(name)).as_json()
        fitted = self.fitted(recognition)
        shown = [query.landmark_id for query in self.pools[name].queries]
        landmarks = set(fitted.gallery.landmark_ids.tolist())
        scores["queries"] = {
            "landmark": sum(i in landmarks for i in shown),
            "unknown_landmark": sum(
                i not in landmarks and i is not None for i in shown
            ),
            "non_landmark": sum(i is None for i in shown),
        }
        vectors = fitted.found[name].vectors
        _, rows = top_k(vectors, fitted.gallery.vectors, MAP_AT)
        scores[f"map_at_{MAP_AT}"] = _mean_average_precision(
            shown, rows, fitted.gallery
        )
        return scores

    def truths(self, name: str) -> dict[str, Truth]:
        """What each photo of a pool shows, of the landmarks that can be named."""
        named = {query.landmark_id for query in self.pools["train"].queries}

        def shown(landmark_id: int | None) -> frozenset[int]:
            if landmark_id is None or landmark_id not in named:
                return frozenset()
            return frozenset({landmark_id})

        return {
            q.image_id: Truth(shown(q.landmark_id)) for q in self.pools[name].queries
        }

    def tuned(
        self, recognition: Recognition, pinned: Sequence[str] = ()
    ) -> tuple[Recognition, list[Trial]]:
        """Choose weights and ranking by GAP on the validation pool.

        Args:
            pinned: settings that are to stay as they are.
        """
        if not self.pools["validation"].queries or recognition.ranking == "head":
            return recognition, []
        if not recognition.tune:
            return recognition, []
        trials: list[Trial] = []
        if self.n_parts > 1 and not recognition.weights:
            recognition, trials = self._weighted(recognition)
        chosen, more = tune(
            recognition,
            self._precisions,
            self.has_head,
            self.settings.seed,
            pinned,
        )
        return chosen, trials + more

    def _weighted(self, recognition: Recognition) -> tuple[Recognition, list[Trial]]:
        """The weight of each part beside the first, before geometry is looked at.

        Parts count alike but where another weight is better.
        """
        alike = (1.0,) * self.n_parts
        plain = {"verification": None, "weights": alike}
        search = Search(recognition.model_copy(update=plain), self._precisions)
        for i in range(1, self.n_parts):
            now = search.settings.weights
            search.offer("weights", [(*now[:i], w, *now[i + 1 :]) for w in WEIGHTS])
        weights = search.settings.weights
        return recognition.model_copy(update={"weights": weights}), search.trials

    def _precisions(self, settings: Recognition) -> Precisions:
        """What each validation photo of a landmark adds to GAP."""
        guesses = self.guesses("validation", settings)
        return precisions_of(guesses, self.truths("validation"))

    def _whitening(self, found: Embedded, recognition: Recognition) -> Whitening | None:
        if recognition.whiten is None:
            return None
        rng = np.random.default_rng(self.settings.seed)
        wide = found.vectors.shape[1] > WIDE
        n = min(len(found.vectors), WIDE if wide else WHITENING_PHOTOS)
        some = np.sort(rng.permutation(len(found.vectors))[:n])
        landmarks = None
        if recognition.whitening == "within":
            queries = self.pools["train"].queries
            landmarks = np.array([queries[i].landmark_id for i in some], np.int64)
        return whitening_of(found.vectors[some], recognition.whiten, landmarks)


def _embedding(recognition: Recognition) -> tuple[object, ...]:
    """The settings that vectors depend on."""
    return recognition.whiten, recognition.whitening, recognition.weights


def _mean_average_precision(
    shown: Sequence[int | None], rows: NDArray[np.int64], gallery: Gallery
) -> float | None:
    """mAP of the nearest gallery photos, over the photos whose landmark the gallery has."""
    of_row = gallery.landmark_ids
    landmarks = np.array([-1 if i is None else i for i in shown], np.int64)
    counts = Counter(of_row.tolist())
    n_relevant = np.array([counts[i] for i in landmarks.tolist()], np.int64)
    asked = np.flatnonzero(n_relevant)
    if not len(asked):
        return None
    relevant = of_row[rows[asked]] == landmarks[asked, None]
    return mean_average_precision(relevant, n_relevant[asked], MAP_AT)
