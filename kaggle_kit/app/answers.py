"""The answer for one photo, and why: a bundle without TensorFlow."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kaggle_kit import config
from kaggle_kit.backends.pillow import LightEngine
from kaggle_kit.backends.uploads import Photo, alone
from kaggle_kit.errors import DataError
from kaggle_kit.inference.calibration import CALIBRATION, PLAIN_CALIBRATION, Calibration
from kaggle_kit.inference.embedder import Embedded
from kaggle_kit.inference.recogniser import Recogniser
from kaggle_kit.retrieval.gallery import Gallery
from kaggle_kit.retrieval.ranking import Evidence, scored, similarities, with_head
from kaggle_kit.storage import tables

if TYPE_CHECKING:
    from kaggle_kit.local_features.sift import Features

N_CANDIDATES, N_SIMILAR = 5, 6  # shown of an answer
GEOMETRY = ("cv2", "threadpoolctl")
# Below it the photo more probably shows no landmark of the gallery than the one guessed.
LANDMARK_FROM = 0.5


@dataclass(frozen=True)
class Candidate:
    """A landmark that the photo may show.

    Attributes:
        confidence: what a submission would say, if it were the first.
        probability: that it is right, where the bundle knows.
    """

    landmark_id: int
    name: str
    confidence: float
    probability: float | None


@dataclass(frozen=True)
class Similar:
    """A gallery photo, and what it adds to the score of its landmark.

    Attributes:
        similarity: a cosine.
        inliers: local features that agree on one geometry, weighed; None if not looked at.
        b: how like non-landmarks it is.
        a: similarity and inliers, less B; the larger, the more it counts.
        counts: whether it is one of the neighbours that are counted.
    """

    image_id: str
    landmark_id: int
    name: str
    similarity: float
    inliers: float | None
    b: float
    a: float
    counts: bool


@dataclass(frozen=True)
class Answer:
    """What a photo shows, and why.

    Attributes:
        candidates: the surest first; none if the bundle has no landmark.
        similar: gallery photos, the largest A first.
        c: how like non-landmarks the photo is.
        margin: the confidence of the first candidate less that of the second.
        seconds: that it took.
    """

    candidates: Sequence[Candidate]
    similar: Sequence[Similar]
    c: float
    margin: float | None
    seconds: float

    @property
    def is_landmark(self) -> bool | None:
        """Whether the first candidate is more probably right than wrong; None: unknown."""
        if not self.candidates or self.candidates[0].probability is None:
            return None
        return self.candidates[0].probability >= LANDMARK_FROM


class Answers:
    """A bundle, ready to answer.

    Attributes:
        geometry: whether geometry is looked at.
        without_geometry: why it is not although the bundle was tuned with it, or None.
    """

    def __init__(self, bundle: Path):
        """Load a bundle.

        Raises:
            ArtefactError, ConfigError, TableError, KitError: a file is missing or
                damaged, or a package.
        """
        wanted = config.read_json(bundle / "config.json").recognition.verification
        self.without_geometry = _hindrance(bundle) if wanted else None
        self.engine = LightEngine()
        self.recogniser = Recogniser.load(
            bundle, bundle, self.engine, 1, self.without_geometry is None
        )
        self.geometry = self.recogniser.geometry is not None
        self.settings = self.recogniser.settings.recognition
        self.gallery = self.recogniser.gallery
        self.names = tables.read_names(bundle / "names.csv")
        # a curve for confidences that geometry added to says nothing of those without
        curve = PLAIN_CALIBRATION if self.without_geometry else CALIBRATION
        self.calibration = Calibration.load(bundle / curve)
        self._seconds: deque[float] = deque(maxlen=100)

    def answer(self, photo: Photo) -> Answer:
        """Recognise a photo; one at a time, whoever asks.

        Raises:
            DataError: it does not decode.
        """
        return alone(lambda: self._answer(photo))

    def _answer(self, photo: Photo) -> Answer:
        start = time.monotonic()
        with self.engine.named(photo) as path:
            photo.pixels(1)  # says what is wrong with it, if anything is
            found = self.recogniser.embedder.embed([path], "photo")
            if not len(found.which):
                raise DataError(
                    f"{photo.name}: expected a photo, got one without pixels"
                )
            known = self._known(found, path)
        candidates = self._candidates(found, known)
        margin = None
        if len(candidates) > 1:
            margin = candidates[0].confidence - candidates[1].confidence
        seconds = time.monotonic() - start
        self._seconds.append(seconds)
        c = float(known.penalty[0])
        similar = self._similar(known)
        return Answer(candidates[:N_CANDIDATES], similar, c, margin, seconds)

    def matched(self, photo: Photo, other: Photo) -> tuple[Features, Features]:
        """The local features of two photos as they are compared; needs OpenCV.

        As in ``answer``, one at a time: to be called by way of ``alone``.
        """
        reader = self.recogniser.geometry.reader if self.recogniser.geometry else None
        assert reader is not None
        with self.engine.named(photo) as one, self.engine.named(other) as two:
            first, second = reader.read([one, two])
        assert first is not None and second is not None
        return first, second

    def speed(self) -> str:
        """The seconds that a photo took here lately."""
        if not self._seconds:
            return "no photo yet"
        middle = statistics.median(self._seconds)
        return f"{middle:.2f} s a photo, the median of the last {len(self._seconds)}"

    def _known(self, found: Embedded, path: Path) -> Evidence:
        known = self.recogniser.evidence(found, self.gallery)
        verification = self.settings.verification
        if self.recogniser.geometry and verification:
            steps = self.recogniser.geometry.verified(
                known, [path], self.gallery, verification
            )
            for known in steps:
                pass
        return known

    def _candidates(self, found: Embedded, known: Evidence) -> list[Candidate]:
        if self.settings.ranking == "head":
            ids = [row.landmark_id for row in self.recogniser.classes]
            pairs = _best_of(ids, found.log_probability[0].astype(np.float64).tolist())
        elif len(self.gallery.image_ids):
            pairs = gallery_candidates(known, self.gallery, self.settings)
        else:
            pairs = []
        curve = self.calibration
        return [
            Candidate(
                landmark_id,
                self.name(landmark_id),
                confidence,
                curve(confidence) if curve else None,
            )
            for landmark_id, confidence in pairs
        ]

    def _similar(self, known: Evidence) -> list[Similar]:
        if not known.rows.size:
            return []
        counted = set(scored(known, self.gallery, self.settings).place[0].tolist())
        sums = similarities(known, self.settings)[0]
        b = np.asarray(self.gallery.penalties)[known.rows[0]]
        a = sums - self.settings.gallery_penalty_weight * b
        found = []
        for place in np.argsort(-a, kind="stable")[:N_SIMILAR].tolist():
            row = int(known.rows[0, place])
            landmark_id = int(self.gallery.landmark_ids[row])
            inliers = float(known.inliers[0, place]) if self.geometry else None
            found.append(
                Similar(
                    self.gallery.image_ids[row],
                    landmark_id,
                    self.name(landmark_id),
                    float(known.cosines[0, place]),
                    inliers,
                    float(b[place]),
                    float(a[place]),
                    place in counted,
                )
            )
        return found

    def name(self, landmark_id: int) -> str:
        """A landmark's name as people write it, or its number."""
        return self.names.get(landmark_id) or f"landmark {landmark_id}"


def gallery_candidates(
    known: Evidence, gallery: Gallery, settings: config.Recognition
) -> list[tuple[int, float]]:
    """The landmarks of one query's nearest photos, with their confidence, likeliest first.

    The first is the guess of ``gallery_guesses``; of equal scores the one that comes first.
    After the landmarks of the photos that count come those of the others, each as if its
    best photo alone counted, but none above those that do count: where every A is below
    0, several photos come to less than one.
    """
    less = settings.query_penalty_weight * known.penalty[0]
    all_alone = settings.model_copy(
        update={"neighbours": known.rows.shape[1], "per_landmark": None}
    )
    found: dict[int, float] = {}
    for counted, is_alone in ((settings, False), (all_alone, True)):
        some = scored(known, gallery, counted)
        landmarks, scores = some.landmarks[0], some.scores[0]
        if is_alone:
            scores = with_head(some.adjusted, known, some.place, settings)[0]
        for landmark_id, score in _best_of(landmarks.tolist(), scores.tolist()):
            least = min(found.values(), default=np.inf)
            found.setdefault(landmark_id, min(float(score - less), least))
    return list(found.items())


def _best_of(ids: Sequence[int], values: Sequence[float]) -> list[tuple[int, float]]:
    """Each id once, with its largest value; largest first, of equal ones the first."""
    order = sorted(range(len(ids)), key=lambda i: -values[i])
    best: dict[int, float] = {}
    for i in order:
        best.setdefault(ids[i], values[i])
    return list(best.items())


def _hindrance(bundle: Path) -> str | None:
    """Why geometry cannot be looked at."""
    if not (bundle / "local").is_dir():
        return "its local features were left out of the exported folder"
    missing = [name for name in GEOMETRY if find_spec(name) is None]
    return "OpenCV is not installed" if missing else None
