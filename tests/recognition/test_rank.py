"""Ranking and rejection, held against their formulas written out slowly."""

from collections import defaultdict

import numpy as np
import pytest

from kaggle_kit import config
from kaggle_kit.recognition.rank import aggregated, gallery_guesses, head_guesses
from kaggle_kit.recognition.search import Gallery
from kaggle_kit.tables import Class

SETTINGS = config.Recognition(neighbours=3, candidates=8, query_penalty=2)


def units(rng, n, d=6):
    x = rng.normal(size=(n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def gallery_of(rng, n=30, m=10):
    return Gallery(
        [f"{i:016x}" for i in range(n)],
        rng.integers(0, 6, n),
        units(rng, n).astype(np.float16),
        rng.uniform(0, 0.5, n).astype(np.float32),
        units(rng, m).astype(np.float16),
    )


def slow_guess(query, gallery, settings):
    """A-B-C for one query, photo by photo, in Python floats."""
    exact = [float(np.dot(query, v.astype(np.float32))) for v in gallery.vectors]
    nearest = sorted(range(len(exact)), key=lambda j: -exact[j])[: settings.candidates]
    a = {j: max(exact[j], 0.0) - float(gallery.penalties[j]) for j in nearest}
    kept = sorted(a, key=lambda j: -a[j])[: settings.neighbours]
    sums = defaultdict(float)
    for j in kept:
        sums[int(gallery.landmark_ids[j])] += a[j]
    landmark = max(sums, key=sums.get)
    others = sorted(
        (float(np.dot(query, v.astype(np.float32))) for v in gallery.non_landmarks),
        reverse=True,
    )[: settings.query_penalty]
    return landmark, sums[landmark] - (sum(others) / len(others) if others else 0.0)


@pytest.mark.parametrize("seed", range(20))
def test_agrees_with_the_definition(seed):
    rng = np.random.default_rng(seed)
    gallery, queries = gallery_of(rng, m=10 * (seed % 2)), units(rng, 15)
    guesses = gallery_guesses(queries, gallery, SETTINGS)
    for query, guess in zip(queries, guesses, strict=True):
        landmark, confidence = slow_guess(query, gallery, SETTINGS)
        assert guess.landmark_id == landmark
        assert guess.confidence == pytest.approx(confidence, abs=1e-5)


def test_every_query_has_a_guess_however_unlikely():
    """Demote, never blank: a photo opposite to all of the gallery is guessed too."""
    rng = np.random.default_rng(0)
    gallery = gallery_of(rng)
    away = -np.asarray(gallery.vectors[:1], np.float32)
    assert all(g is not None for g in gallery_guesses(away, gallery, SETTINGS))


def test_a_photo_like_the_non_landmarks_ranks_below_one_that_is_not():
    vectors = np.eye(4, dtype=np.float16)
    gallery = Gallery(["a" * 16], np.array([7]), vectors[:1], np.zeros(1), vectors[1:2])
    like, unlike = np.array([[1, 1, 0, 0], [1, 0, 1, 0]], np.float32) / np.sqrt(2)
    ranked = gallery_guesses(np.stack([like, unlike]), gallery, SETTINGS)
    assert ranked[0].confidence < ranked[1].confidence


def test_a_photo_alone_has_the_confidence_it_has_among_others():
    rng = np.random.default_rng(3)
    gallery, queries = gallery_of(rng), units(rng, 9)
    together = gallery_guesses(queries, gallery, SETTINGS)
    for i, guess in enumerate(together):
        (alone,) = gallery_guesses(queries[i : i + 1], gallery, SETTINGS)
        assert alone.landmark_id == guess.landmark_id
        assert alone.confidence == pytest.approx(guess.confidence, abs=1e-6)


def test_an_empty_gallery_makes_no_guess():
    rng = np.random.default_rng(0)
    empty = gallery_of(rng).of_landmarks(set())
    assert gallery_guesses(units(rng, 2), empty, SETTINGS) == [None, None]


def test_two_photos_of_a_landmark_beat_one_a_little_nearer():
    landmark, score = aggregated(np.array([[7, 8, 8]]), np.array([[0.5, 0.4, 0.3]]))
    assert landmark.tolist() == [8]
    assert score == pytest.approx([0.7])


def test_negative_scores_count_against_their_landmark():
    landmark, score = aggregated(np.array([[7, 7, 8]]), np.array([[0.1, -0.3, 0.0]]))
    assert landmark.tolist() == [8]
    assert score == pytest.approx([0.0])


def test_the_head_guesses_only_landmarks_that_may_occur():
    classes = [Class(70, 5), Class(80, 5), Class(90, 5)]
    logs = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], np.float32))
    first = head_guesses(logs, classes, {70, 80, 90, 12345})
    assert [guess.landmark_id for guess in first] == [70, 90]
    masked = head_guesses(logs, classes, {80, 90})
    assert [guess.landmark_id for guess in masked] == [80, 90]
    assert head_guesses(logs, classes, {1}) == [None, None]


def test_the_heads_confidences_near_one_are_not_tied():
    """As probabilities in float32 these three would all be 1."""
    logits = np.array([[18.0, 0], [22.0, 0], [26.0, 0]])
    rest = np.log1p(np.exp(logits[:, 1:] - logits[:, :1]))
    logs = (logits - logits[:, :1] - rest).astype(np.float32)
    assert len(set(np.exp(logs[:, 0]).tolist())) == 1
    guesses = head_guesses(logs, [Class(1, 1), Class(2, 1)], {1, 2})
    assert len({guess.confidence for guess in guesses}) == 3
