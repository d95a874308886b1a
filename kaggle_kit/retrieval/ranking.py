"""From similarities to guesses: landmark scores and non-landmark penalties."""

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

MIN_SCORE = 1e-9  # scores are clipped to it before the logarithm


class Evidence(NamedTuple):
    """What the ranking of q queries uses: their k nearest gallery images and penalties.

    rows: (q, k) rows of the gallery, most similar first.
    cosines: (q, k) similarities.
    inliers: (q, k) weighted number of local features that agree on one geometry; 0 where
        they were not compared.
    head: (q, k) log-probability of each image's landmark by the network's head; 0 without
        a head.
    penalty: (q,) mean cosine to the nearest non-landmarks (C of A-B-C).
    """

    rows: NDArray[np.int64]
    cosines: NDArray[np.float32]
    inliers: NDArray[np.float32]
    head: NDArray[np.float32]
    penalty: NDArray[np.float32]

    def select(self, queries: Any) -> "Evidence":
        """The evidence of some queries.

        Args:
            queries: a slice, or an array of positions.
        """
        return Evidence._make(values[queries] for values in self)


def search_gallery(
    vectors: NDArray[np.float32],
    log_probability: NDArray[np.float32],
    gallery: Gallery,
    classes: Sequence[Class],
    settings: config.Recognition,
) -> Evidence:
    """Search the gallery for evidence; its inliers are 0 until geometry is compared.

    Args:
        vectors: (q, d) unit vectors of the queries.
        log_probability: (q, C) by the head for the C ``classes``; C may be 0. A landmark
            without a class gets the probability 1 / C.
    """
    k = settings.candidates
    if settings.verification:
        k = max(k, settings.verification.candidates)
    cosines, rows = top_k(vectors, gallery.vectors, k)
    head = np.zeros_like(cosines)
    if log_probability.shape[1] and len(gallery.image_ids):
        column = {row.landmark_id: i for i, row in enumerate(classes)}
        class_of = np.array([column.get(i, -1) for i in gallery.landmark_ids.tolist()])
        class_head = np.take_along_axis(log_probability, class_of[rows], axis=1)
        uniform = np.float32(-np.log(log_probability.shape[1]))
        head = np.where(class_of[rows] >= 0, class_head, uniform)
    penalty = mean_top(vectors, gallery.non_landmarks, settings.query_penalty)
    return Evidence(rows, cosines, np.zeros(rows.shape, np.float32), head, penalty)


def guess_by_gallery(
    evidence: Evidence, gallery: Gallery, settings: config.Recognition
) -> list[Guess | None]:
    """Guess by the nearest gallery images, less the non-landmark penalties.

    ::

        s_j = max(cosine_j, 0) + v min(inliers_j, M) / M   for the nearest images j
        A_j = s_j - beta B_j                               for the images with the largest
        S_c = (sum of A_j^a over some images of landmark c)^(1/a)
        confidence = max_c S_c h_c^b - gamma C

    B_j and C are the mean cosines of the image j and of the query to their nearest
    non-landmarks (``build_gallery`` and ``search_gallery``), h_c the head's probability,
    by a softmax. Powers are computed with logarithms, so that none underflows.

    Sources. With a = beta = gamma = 1 and b = v = 0 the formula is A-B-C, of the first place
    of 2020 (Henkel & Singer, arXiv:2010.01650, section 2.5), which compares features after a
    quantile transform fitted to the test images; here they are whitened, or as they are.
    Sums of powers times a power of the head are like those of the third place of 2020 (Ha
    et al., arXiv:2010.05350): sum_j cosine_j^8 times the 12th power of the head's mean
    *cosine* over its models. A probability is not a cosine, so b is not comparable with
    their exponent, and this does not rank as theirs.

    Every query gets a guess, however unlikely: a guess that ranks below all others cannot
    lower GAP.

    Returns:
        A guess per query; None only if the gallery is empty.
    """
    if not len(gallery.image_ids):
        return [None] * len(evidence.rows)
    guesses: list[Guess] = []
    for start in range(0, len(evidence.rows), QUERY_BLOCK):
        block = evidence.select(slice(start, start + QUERY_BLOCK))
        guesses += _guess_block(block, gallery, settings)
    return demote(guesses, settings.demote_share)


class NeighbourScores(NamedTuple):
    """The n best of the k nearest neighbours of q queries, and the scores of their landmarks.

    position: (q, n) of each neighbour among the k nearest, the largest A first.
    adjusted: (q, n) A of each neighbour.
    landmarks: (q, n) landmark of each neighbour.
    scores: (q, n) score S_c h_c^b of that landmark.
    """

    position: NDArray[np.int64]
    adjusted: NDArray[np.float64]
    landmarks: NDArray[np.int64]
    scores: NDArray[np.float64]


def score_neighbours(
    evidence: Evidence, gallery: Gallery, settings: config.Recognition
) -> NeighbourScores:
    """Compute the formula of ``guess_by_gallery`` up to S_c h_c^b."""
    adjusted = fuse_similarities(evidence, settings)
    adjusted -= (
        settings.gallery_penalty_weight * np.asarray(gallery.penalties)[evidence.rows]
    )
    order = np.argsort(-adjusted, kind="stable")[:, : settings.neighbours]
    adjusted = np.take_along_axis(adjusted, order, axis=1)
    landmarks = gallery.landmark_ids[np.take_along_axis(evidence.rows, order, axis=1)]
    counts = _count_preceding(landmarks) < (
        settings.per_landmark or settings.neighbours
    )
    scores = aggregate_scores(
        landmarks, np.where(counts, adjusted, -np.inf), settings.exponent
    )
    scores = multiply_by_head(scores, evidence, order, settings)
    return NeighbourScores(order, adjusted, landmarks, scores)


def multiply_by_head(
    scores: NDArray[np.float64],
    evidence: Evidence,
    position: NDArray[np.int64],
    settings: config.Recognition,
) -> NDArray[np.float64]:
    """Multiply scores by h^b, the head's probability of each neighbour's landmark.

    Args:
        scores: (q, n) of the landmarks of n neighbours.
        position: (q, n) of these neighbours among the k nearest.
    """
    if not settings.head_exponent:
        return scores
    head = np.take_along_axis(evidence.head, position, axis=1).astype(np.float64)
    logs = np.log(np.maximum(scores, MIN_SCORE)) + settings.head_exponent * head
    return np.exp(logs)


def _guess_block(
    evidence: Evidence, gallery: Gallery, settings: config.Recognition
) -> list[Guess]:
    """The landmark with the largest score for each query, and its confidence."""
    _, _, landmarks, scores = score_neighbours(evidence, gallery, settings)
    best = np.arange(len(scores)), scores.argmax(axis=1)
    confidence = scores[best] - settings.query_penalty_weight * evidence.penalty
    return list(map(Guess, landmarks[best].tolist(), confidence.tolist()))


def fuse_similarities(
    evidence: Evidence, settings: config.Recognition
) -> NDArray[np.float64]:
    """Combine cosines, clipped at 0, with inliers: s_j of ``guess_by_gallery``, (q, k)."""
    similarities = np.maximum(evidence.cosines.astype(np.float64), 0)
    verification = settings.verification
    if verification:
        inliers = np.minimum(evidence.inliers, verification.full_inliers)
        similarities += verification.weight * inliers / verification.full_inliers
    return similarities


def aggregate_scores(
    landmarks: NDArray[np.int64], scores: NDArray[np.floating], exponent: float = 1.0
) -> NDArray[np.float64]:
    """Sum the scores of the neighbours of each landmark.

    Args:
        landmarks: (q, k) landmark ids.
        scores: (q, k) of each neighbour, best first. A negative score counts only with
            exponent 1; -inf never counts.
        exponent: a in (sum s^a)^(1/a). 1 gives the sum; for large a it tends to the
            maximum.

    Returns:
        (q, k), the sum for the landmark of each neighbour.

    >>> aggregate_scores(np.array([[7, 8, 8]]), np.array([[0.5, 0.4, 0.3]]))
    array([[0.5, 0.7, 0.7]])
    """
    same = landmarks[:, :, None] == landmarks[:, None, :]
    scores = scores.astype(np.float64)
    if exponent == 1:
        summands = np.where(scores == -np.inf, 0.0, scores)
        return (same * summands[:, None, :]).sum(axis=2)
    logs = exponent * np.log(np.maximum(scores, MIN_SCORE))
    logs[scores == -np.inf] = -np.inf
    largest = logs.max(axis=1, initial=-np.inf, keepdims=True)
    sums = (same * np.exp(logs - largest)[:, None, :]).sum(axis=2)
    sums = np.maximum(sums, sys.float_info.min)
    return np.exp((np.log(sums) + largest) / exponent)


def _count_preceding(landmarks: NDArray[np.int64]) -> NDArray[np.intp]:
    """For each of (q, k) neighbours: how many earlier ones show the same landmark."""
    same = landmarks[:, :, None] == landmarks[:, None, :]
    return np.tril(same, -1).sum(axis=2)


def demote(guesses: Sequence[Guess], share: float | None) -> list[Guess | None]:
    """Rank the guesses of landmarks that are guessed too often below all others.

    Their relative order is preserved. The result for an image depends on all images, unless
    ``share`` is None.

    Args:
        share: of all guesses; a landmark with a larger share is demoted. None: none is.
    """
    if share is None or not guesses:
        return list(guesses)
    counts = Counter(guess.landmark_id for guess in guesses)
    too_frequent = {k for k, n in counts.items() if n > max(1.0, share * len(guesses))}
    confidences = [guess.confidence for guess in guesses]
    offset = max(confidences) - min(confidences) + 1
    return [
        Guess(guess.landmark_id, guess.confidence - offset)
        if guess.landmark_id in too_frequent
        else guess
        for guess in guesses
    ]


def guess_by_head(
    log_probability: NDArray[np.float32],
    classes: Sequence[Class],
    allowed: Collection[int],
    demote_share: float | None = None,
) -> list[Guess | None]:
    """Guess the most probable class among the allowed landmarks.

    The confidence is the log-probability: probabilities near 1 would round to ties, and
    ties change GAP.

    Args:
        log_probability: (q, C).
        classes: C rows of ``classes.csv``.
        allowed: landmark ids; others are never guessed.
        demote_share: ``share`` of ``demote``.
    """
    landmark_ids = np.array([row.landmark_id for row in classes])
    columns = np.flatnonzero(np.isin(landmark_ids, list(allowed)))
    if not len(columns):
        return [None] * len(log_probability)
    candidates = log_probability[:, columns]
    landmark = landmark_ids[columns[candidates.argmax(axis=1)]].tolist()
    confidence = candidates.max(axis=1).astype(np.float64).tolist()
    return demote(list(map(Guess, landmark, confidence)), demote_share)
