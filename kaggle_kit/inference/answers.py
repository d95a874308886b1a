"""What the kit says of an image, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kaggle_kit.retrieval.ranking import (
    Evidence,
    fuse_similarities,
    multiply_by_head,
    score_neighbours,
)

if TYPE_CHECKING:
    from kaggle_kit.inference.recogniser import Recogniser

N_CANDIDATES, N_NEIGHBOURS = 5, 6  # in an answer
# Below it the image more probably shows no landmark of the gallery than the one guessed.
LANDMARK_FROM = 0.5


@dataclass(frozen=True)
class Candidate:
    """A landmark that the image may show.

    Attributes:
        confidence: what a submission would say, if it were the first.
        probability: of being right; None where the bundle is not calibrated.
    """

    landmark: int
    name: str
    confidence: float
    probability: float | None


@dataclass(frozen=True)
class Neighbour:
    """A gallery image, and what it adds to the score of its landmark.

    Attributes:
        similarity: a cosine.
        inliers: weighted local features that agree on one geometry; None where geometry
            is not part of the ranking.
        b: how similar it is to non-landmarks.
        a: similarity and inliers, less B.
        counts: whether it is one of the neighbours that the score sums over.
    """

    image_id: str
    landmark: int
    name: str
    similarity: float
    inliers: float | None
    b: float
    a: float
    counts: bool


@dataclass(frozen=True)
class SimilarImage:
    """A gallery image and its cosine to a query; its landmark's name where known."""

    image_id: str
    landmark: int
    name: str | None
    similarity: float


@dataclass(frozen=True)
class Answer:
    """What an image shows, and why.

    Attributes:
        error: why there is no answer, in one line; None if there is one.
        candidates: the most confident first; none if the bundle has no landmark.
        evidence: gallery images, the largest A first.
        c: how similar the image is to non-landmarks.
    """

    error: str | None = None
    candidates: tuple[Candidate, ...] = ()
    evidence: tuple[Neighbour, ...] = ()
    c: float = 0.0

    @property
    def landmark(self) -> int | None:
        """Id of the most confident landmark."""
        return self.candidates[0].landmark if self.candidates else None

    @property
    def name(self) -> str | None:
        """Name of the most confident landmark, or its number."""
        return self.candidates[0].name if self.candidates else None

    @property
    def confidence(self) -> float | None:
        """What a submission would say."""
        return self.candidates[0].confidence if self.candidates else None

    @property
    def probability(self) -> float | None:
        """Of being right, where the bundle is calibrated."""
        return self.candidates[0].probability if self.candidates else None

    @property
    def margin(self) -> float | None:
        """The confidence of the first candidate less that of the second."""
        if len(self.candidates) < 2:
            return None
        return self.candidates[0].confidence - self.candidates[1].confidence

    @property
    def is_landmark(self) -> bool | None:
        """Whether the first candidate is more probably right than wrong; None: unknown."""
        if self.probability is None:
            return None
        return self.probability >= LANDMARK_FROM


def explain(
    recogniser: Recogniser, evidence: Evidence, log_probability: np.ndarray
) -> Answer:
    """The answer for one image.

    Args:
        evidence: of that image alone.
        log_probability: (1, C) its class scores.
    """
    if recogniser.ranking.ranking == "head":
        landmarks = [row.landmark_id for row in recogniser.classes]
        scores = _best(landmarks, log_probability[0].astype(np.float64).tolist())
    elif len(recogniser.gallery.image_ids):
        scores = gallery_candidates(recogniser, evidence)
    else:
        scores = {}
    curve = recogniser.calibration
    candidates = [
        Candidate(
            landmark,
            recogniser.name(landmark),
            confidence,
            curve(confidence) if curve else None,
        )
        for landmark, confidence in list(scores.items())[:N_CANDIDATES]
    ]
    neighbours = _neighbours(recogniser, evidence)
    return Answer(None, tuple(candidates), neighbours, float(evidence.penalty[0]))


def gallery_candidates(recogniser: Recogniser, evidence: Evidence) -> dict[int, float]:
    """Confidence of the landmarks of one image's neighbours, the largest first.

    The first is the guess of ``guess_by_gallery``; of equal scores the one that comes first.
    After the landmarks of the neighbours that count come those of the others, each as if
    its best image alone counted, but none above those that do count: where every A is
    below 0, several images add up to less than one.
    """
    settings = recogniser.ranking
    penalty = settings.query_penalty_weight * evidence.penalty[0]
    every_one = settings.model_copy(
        update={"neighbours": evidence.rows.shape[1], "per_landmark": None}
    )
    confidences: dict[int, float] = {}
    for ranking in (settings, every_one):
        neighbours = score_neighbours(evidence, recogniser.gallery, ranking)
        scores = neighbours.scores[0]
        if ranking is every_one:
            scores = multiply_by_head(
                neighbours.adjusted, evidence, neighbours.position, settings
            )[0]
        landmarks = neighbours.landmarks[0].tolist()
        for landmark, score in _best(landmarks, scores.tolist()).items():
            least = min(confidences.values(), default=np.inf)
            confidences.setdefault(landmark, min(float(score - penalty), least))
    return confidences


def _neighbours(recogniser: Recogniser, evidence: Evidence) -> tuple[Neighbour, ...]:
    if not evidence.rows.size:
        return ()
    gallery, settings = recogniser.gallery, recogniser.ranking
    counted = set(score_neighbours(evidence, gallery, settings).position[0].tolist())
    b = np.asarray(gallery.penalties)[evidence.rows[0]]
    a = fuse_similarities(evidence, settings)[0] - settings.gallery_penalty_weight * b
    neighbours = []
    for k in np.argsort(-a, kind="stable")[:N_NEIGHBOURS].tolist():
        row = int(evidence.rows[0, k])
        landmark = int(gallery.landmark_ids[row])
        neighbours.append(
            Neighbour(
                gallery.image_ids[row],
                landmark,
                recogniser.name(landmark),
                float(evidence.cosines[0, k]),
                float(evidence.inliers[0, k]) if recogniser.geometry else None,
                float(b[k]),
                float(a[k]),
                k in counted,
            )
        )
    return tuple(neighbours)


def _best(ids: Sequence[int], scores: Sequence[float]) -> Mapping[int, float]:
    """Each id once, with its largest score; largest first, of equal ones the first."""
    best: dict[int, float] = {}
    for i in sorted(range(len(ids)), key=lambda i: -scores[i]):
        best.setdefault(ids[i], scores[i])
    return best
