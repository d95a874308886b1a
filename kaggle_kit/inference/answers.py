"""The answer for an image: landmarks with confidences, and the evidence for them."""

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

# Landmarks and gallery images in an answer, as the app shows them. The number of images
# that are ranked is ``recognition.candidates``.
N_CANDIDATES, N_NEIGHBOURS = 5, 6
LANDMARK_FROM = 0.5  # probability from which a guess is more likely right than wrong


@dataclass(frozen=True)
class Candidate:
    """A landmark that the image may show.

    Attributes:
        landmark: its id.
        name: its name, or its number where no name is known.
        confidence: as in a submission with this landmark as the guess.
        probability: of being right; None if the bundle is not calibrated.
    """

    landmark: int
    name: str
    confidence: float
    probability: float | None


@dataclass(frozen=True)
class Neighbour:
    """A gallery image, and its contribution to the score of its landmark.

    Attributes:
        similarity: cosine to the query.
        inliers: weighted number of local features that agree on one geometry; None if
            geometry is not part of the ranking.
        b: mean cosine to its nearest non-landmarks.
        a: similarity and inliers, less B; see ``ranking.guess_by_gallery``.
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
    """A gallery image and its cosine to a query; ``name`` is None if it is unknown."""

    image_id: str
    landmark: int
    name: str | None
    similarity: float


@dataclass(frozen=True)
class Answer:
    """The landmark in an image, and the evidence for it.

    Attributes:
        error: one line if the image does not decode; otherwise None.
        candidates: landmarks, the most confident first; empty if the gallery is empty.
        evidence: gallery images, the largest A first.
        c: mean cosine of the image to its nearest non-landmarks.
    """

    error: str | None = None
    candidates: tuple[Candidate, ...] = ()
    evidence: tuple[Neighbour, ...] = ()
    c: float = 0.0

    @property
    def landmark(self) -> int | None:
        """Id of the first candidate; None without candidates, as for what follows."""
        return self.candidates[0].landmark if self.candidates else None

    @property
    def name(self) -> str | None:
        """Name of the first candidate, or its number where no name is known."""
        return self.candidates[0].name if self.candidates else None

    @property
    def confidence(self) -> float | None:
        """Confidence of the first candidate, as in a submission."""
        return self.candidates[0].confidence if self.candidates else None

    @property
    def probability(self) -> float | None:
        """Probability that the first candidate is right; None if it is unknown."""
        return self.candidates[0].probability if self.candidates else None

    @property
    def margin(self) -> float | None:
        """Confidence of the first candidate less that of the second."""
        if len(self.candidates) < 2:
            return None
        return self.candidates[0].confidence - self.candidates[1].confidence

    @property
    def is_landmark(self) -> bool | None:
        """Whether the first candidate is more likely right than wrong; None: unknown."""
        if self.probability is None:
            return None
        return self.probability >= LANDMARK_FROM


def explain(
    recogniser: Recogniser, evidence: Evidence, log_probability: np.ndarray
) -> Answer:
    """Build the answer for one image.

    Args:
        evidence: of this image only.
        log_probability: (1, C) its class scores.
    """
    if recogniser.ranking.ranking == "head":
        landmarks = [row.landmark_id for row in recogniser.classes]
        log_probabilities = log_probability[0].astype(np.float64).tolist()
        confidences = _sort_by_score(landmarks, log_probabilities)
    elif len(recogniser.gallery.image_ids):
        confidences = rank_landmarks(recogniser, evidence)
    else:
        confidences = {}
    calibration = recogniser.calibration
    candidates = [
        Candidate(
            landmark,
            recogniser.name(landmark),
            confidence,
            calibration(confidence) if calibration else None,
        )
        for landmark, confidence in list(confidences.items())[:N_CANDIDATES]
    ]
    neighbours = _list_neighbours(recogniser, evidence)
    return Answer(None, tuple(candidates), neighbours, float(evidence.penalty[0]))


def rank_landmarks(recogniser: Recogniser, evidence: Evidence) -> dict[int, float]:
    """The confidence of each landmark among the neighbours of one image, largest first.

    The first landmark is the guess of ``guess_by_gallery``. Landmarks of neighbours that
    count come before all others. The confidence of the others is that of their best
    neighbour alone, bounded by the smallest one so far: if all A are negative, a sum over
    several neighbours is smaller than a single A.
    """
    settings = recogniser.ranking
    penalty = settings.query_penalty_weight * evidence.penalty[0]
    all_neighbours = settings.model_copy(
        update={"neighbours": evidence.rows.shape[1], "per_landmark": None}
    )
    confidences: dict[int, float] = {}
    for ranking in (settings, all_neighbours):
        neighbours = score_neighbours(evidence, recogniser.gallery, ranking)
        scores = neighbours.scores[0]
        if ranking is all_neighbours:
            scores = multiply_by_head(
                neighbours.adjusted, evidence, neighbours.position, settings
            )[0]
        landmarks = neighbours.landmarks[0].tolist()
        for landmark, score in _sort_by_score(landmarks, scores.tolist()).items():
            smallest = min(confidences.values(), default=np.inf)
            confidences.setdefault(landmark, min(float(score - penalty), smallest))
    return confidences


def _list_neighbours(
    recogniser: Recogniser, evidence: Evidence
) -> tuple[Neighbour, ...]:
    """The neighbours with the largest A."""
    if not evidence.rows.size:
        return ()
    gallery, settings = recogniser.gallery, recogniser.ranking
    counting = set(score_neighbours(evidence, gallery, settings).position[0].tolist())
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
                k in counting,
            )
        )
    return tuple(neighbours)


def _sort_by_score(ids: Sequence[int], scores: Sequence[float]) -> Mapping[int, float]:
    """The largest score of each id, in descending order; ties keep their order."""
    best: dict[int, float] = {}
    for i in sorted(range(len(ids)), key=lambda i: -scores[i]):
        best.setdefault(ids[i], scores[i])
    return best
