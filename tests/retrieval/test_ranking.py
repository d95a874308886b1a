"""Ranking and rejection, compared with slow implementations of their formulas."""

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest

from kaggle_kit import config
from kaggle_kit.retrieval import ranking
from kaggle_kit.retrieval.gallery import Gallery
from kaggle_kit.retrieval.ranking import (
    aggregate_scores,
    demote,
    guess_by_gallery,
    guess_by_head,
    score_neighbours,
    search_gallery,
)
from kaggle_kit.storage.tables import Class, Guess

PLAIN = config.Recognition(neighbours=3, candidates=8, query_penalty=2)
POWERS = config.Recognition(
    neighbours=5,
    candidates=8,
    exponent=8,
    gallery_penalty_weight=0,
    query_penalty_weight=0,
    head_exponent=1.5,
)
ALL = config.Recognition(
    neighbours=8,
    per_landmark=2,
    candidates=9,
    query_penalty=3,
    exponent=2,
    gallery_penalty_weight=0.5,
    query_penalty_weight=0.7,
    head_exponent=0.3,
    verification=config.Verification(candidates=6, full_inliers=20, weight=1.3),
)
CAPPED = PLAIN.model_copy(update={"neighbours": 8, "per_landmark": 1})
DEEP = config.Recognition(
    neighbours=9,
    candidates=4,
    verification=config.Verification(candidates=9, full_inliers=20, weight=0.1),
)
EACH = {"abc": PLAIN, "powers": POWERS, "all": ALL, "capped": CAPPED, "deep": DEEP}
CLASSES = [Class(i, 3) for i in range(5)]  # the gallery's landmark 5 has no class
NO_HEAD = np.empty((1, 0), np.float32)


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


def guesses_of(queries, gallery, settings, logs=None):
    logs = np.empty((len(queries), 0), np.float32) if logs is None else logs
    evidence = search_gallery(queries, logs, gallery, CLASSES, settings)
    return guess_by_gallery(evidence, gallery, settings)


def slow_guess(query, gallery, settings, inliers=None, logs=None):
    """The formula of ``guess_by_gallery`` for one query, image by image, in Python floats."""
    exact = [float(np.dot(query, v.astype(np.float32))) for v in gallery.vectors]
    n_checked = settings.verification.candidates if settings.verification else 0
    k = max(settings.candidates, n_checked)
    nearest = sorted(range(len(exact)), key=lambda j: -exact[j])[:k]
    a = {}
    for position, j in enumerate(nearest):
        s = max(exact[j], 0.0)
        if inliers is not None:
            full = settings.verification.full_inliers
            capped = min(float(inliers[position]), full)
            s += settings.verification.weight * capped / full
        a[j] = s - settings.gallery_penalty_weight * float(gallery.penalties[j])
    best = sorted(a, key=lambda j: -a[j])[: settings.neighbours]
    sums, counts = defaultdict(float), defaultdict(int)
    for j in best:
        landmark = int(gallery.landmark_ids[j])
        counts[landmark] += 1
        if counts[landmark] > (settings.per_landmark or len(best)):
            continue
        power = settings.exponent
        term = a[j] if power == 1 else max(a[j], 1e-9) ** power
        sums[landmark] += term
    score = {}
    for c, total in sums.items():
        score[c] = total if settings.exponent == 1 else total ** (1 / settings.exponent)
        if settings.head_exponent:
            h = logs[c] if c < len(logs) else -np.log(len(logs))
            h = float(np.exp(h)) ** settings.head_exponent
            score[c] = max(score[c], 1e-9) * h
    landmark = max(score, key=score.get)
    cosines = sorted(
        (float(np.dot(query, v.astype(np.float32))) for v in gallery.non_landmarks),
        reverse=True,
    )[: settings.query_penalty]
    c = sum(cosines) / len(cosines) if cosines else 0.0
    return landmark, score[landmark] - settings.query_penalty_weight * c


@pytest.mark.parametrize("settings", EACH.values(), ids=EACH)
@pytest.mark.parametrize("seed", range(12))
def test_agrees_with_the_definition(seed, settings):
    rng = np.random.default_rng(seed)
    gallery, queries = gallery_of(rng, m=10 * (seed % 2)), units(rng, 15)
    logs = np.log(rng.dirichlet(np.ones(5), 15)).astype(np.float32)
    evidence = search_gallery(queries, logs, gallery, CLASSES, settings)
    inliers = None
    if settings.verification:
        inliers = rng.uniform(0, 40, evidence.rows.shape).astype(np.float32)
        evidence = evidence._replace(inliers=inliers)
    guesses = guess_by_gallery(evidence, gallery, settings)
    for i, guess in enumerate(guesses):
        row = None if inliers is None else inliers[i]
        landmark, confidence = slow_guess(queries[i], gallery, settings, row, logs[i])
        assert guess.landmark_id == landmark
        assert guess.confidence == pytest.approx(confidence, rel=1e-4, abs=1e-5)


def test_a_head_is_neutral_about_landmarks_without_a_class():
    """A near image of a new landmark wins over a far one of a landmark with a class."""
    near, far = np.array([0.9, 0.435]), np.array([0.3, 0.954])
    new, known = 999, CLASSES[0].landmark_id
    gallery = Gallery(
        ["0" * 16, "1" * 16],
        np.array([new, known]),
        np.stack([near, far]).astype(np.float16),
        np.zeros(2, np.float32),
        np.empty((0, 2), np.float16),
    )
    query = np.array([[1.0, 0.0]], np.float32)
    unsure = np.log(np.array([[0.24, 0.28, 0.2, 0.2, 0.08]], np.float32))
    settings = PLAIN.model_copy(update={"head_exponent": 1.0})
    (guess,) = guesses_of(query, gallery, settings, unsure)
    assert guess.landmark_id == new
    sure = np.log(np.array([[0.96, 0.01, 0.01, 0.01, 0.01]], np.float32))
    (guess,) = guesses_of(query, gallery, settings, sure)
    assert guess.landmark_id == known


def test_score_ladder_of_the_third_place_of_2020():
    """Five neighbours of three classes; the 12th power of the head's cosines changes the
    winner. The kit's own b is an exponent of probabilities."""
    landmarks = np.array([[1, 2, 2, 1, 3]])
    scores = np.array([[0.9, 0.8, 0.7, 0.5, 0.45]])
    sums = aggregate_scores(landmarks, scores, exponent=8)[0] ** 8
    assert sums[0] == pytest.approx(0.434, abs=1e-3)
    assert sums[1] == pytest.approx(0.225, abs=1e-3)
    combined = sums[:2] * np.array([0.75, 0.88]) ** 12
    assert combined == pytest.approx([0.0138, 0.0486], abs=1e-4)
    assert combined.argmax() == 1


def test_large_powers_neither_underflow_nor_tie():
    """(1e-3)^200 underflows a float; the order must be preserved all the same."""
    scores = np.array([[1e-3, 9e-4, 8e-4]])
    sums = aggregate_scores(np.array([[1, 2, 3]]), scores, exponent=200)[0]
    assert sums == pytest.approx(scores[0], rel=1e-6)
    wide_range = np.array([[1.0, 1e-3]])
    sums = aggregate_scores(np.array([[1, 2]]), wide_range, exponent=200)[0]
    assert sums[0] == pytest.approx(1) and 0 < sums[1] < 0.1
    two_queries = np.array([[1.0, 0.9, 0.8], scores[0]])  # each has its own maximum
    sums = aggregate_scores(np.array([[1, 2, 3]] * 2), two_queries, exponent=200)
    assert sums == pytest.approx(two_queries, rel=1e-6)
    rng = np.random.default_rng(0)
    gallery, queries = gallery_of(rng), units(rng, 40)
    logs = np.full((40, 5), -80.0, np.float32)  # e^-80 each: a power of it underflows
    guesses = guesses_of(queries, gallery, POWERS, logs)
    assert len({guess.confidence for guess in guesses}) == 40
    assert min(guess.confidence for guess in guesses) > 0


def test_every_query_has_a_guess_however_unlikely():
    """Also a query whose cosines to all gallery images are negative."""
    rng = np.random.default_rng(0)
    vectors = np.abs(units(rng, 12)).astype(np.float16)
    gallery = replace(gallery_of(rng, 12), vectors=vectors)
    queries = -np.asarray(vectors[:3], np.float32)
    for settings in (PLAIN, CAPPED):
        guesses = guesses_of(queries, gallery, settings)
        for query, guess in zip(queries, guesses, strict=True):
            landmark, confidence = slow_guess(query, gallery, settings)
            assert guess.landmark_id == landmark
            assert guess.confidence == pytest.approx(confidence, abs=1e-5)


@pytest.mark.parametrize("n_classes", [0, 1, 5])
def test_evidence_that_is_not_known_has_neutral_values(n_classes):
    """Inliers are 0; a landmark without a class (5, or more) has the probability 1 / C."""
    rng = np.random.default_rng(4)
    gallery, queries = gallery_of(rng), units(rng, 7)
    probability = (
        rng.dirichlet(np.ones(n_classes), 7) if n_classes else np.empty((7, 0))
    )
    logs = np.log(probability).astype(np.float32)
    evidence = search_gallery(queries, logs, gallery, CLASSES[:n_classes], PLAIN)
    assert evidence.rows.shape == evidence.cosines.shape == (7, 8)
    assert {array.dtype for array in evidence} == {np.dtype("f4"), np.dtype("i8")}
    assert evidence.inliers.tolist() == np.zeros((7, 8)).tolist()
    for query, head in zip(range(7), evidence.head.tolist(), strict=True):
        landmarks = gallery.landmark_ids[evidence.rows[query]].tolist()
        if n_classes:
            uniform = 1 / n_classes
            expected = [
                probability[query, k] if k < n_classes else uniform for k in landmarks
            ]
            assert np.exp(head) == pytest.approx(expected, rel=1e-5)
        else:
            assert head == [0] * 8


def test_guesses_do_not_depend_on_how_many_queries_are_ranked_at_once(monkeypatch):
    rng = np.random.default_rng(6)
    gallery, queries = gallery_of(rng), units(rng, 15)
    expected = guesses_of(queries, gallery, PLAIN)
    for block in (1, 4, 5, 14, 15):
        monkeypatch.setattr(ranking, "QUERY_BLOCK", block)
        assert guesses_of(queries, gallery, PLAIN) == expected


def test_of_equal_neighbours_the_first_ones_count():
    """So many that an unstable sort would change their order."""
    rng = np.random.default_rng(7)
    k = 2000
    gallery = gallery_of(rng, k)
    vectors = np.tile(gallery.vectors[:1], (k, 1))
    gallery = replace(gallery, vectors=vectors, penalties=np.arange(k) % 3 / 8)
    settings = config.Recognition(neighbours=600, candidates=k)
    query = np.asarray(vectors[:1], np.float32)
    evidence = search_gallery(query, NO_HEAD, gallery, [], settings)
    (position,) = score_neighbours(evidence, gallery, settings).position
    assert position.tolist() == list(range(0, 1800, 3))


def test_the_score_of_a_neighbour_is_its_cosine_less_its_penalty():
    rng = np.random.default_rng(9)
    gallery, queries = gallery_of(rng), units(rng, 6)
    evidence = search_gallery(queries, NO_HEAD, gallery, [], PLAIN)
    neighbours = score_neighbours(evidence, gallery, PLAIN)
    a = np.maximum(evidence.cosines, 0) - gallery.penalties[evidence.rows]
    assert neighbours.adjusted == pytest.approx(-np.sort(-a, axis=1)[:, :3])
    index = np.arange(6)[:, None], neighbours.position
    assert neighbours.adjusted == pytest.approx(a[index])
    assert (neighbours.landmarks == gallery.landmark_ids[evidence.rows[index]]).all()


def test_an_image_similar_to_non_landmarks_ranks_below_one_that_is_not():
    vectors = np.eye(4, dtype=np.float16)
    gallery = Gallery(["a" * 16], np.array([7]), vectors[:1], np.zeros(1), vectors[1:2])
    queries = np.array([[1, 1, 0, 0], [1, 0, 1, 0]], np.float32) / np.sqrt(2)
    similar, dissimilar = guesses_of(queries, gallery, PLAIN)
    assert similar.confidence < dissimilar.confidence


@pytest.mark.parametrize("settings", [PLAIN, POWERS, ALL], ids=["abc", "powers", "all"])
def test_an_image_alone_has_the_confidence_it_has_among_others(settings):
    rng = np.random.default_rng(3)
    gallery, queries = gallery_of(rng), units(rng, 9)
    logs = np.log(rng.dirichlet(np.ones(5), 9)).astype(np.float32)
    together = guesses_of(queries, gallery, settings, logs)
    for i, guess in enumerate(together):
        one = slice(i, i + 1)
        (alone,) = guesses_of(queries[one], gallery, settings, logs[one])
        assert alone.landmark_id == guess.landmark_id
        assert alone.confidence == pytest.approx(guess.confidence, abs=1e-6)


def test_inliers_lift_an_image_above_a_nearer_one():
    vectors = np.eye(3, dtype=np.float16)
    gallery = Gallery(
        ["a" * 16, "b" * 16], np.array([7, 8]), vectors[:2], np.zeros(2), vectors[:0]
    )
    query = np.array([[0.8, 0.6, 0]], np.float32)
    settings = config.Recognition(verification=config.Verification(weight=1))
    evidence = search_gallery(query, NO_HEAD, gallery, [], settings)
    assert guess_by_gallery(evidence, gallery, settings)[0].landmark_id == 7
    verified = evidence._replace(inliers=np.array([[0, 25]], np.float32))
    assert guess_by_gallery(verified, gallery, settings)[0].landmark_id == 8


def test_an_empty_gallery_makes_no_guess():
    rng = np.random.default_rng(0)
    empty = gallery_of(rng).select_landmarks(set())
    assert guesses_of(units(rng, 2), empty, PLAIN) == [None, None]
    logs = np.log(np.full((2, 5), 0.2, np.float32))
    for settings in EACH.values():
        assert guesses_of(units(rng, 2), empty, settings, logs) == [None, None]
        evidence = search_gallery(units(rng, 2), logs, empty, CLASSES, settings)
        assert score_neighbours(evidence, empty, settings).scores.shape == (2, 0)


def test_two_images_of_a_landmark_beat_one_a_little_nearer():
    scores = aggregate_scores(np.array([[7, 8, 8]]), np.array([[0.5, 0.4, 0.3]]))
    assert scores[0] == pytest.approx([0.5, 0.7, 0.7])


def test_negative_scores_count_against_their_landmark():
    scores = aggregate_scores(np.array([[7, 7, 8]]), np.array([[0.1, -0.3, 0.0]]))
    assert scores[0] == pytest.approx([-0.2, -0.2, 0.0])


@pytest.mark.parametrize(("exponent", "expected"), [(1, -0.1), (2, 1e-9)])
def test_a_neighbour_that_does_not_count_adds_nothing(exponent, expected):
    """Also where the score of the neighbour that counts is clipped to the minimum."""
    scores = np.array([[-0.1, -np.inf, -0.1]])
    sums = aggregate_scores(np.array([[7, 7, 8]]), scores, exponent)[0]
    assert sums.tolist() == pytest.approx([expected] * 3, rel=1e-6)


def test_a_landmark_guessed_too_often_is_ranked_below_all_others():
    guesses = [
        *(Guess(7, 0.9), Guess(7, 0.8), Guess(7, 0.7)),
        *(Guess(8, 0.1), Guess(9, -5.0)),
    ]
    result = demote(guesses, share=0.4)
    assert [g.landmark_id for g in result] == [7, 7, 7, 8, 9]
    order = sorted(range(5), key=lambda i: -result[i].confidence)
    assert order == [3, 4, 0, 1, 2]
    assert demote(guesses, share=0.6) == guesses
    assert demote(guesses, share=None) == guesses
    assert demote([Guess(7, 0.5)], share=0.1) == [Guess(7, 0.5)]
    assert demote([], share=0.1) == []
    guesses = [Guess(7, 0.9), Guess(8, 0.5), Guess(7, 0.8), Guess(9, 0.1)]
    result = demote(guesses, 0.4)
    assert sorted(range(4), key=lambda i: -result[i].confidence) == [1, 3, 0, 2]


def test_both_kinds_of_guesses_are_demoted_where_settings_say_so():
    rng = np.random.default_rng(8)
    gallery, queries = gallery_of(rng), units(rng, 20)
    logs = np.log(rng.dirichlet(np.ones(5), 20)).astype(np.float32)
    settings = PLAIN.model_copy(update={"demote_share": 0.2})
    plain = guesses_of(queries, gallery, PLAIN, logs)
    result = guesses_of(queries, gallery, settings, logs)
    assert result == demote(plain, 0.2) != plain
    plain = guess_by_head(logs, CLASSES, range(5))
    result = guess_by_head(logs, CLASSES, range(5), 0.2)
    assert result == demote(plain, 0.2) != plain


def test_the_head_guesses_only_landmarks_that_may_occur():
    classes = [Class(70, 5), Class(80, 5), Class(90, 5)]
    logs = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], np.float32))
    first = guess_by_head(logs, classes, {70, 80, 90, 12345})
    assert [guess.landmark_id for guess in first] == [70, 90]
    assert [g.confidence for g in first] == pytest.approx(np.log([0.7, 0.8]))
    masked = guess_by_head(logs, classes, {80, 90})
    assert [guess.landmark_id for guess in masked] == [80, 90]
    assert [g.confidence for g in masked] == pytest.approx(np.log([0.2, 0.8]))
    assert guess_by_head(logs, classes, {1}) == [None, None]


def test_confidences_of_the_head_near_one_are_not_tied():
    """As probabilities in float32, these three would all be 1."""
    logits = np.array([[18.0, 0], [22.0, 0], [26.0, 0]])
    rest = np.log1p(np.exp(logits[:, 1:] - logits[:, :1]))
    logs = (logits - logits[:, :1] - rest).astype(np.float32)
    assert len(set(np.exp(logs[:, 0]).tolist())) == 1
    guesses = guess_by_head(logs, [Class(1, 1), Class(2, 1)], {1, 2})
    assert len({guess.confidence for guess in guesses}) == 3
