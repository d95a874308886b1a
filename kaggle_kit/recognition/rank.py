"""From similarities to guesses: class scores, and how unlike a landmark a photo is."""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from kaggle_kit import config
from kaggle_kit.recognition.search import Gallery, mean_top, top_k
from kaggle_kit.tables import Class, Guess


def gallery_guesses(
    queries: NDArray[np.float32], gallery: Gallery, settings: config.Recognition
) -> list[Guess | None]:
    """Guess by the nearest gallery photos, less the non-landmark penalties.

    ::

        A_j = max(q.x_j, 0) - B_j       for the nearest photos j, keeping the largest few
        S_c = sum of A_j over the photos of landmark c
        confidence = max_c S_c - C      for the landmark with the largest S_c

    B_j and C are the mean cosines of the photo j and of the query to their nearest
    non-landmarks. An unlikely guess is ranked low and never withheld: below all others,
    it can only raise GAP.

    Args:
        queries: (q, d) unit vectors.

    Returns:
        A guess per query; None only when the gallery is empty.

    Source: the first place of 2020 (Henkel & Singer, arXiv:2010.01650), section 2.5.
    """
    if not len(gallery.image_ids):
        return [None] * len(queries)
    cosines, rows = top_k(queries, gallery.vectors, settings.candidates)
    adjusted = np.clip(cosines, 0, None) - np.asarray(gallery.penalties)[rows]
    order = np.argsort(-adjusted, axis=1, kind="stable")[:, : settings.neighbours]
    adjusted = np.take_along_axis(adjusted, order, axis=1)
    landmarks = gallery.landmark_ids[np.take_along_axis(rows, order, axis=1)]
    landmark, score = aggregated(landmarks, adjusted)
    score = score - mean_top(queries, gallery.non_landmarks, settings.query_penalty)
    return [
        Guess(*pair) for pair in zip(landmark.tolist(), score.tolist(), strict=True)
    ]


def aggregated(
    landmarks: NDArray[np.int64], scores: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Sum scores by landmark, row by row, and keep the landmark with the largest sum.

    Args:
        landmarks: (q, k) landmark ids.
        scores: (q, k) of each neighbour, best first; of equal sums the first wins.

    Returns:
        ((q,) landmark ids, (q,) sums).

    >>> aggregated(np.array([[7, 8, 8]]), np.array([[0.5, 0.4, 0.3]]))
    (array([8]), array([0.7]))
    """
    same = landmarks[:, :, None] == landmarks[:, None, :]
    sums = (same * scores[:, None, :].astype(np.float64)).sum(axis=2)
    best = np.arange(len(sums)), sums.argmax(axis=1)
    return landmarks[best], sums[best]


def head_guesses(
    log_probability: NDArray[np.float32],
    classes: Sequence[Class],
    allowed: Collection[int],
) -> list[Guess | None]:
    """Guess the most probable class among the landmarks that may occur.

    The confidence is the logarithm of the probability: near 1, probabilities themselves
    round to ties, and ties move GAP.

    Args:
        log_probability: (q, C).
        classes: C rows of ``classes.csv``.
        allowed: landmark ids; others are never guessed.
    """
    landmark_ids = np.array([row.landmark_id for row in classes], np.int64)
    may = np.flatnonzero(np.isin(landmark_ids, list(allowed)))
    if not len(may):
        return [None] * len(log_probability)
    candidates = log_probability[:, may]
    landmark = landmark_ids[may[candidates.argmax(axis=1)]].tolist()
    confidence = candidates.max(axis=1).astype(np.float64).tolist()
    return [Guess(*pair) for pair in zip(landmark, confidence, strict=True)]
