"""From similarities to guesses: class scores, and how unlike a landmark a photo is."""

import sys
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kaggle_kit import config
from kaggle_kit.retrieval.gallery import Gallery
from kaggle_kit.retrieval.knn import QUERY_BLOCK, mean_top, top_k
from kaggle_kit.storage.tables import Class, Guess

LEAST = 1e-9  # of a class score, before its logarithm is taken


class Evidence(NamedTuple):
    """What is known of q queries and, for each, of its k nearest gallery photos.

    rows: (q, k) rows of the gallery, most similar first.
    cosines: (q, k) similarities.
    inliers: (q, k) local features that agree on one geometry, weighed; 0 where not
        looked at.
    head: (q, k) log-probability of each photo's landmark by the network's head; 0 without.
    penalty: (q,) mean cosine to the nearest non-landmarks (C of A-B-C).
    """

    rows: NDArray[np.int64]
    cosines: NDArray[np.float32]
    inliers: NDArray[np.float32]
    head: NDArray[np.float32]
    penalty: NDArray[np.float32]

    def at(self, queries: Any) -> "Evidence":
        """That of some queries: a slice, or an array of their positions."""
        return Evidence._make(values[queries] for values in self)


def evidence(
    vectors: NDArray[np.float32],
    log_probability: NDArray[np.float32],
    gallery: Gallery,
    classes: Sequence[Class],
    settings: config.Recognition,
) -> Evidence:
    """Search the gallery; what geometry says is not part of it yet.

    Args:
        vectors: (q, d) unit vectors of the queries.
        log_probability: (q, C) by the head for the C ``classes``; C may be 0. Of a
            landmark that the head does not know it says nothing: 1 / C.
    """
    k = settings.candidates
    if settings.verification:
        k = max(k, settings.verification.candidates)
    cosines, rows = top_k(vectors, gallery.vectors, k)
    head = np.zeros_like(cosines)
    if log_probability.shape[1] and len(gallery.image_ids):
        column = {row.landmark_id: i for i, row in enumerate(classes)}
        of_row = np.array([column.get(i, -1) for i in gallery.landmark_ids.tolist()])
        known = np.take_along_axis(log_probability, of_row[rows], axis=1)
        chance = np.float32(-np.log(log_probability.shape[1]))
        head = np.where(of_row[rows] >= 0, known, chance)
    penalty = mean_top(vectors, gallery.non_landmarks, settings.query_penalty)
    return Evidence(rows, cosines, np.zeros(rows.shape, np.float32), head, penalty)


def gallery_guesses(
    known: Evidence, gallery: Gallery, settings: config.Recognition
) -> list[Guess | None]:
    """Guess by the nearest gallery photos, less the non-landmark penalties.

    ::

        s_j = max(cosine_j, 0) + v min(inliers_j, M) / M   for the nearest photos j
        A_j = s_j - beta B_j                               keeping the largest few
        S_c = (sum of A_j^a over some photos of landmark c)^(1/a)
        confidence = max_c S_c h_c^b - gamma C

    B_j and C are the mean cosines of the photo j and of the query to their nearest
    non-landmarks, h_c the head's probability. With a = beta = gamma = 1 and b = v = 0 this
    is A-B-C (the first place of 2020, Henkel & Singer, arXiv:2010.01650, section 2.5);
    with beta = gamma = 0 it ranks as the third place of 2020 did (a = 8, b = 12/8). Powers
    are taken of logarithms, so that none underflows.

    An unlikely guess is ranked low and never withheld: below all others, it can only
    raise GAP.

    Returns:
        A guess per query; None only when the gallery is empty.
    """
    if not len(gallery.image_ids):
        return [None] * len(known.rows)
    found: list[Guess] = []
    for start in range(0, len(known.rows), QUERY_BLOCK):
        block = known.at(slice(start, start + QUERY_BLOCK))
        found += _best(block, gallery, settings)
    return demoted(found, settings.demote_share)


class Scored(NamedTuple):
    """The neighbours of q queries that count, and what their landmarks come to.

    place: (q, n) places among the k nearest, the largest A first.
    adjusted: (q, n) A of each.
    landmarks: (q, n) what each shows.
    scores: (q, n) the class score of that landmark, times the head's.
    """

    place: NDArray[np.int64]
    adjusted: NDArray[np.float64]
    landmarks: NDArray[np.int64]
    scores: NDArray[np.float64]


def scored(known: Evidence, gallery: Gallery, settings: config.Recognition) -> Scored:
    """The formula of ``gallery_guesses`` for some queries, but for C."""
    adjusted = similarities(known, settings)
    adjusted -= (
        settings.gallery_penalty_weight * np.asarray(gallery.penalties)[known.rows]
    )
    order = np.argsort(-adjusted, kind="stable")[:, : settings.neighbours]
    adjusted = np.take_along_axis(adjusted, order, axis=1)
    landmarks = gallery.landmark_ids[np.take_along_axis(known.rows, order, axis=1)]
    counted = _within(landmarks) < (settings.per_landmark or settings.neighbours)
    scores = aggregated(
        landmarks, np.where(counted, adjusted, -np.inf), settings.exponent
    )
    return Scored(order, adjusted, landmarks, with_head(scores, known, order, settings))


def with_head(
    scores: NDArray[np.float64],
    known: Evidence,
    place: NDArray[np.int64],
    settings: config.Recognition,
) -> NDArray[np.float64]:
    """Class scores, (q, n), times the head's say in the landmarks of some neighbours.

    Given their A in place of scores: what a landmark would come to if one neighbour alone
    counted.

    Args:
        place: (q, n) of the neighbours, among the k nearest.
    """
    if not settings.head_exponent:
        return scores
    head = np.take_along_axis(known.head, place, axis=1).astype(np.float64)
    logs = np.log(np.maximum(scores, LEAST)) + settings.head_exponent * head
    return np.exp(logs)


def _best(
    known: Evidence, gallery: Gallery, settings: config.Recognition
) -> list[Guess]:
    """The landmark of the largest score for some queries, and its confidence."""
    _, _, landmarks, scores = scored(known, gallery, settings)
    best = np.arange(len(scores)), scores.argmax(axis=1)
    confidence = scores[best] - settings.query_penalty_weight * known.penalty
    return list(map(Guess, landmarks[best].tolist(), confidence.tolist()))


def similarities(known: Evidence, settings: config.Recognition) -> NDArray[np.float64]:
    """(q, k) cosines, none below 0, and what the inliers add to them."""
    fused = np.maximum(known.cosines.astype(np.float64), 0)
    verification = settings.verification
    if verification:
        share = np.minimum(known.inliers, verification.full_inliers)
        fused += verification.weight * share / verification.full_inliers
    return fused


def aggregated(
    landmarks: NDArray[np.int64], scores: NDArray[np.floating], exponent: float = 1.0
) -> NDArray[np.float64]:
    """The score of each neighbour's landmark, summed over the neighbours that show it.

    Args:
        landmarks: (q, k) landmark ids.
        scores: (q, k) of each neighbour, best first; negative ones count only with
            exponent 1, and -inf not at all.
        exponent: a in (sum s^a)^(1/a); 1 is the sum, much is the maximum.

    Returns:
        (q, k).

    >>> aggregated(np.array([[7, 8, 8]]), np.array([[0.5, 0.4, 0.3]]))
    array([[0.5, 0.7, 0.7]])
    """
    same = landmarks[:, :, None] == landmarks[:, None, :]
    scores = scores.astype(np.float64)
    if exponent == 1:
        counted = np.where(scores == -np.inf, 0.0, scores)
        return (same * counted[:, None, :]).sum(axis=2)
    logs = exponent * np.log(np.maximum(scores, LEAST))
    logs[scores == -np.inf] = -np.inf
    largest = logs.max(axis=1, initial=-np.inf, keepdims=True)
    sums = (same * np.exp(logs - largest)[:, None, :]).sum(axis=2)
    sums = np.maximum(sums, sys.float_info.min)
    return np.exp((np.log(sums) + largest) / exponent)


def _within(landmarks: NDArray[np.int64]) -> NDArray[np.intp]:
    """How many of the neighbours before each, (q, k), show the same landmark."""
    same = landmarks[:, :, None] == landmarks[:, None, :]
    return np.tril(same, -1).sum(axis=2)


def demoted(guesses: Sequence[Guess], share: float | None) -> list[Guess | None]:
    """Rank the guesses of landmarks that are guessed too often below all others.

    Their own order stays. It depends on all photos at once, so without ``share`` a photo
    has the same guess alone as among others.

    Args:
        share: of all guesses, above which a landmark is suspect; None: none is.
    """
    if share is None or not guesses:
        return list(guesses)
    often = Counter(guess.landmark_id for guess in guesses)
    suspect = {k for k, n in often.items() if n > max(1.0, share * len(guesses))}
    confidences = [guess.confidence for guess in guesses]
    below = max(confidences) - min(confidences) + 1
    return [
        Guess(guess.landmark_id, guess.confidence - below)
        if guess.landmark_id in suspect
        else guess
        for guess in guesses
    ]


def head_guesses(
    log_probability: NDArray[np.float32],
    classes: Sequence[Class],
    allowed: Collection[int],
    demote_share: float | None = None,
) -> list[Guess | None]:
    """Guess the most probable class among the landmarks that may occur.

    The confidence is the logarithm of the probability: near 1, probabilities themselves
    round to ties, and ties move GAP.

    Args:
        log_probability: (q, C).
        classes: C rows of ``classes.csv``.
        allowed: landmark ids; others are never guessed.
        demote_share: as in ``demoted``.
    """
    landmark_ids = np.array([row.landmark_id for row in classes])
    may = np.flatnonzero(np.isin(landmark_ids, list(allowed)))
    if not len(may):
        return [None] * len(log_probability)
    candidates = log_probability[:, may]
    landmark = landmark_ids[may[candidates.argmax(axis=1)]].tolist()
    confidence = candidates.max(axis=1).astype(np.float64).tolist()
    return demoted(list(map(Guess, landmark, confidence)), demote_share)
