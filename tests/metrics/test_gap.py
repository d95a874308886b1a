"""GAP, held against published vectors and against its definition in exact fractions."""

import itertools
import math
import time
import warnings
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from kaggle_kit.metrics.gap import (
    auc,
    gap,
    gap_at_share,
    gap_loss,
    gap_tie_bounds,
    mean_average_precision,
    precisions,
)
from kaggle_kit.metrics.score import LostGap, score_guesses
from kaggle_kit.storage.tables import Guess, Truth


def scores(truth, guesses):
    """Score {image: landmark(s) or None} against {image: (landmark, confidence)}."""
    truths = {
        image: Truth(frozenset([shown] if isinstance(shown, int) else shown or []))
        for image, shown in truth.items()
    }
    return score_guesses({i: Guess(*g) for i, g in guesses.items()}, truths)


# The vectors of delf/python/datasets/google_landmarks_dataset/metrics_test.py in the
# repository tensorflow/models.
DELF_TRUTH = {
    "0123456789abcdef": [0, 12],
    "0223456789abcdef": [100, 200, 300],
    "0323456789abcdef": [1],
    "0423456789abcdef": [],
    "0523456789abcdef": [],
}
DELF_GUESSES = {
    "0223456789abcdef": (0, 0.01),
    "0323456789abcdef": (1, 10.0),
    "0423456789abcdef": (150, 15.0),
}


def test_delf_vectors():
    result = scores(DELF_TRUTH, DELF_GUESSES)
    assert result.gap == pytest.approx(1 / 6)
    assert result.gap_landmarks_only == pytest.approx(1 / 3)
    assert result.top1 == pytest.approx(1 / 3)


# The vectors of the tests of yisaienkov/evaluations.
FOUR = {"1": 1, "2": 2, "3": 3, "4": 4}
P4 = {"1": (1, 0.9), "2": (2, 0.4), "3": (3, 0.5), "4": (4, 0.8)}
TWO = {"1": 1, "2": None, "3": None, "4": 4}
MANY = TWO | {"another_4": 4, "too_4": 4, "i_am_4": 4}
TEN = {
    "id_001": 123,
    "id_002": None,
    "id_003": 999,
    "id_004": 123,
    "id_005": 999,
    "id_006": 888,
    "id_007": 666,
    "id_008": 666,
    "id_009": None,
    "id_010": 666,
}
EVALUATIONS = {
    "C1": (FOUR, P4, Fraction(1)),
    "C2": (dict.fromkeys(FOUR, 5), P4, Fraction(0)),
    "C3": ({"1": 5, "2": 2, "3": 3, "4": 4}, P4, Fraction(23, 48)),
    "C4": (FOUR, {"2": (2, 0.4)}, Fraction(1, 4)),
    "C5": (TWO, {"1": (1, 0.4), "4": (4, 0.2)}, Fraction(1)),
    "C6": (TWO, {"1": (1, 0.4), "4": (4, 0.2), "2": (2, 0.8)}, Fraction(7, 12)),
    "C7": (
        MANY,
        {
            "1": (1, 0.4),
            "2": (2, 0.8),
            "4": (4, 0.2),
            "another_4": (4, 0.9),
            "too_4": (5, 0.7),
        },
        Fraction(21, 50),
    ),
    "C8": (
        TEN,
        {
            "id_002": (123, 0.10),
            "id_001": (123, 0.15),
            "id_003": (999, 0.30),
            "id_005": (999, 0.40),
            "id_007": (555, 0.60),
            "id_008": (666, 0.70),
            "id_010": (666, 0.99),
        },
        Fraction(263, 480),
    ),
}

# Vectors that one can follow by hand.
FIVE = {"q1": 7, "q2": 8, "q3": 9, "q4": None, "q5": None}
BASE = {"q1": (7, 0.9), "q2": (8, 0.8), "q3": (9, 0.7)}
BY_HAND = {
    "D1": (FIVE, BASE, Fraction(1)),
    "D2": (FIVE, BASE | {"q4": (1, 0.1), "q5": (2, 0.05)}, Fraction(1)),
    "D3": (FIVE, BASE | {"q4": (1, 0.95)}, Fraction(23, 36)),
    "D4": (FIVE, BASE | {"q4": (1, 0.95), "q5": (1, 0.94)}, Fraction(43, 90)),
    "D5": (FIVE, {"q1": (7, 0.9), "q2": (8, 0.8)}, Fraction(2, 3)),
    "D6": (FIVE, {}, Fraction(0)),
    "D7": (FIVE, BASE | {"q2": (1, 0.8)}, Fraction(5, 9)),
    "D8": (FIVE, BASE | {"q2": (1, 0.8), "q4": (1, 0.85)}, Fraction(1, 2)),
}


@pytest.mark.parametrize("name", [*EVALUATIONS, *BY_HAND])
def test_vector(name):
    truth, guesses, expected = (EVALUATIONS | BY_HAND)[name]
    assert scores(truth, guesses).gap == pytest.approx(float(expected), abs=1e-12)


def test_ties_are_ranked_by_image_id_and_bounded():
    tied = {"a": (9, 0.5), "b": (1, 0.5), "c": (2, 0.5)}
    first = scores({"a": None, "b": 1, "c": 2}, tied)
    assert first.gap == first.gap_worst_ties == pytest.approx(7 / 12)
    assert first.gap_best_ties == 1
    renamed = scores({"z": None, "b": 1, "c": 2}, {"z": (9, 0.5)} | tied | {})
    assert renamed.gap == 1


# The definition, written slowly.


def slow_gap(rows, n_positives):
    """``rows`` are (confidence, id, correct); all in fractions."""
    ranked = sorted(rows, key=lambda row: (-row[0], row[1]))
    total, right = Fraction(0), 0
    for rank, (_, _, correct) in enumerate(ranked, 1):
        if correct:
            right += 1
            total += Fraction(right, rank)
    return total / n_positives


def random_case(rng):
    """A truth and guesses with ties, blanks, several landmarks, and ids like numbers."""
    n = int(rng.integers(1, 25))
    kinds = ["{:016d}", "1234e{:011d}", "{:016x}", "0{:015x}"]
    ids = [
        kinds[rng.integers(4)].format(int(rng.integers(1e9)) * 100 + i)
        for i in range(n)
    ]
    truth, guesses = {}, {}
    for image_id in ids:
        shown = rng.integers(0, 4, int(rng.integers(0, 4))).tolist()
        truth[image_id] = shown if rng.random() < 0.7 else []
        if rng.random() < 0.85:
            guess = int(rng.integers(0, 4)), int(rng.integers(0, 6)) / 8
            guesses[image_id] = guess
    return truth, guesses


@pytest.mark.parametrize("seed", range(20))
def test_agrees_with_the_definition_in_exact_fractions(seed):
    rng = np.random.default_rng(seed)
    for _ in range(200):
        truth, guesses = random_case(rng)
        result = scores(truth, guesses)
        n_positives = sum(bool(shown) for shown in truth.values())
        rows = [(c, i, landmark in truth[i]) for i, (landmark, c) in guesses.items()]
        if not n_positives:
            assert result.gap is None
            continue
        assert result.gap == pytest.approx(
            float(slow_gap(rows, n_positives)), abs=1e-12
        )
        only = [row for row in rows if truth[row[1]]]
        expected = float(slow_gap(only, n_positives))
        assert result.gap_landmarks_only == pytest.approx(expected, abs=1e-12)
        assert result.gap_worst_ties <= result.gap + 1e-12
        assert result.gap <= result.gap_best_ties + 1e-12
        assert result.gap_best_ties <= result.top1 + 1e-12
        total = result.gap + sum(result.lost.as_json().values())
        assert total == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("seed", range(30))
def test_tie_bounds_are_those_of_all_orders(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 7))
    confidence = rng.integers(0, 3, n) / 2
    correct = rng.random(n) < 0.5
    found = []
    for order in itertools.permutations(range(n)):
        ids = {place: position for position, place in enumerate(order)}
        rows = [(confidence[i], ids[i], bool(correct[i])) for i in range(n)]
        found.append(float(slow_gap(rows, n)))
    worst, best = gap_tie_bounds(confidence, correct, n)
    assert worst == pytest.approx(min(found))
    assert best == pytest.approx(max(found))


@pytest.mark.parametrize("seed", range(10))
def test_precisions_are_those_at_each_correct_guess_and_add_up_to_gap(seed):
    rng = np.random.default_rng(seed)
    confidence, correct = rng.integers(0, 9, 40) / 8, rng.random(40) < 0.5
    found = precisions(confidence, correct)
    for i in range(40):
        above = [
            j for j in range(40) if (-confidence[j], j) <= (-confidence[i], i)
        ]  # at its rank or before
        expected = np.mean(correct[above]) if correct[i] else 0
        assert found[i] == pytest.approx(expected)
    assert found.sum() / 30 == pytest.approx(gap(confidence, correct, 30))


def slow_loss(rows, n_positives):
    """Go down the ranking.

    ``rows`` are (confidence, correct, shows a landmark, shows an unknown one).
    """
    wrong = none = strange = Fraction(0)
    seen_wrong = seen_none = seen_strange = 0
    for rank, row in enumerate(sorted(rows, key=lambda r: -r[0]), 1):
        _, correct, landmark, unknown = row
        if correct:
            wrong += Fraction(seen_wrong, rank)
            none += Fraction(seen_none, rank)
            strange += Fraction(seen_strange, rank)
        elif landmark and unknown:
            seen_strange += 1
            strange += 1
        elif landmark:
            seen_wrong += 1
            wrong += 1
        else:
            seen_none += 1
    missing = Fraction(n_positives - sum(landmark for _, _, landmark, _ in rows))
    return [float(value / n_positives) for value in (wrong, none, missing, strange)]


@pytest.mark.parametrize("seed", range(50))
def test_loss_agrees_with_its_definition(seed):
    rng = np.random.default_rng(seed)
    n = 30
    confidence = rng.integers(0, 8, n) / 8
    landmark = rng.random(n) < 0.6
    correct = landmark & (rng.random(n) < 0.6)
    n_positives = int(landmark.sum()) + 5
    for unknown in (rng.random(n) < 0.4, np.zeros(n, bool)):
        columns = (confidence, correct, landmark, unknown)
        rows = list(zip(*(column.tolist() for column in columns), strict=True))
        found = gap_loss(confidence, correct, landmark, n_positives, unknown)
        assert list(found) == pytest.approx(slow_loss(rows, n_positives))
        total = gap(confidence, correct, n_positives) + sum(found)
        assert total == pytest.approx(1, abs=1e-12)
    assert gap_loss(confidence, correct, landmark, n_positives) == found


def test_loss_names_its_cause():
    only_wrong = scores({"a": 1, "b": 2}, {"a": (9, 0.9), "b": (2, 0.8)}).lost
    assert only_wrong == LostGap(
        wrong_landmarks=0.75, non_landmarks=0.0, missing_guesses=0.0
    )
    assert scores({"a": 1}, {}).lost.missing_guesses == 1


ROWS = st.lists(
    st.tuples(st.integers(-1000, 1000), st.booleans(), st.booleans()), min_size=1
)


@given(ROWS)
def test_monotone_maps_of_confidence_change_nothing(rows):
    confidence, correct = [r[0] for r in rows], [r[1] for r in rows]
    n = max(1, sum(correct))
    same = [c**3 / 7 + 5 for c in confidence]
    assert gap(confidence, correct, n) == gap(same, correct, n)


@given(ROWS)
def test_demoting_a_wrong_guess_is_as_good_as_deleting_it(rows):
    confidence, correct = [r[0] for r in rows], [r[1] for r in rows]
    n = max(1, sum(correct))
    wrong = next((i for i, right in enumerate(correct) if not right), None)
    if wrong is None:
        return
    demoted = [-9999 if i == wrong else c for i, c in enumerate(confidence)]
    rest = [i for i in range(len(rows)) if i != wrong]
    deleted = gap([confidence[i] for i in rest], [correct[i] for i in rest], n)
    assert gap(demoted, correct, n) == deleted >= gap(confidence, correct, n)


@given(ROWS)
def test_gap_is_at_most_the_share_of_right_guesses(rows):
    confidence, correct = [r[0] for r in rows], [r[1] for r in rows]
    n = len(rows)
    assert gap(confidence, correct, n) <= sum(correct) / n + 1e-12


@given(ROWS)
def test_auc_agrees_with_another_library(rows):
    confidence, positive = [r[0] for r in rows], [r[1] for r in rows]
    if len(set(positive)) < 2:
        assert np.isnan(auc(confidence, positive))
    else:
        assert auc(confidence, positive) == pytest.approx(
            roc_auc_score(positive, confidence)
        )


def test_an_image_without_a_guess_is_the_least_likely_landmark():
    truth = {"a": 1, "b": 2, "c": None, "d": None}
    result = scores(truth, {"a": (1, -5.0), "c": (3, -9.0)})
    assert result.auc == pytest.approx((2 + 0.5) / 4)  # b and d are tied last


def test_a_million_guesses_take_well_below_a_second():
    rng = np.random.default_rng(0)
    confidence, correct = rng.random(1_000_000), rng.random(1_000_000) < 0.3
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        gap(confidence, correct, 1_000_000)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.5


def test_what_has_no_rank_is_a_callers_mistake():
    with pytest.raises(ValueError, match="nan"):
        gap([0.5, float("nan")], [True, False], 2)
    with pytest.raises(ValueError, match=r"equally long .* \(1,\) and \(2,\)"):
        gap([0.5], [True, False], 2)
    with pytest.raises(ValueError, match=r"equally long .* \(1, 1\) and \(1, 1\)"):
        gap([[0.5]], [[True]], 1)
    with pytest.raises(ValueError, match="2 guesses are correct .* only 1 images show"):
        gap([0.5, 0.4], [True, True], 1)


def test_without_positives_gap_is_not_defined():
    assert np.isnan(gap([], [], 0))
    result = scores({"a": None}, {"a": (1, 0.5)})
    assert result.gap is result.top1 is result.auc is None
    assert set(result.lost.as_json().values()) == {None}


# More of the same, through ids that look like numbers, ties and blanks.


@pytest.mark.parametrize(
    "change",
    [
        lambda c: math.log(c),
        lambda c: math.exp(90 * c),
        lambda c: 1e-60 * c,
        lambda c: c**3 - 7,
    ],
    ids=["log", "exp", "below float32", "cube"],
)
def test_d8_is_one_half_under_any_monotone_map(change):
    truth, guesses, expected = BY_HAND["D8"]
    changed = {i: (landmark, change(c)) for i, (landmark, c) in guesses.items()}
    assert scores(truth, changed).gap == pytest.approx(float(expected), abs=1e-12)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("0123456789012345", "1234e56789012345"),
        ("10a", "9aa"),
        ("1000", "999"),
        ("0100", "100"),
        ("100", "1e2"),
        ("Z00", "a00"),
    ],
)
def test_ids_are_ranked_as_strings_whatever_they_look_like(first, second):
    tied = {first: (1, 0.5), second: (1, 0.5)}
    assert scores({second: None, first: 1}, tied).gap == 1
    assert scores({first: None, second: 1}, tied).gap == 0.5


def small_case(rng):
    """At most seven guesses, so that every order of the tied ones can be tried."""
    truth, guesses = random_case(rng)
    truth = dict(list(truth.items())[:5])
    for image_id in ("1234e56789012345", "0123456789012345"):
        truth[image_id] = [1, 2] if rng.random() < 0.7 else []
        guesses[image_id] = int(rng.integers(0, 3)), int(rng.integers(0, 3)) / 8
    return truth, {i: guess for i, guess in guesses.items() if i in truth}


def all_orders(rows):
    """Whether right or wrong, rank by rank, for every order of equal confidences."""
    ranked = sorted(rows, key=lambda row: -row[0])
    tied = [
        sorted(set(itertools.permutations([row[2] for row in group])))
        for _, group in itertools.groupby(ranked, key=lambda row: row[0])
    ]
    return [list(itertools.chain(*order)) for order in itertools.product(*tied)]


@pytest.mark.parametrize("seed", range(20))
def test_bounds_and_losses_of_images_agree_with_their_definitions(seed):
    """All that ``score_guesses`` makes of ties, blanks and several true landmarks."""
    rng = np.random.default_rng([seed, 1])
    for _ in range(100):
        truth, guesses = small_case(rng)
        result = scores(truth, guesses)
        n_positives = sum(bool(shown) for shown in truth.values())
        n_right = sum(landmark in truth[i] for i, (landmark, _) in guesses.items())
        assert result.n_images == len(truth)
        assert result.n_guesses == len(guesses)
        assert result.n_positives == n_positives
        if not n_positives:
            assert result.gap_worst_ties is result.gap_best_ties is None
            continue
        assert result.top1 == pytest.approx(n_right / n_positives)
        rows = [(c, i, landmark in truth[i]) for i, (landmark, c) in guesses.items()]
        found = [
            slow_gap([(-rank, "", right) for rank, right in enumerate(o)], n_positives)
            for o in all_orders(rows)
        ]
        assert result.gap_worst_ties == pytest.approx(float(min(found)), abs=1e-12)
        assert result.gap_best_ties == pytest.approx(float(max(found)), abs=1e-12)
        ranked = sorted((i, guess) for i, guess in guesses.items())
        causes = [
            (c, land in truth[i], bool(truth[i]), False) for i, (land, c) in ranked
        ]
        assert list(result.lost.as_json().values()) == pytest.approx(
            slow_loss(causes, n_positives)[:3], abs=1e-12
        )


def test_a_long_ranking_agrees_with_the_definition():
    """Long enough for sums of ranks to leave 32 bits."""
    rng = np.random.default_rng(0)
    n = 200_000
    confidence, correct = rng.integers(0, 1000, n) / 1000, rng.random(n) < 0.4
    precisions, right = [], 0
    ranked = sorted(range(n), key=lambda i: (-confidence[i], i))
    for rank, i in enumerate(ranked, 1):
        if correct[i]:
            right += 1
            precisions.append(right / rank)
    expected = math.fsum(precisions) / n
    assert gap(confidence, correct, n) == pytest.approx(expected, abs=1e-12)


@given(ROWS)
def test_demoting_a_right_guess_is_at_least_as_good_as_deleting_it(rows):
    confidence, correct = [r[0] for r in rows], [r[1] for r in rows]
    if True not in correct:
        return
    n, right = sum(correct), correct.index(True)
    demoted = [-9999 if i == right else c for i, c in enumerate(confidence)]
    rest = [i for i in range(len(rows)) if i != right]
    deleted = gap([confidence[i] for i in rest], [correct[i] for i in rest], n)
    assert gap(demoted, correct, n) >= deleted + 1 / (n * len(rows)) - 1e-12


@given(ROWS)
def test_gap_is_top1_only_where_every_right_guess_outranks_every_wrong_one(rows):
    truth = {f"{i:04}": 1 for i in range(len(rows))}
    guesses = {f"{i:04}": (int(r[1]), r[0]) for i, r in enumerate(rows)}
    ranked = sorted(guesses, key=lambda i: (-guesses[i][1], i))
    right = [guesses[i][0] == 1 for i in ranked]
    result = scores(truth, guesses)
    assert result.gap <= result.top1 + 1e-12
    separated = right == sorted(right, reverse=True)
    assert (abs(result.gap - result.top1) < 1e-12) == separated


@pytest.mark.parametrize("seed", range(50))
def test_auc_with_many_ties_agrees_with_another_library(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(10, 200))
    confidence = rng.integers(0, 4, n) / 4
    positive = rng.random(n) < 0.3
    positive[:2] = True, False
    assert auc(confidence, positive) == pytest.approx(
        roc_auc_score(positive, confidence), abs=1e-12
    )


def test_nan_has_no_rank_in_bounds_and_losses_either():
    with pytest.raises(ValueError, match="nan"):
        gap_tie_bounds([0.5, float("nan")], [True, False], 2)
    with pytest.raises(ValueError, match="nan"):
        gap_loss([0.5, float("nan")], [True, False], [True, True], 2)


def test_without_positives_bounds_and_losses_are_not_defined():
    assert np.isnan(gap([0.5], [False], 0))
    assert np.isnan(gap_tie_bounds([0.5], [False], 0)).all()
    assert np.isnan(gap_loss([0.5], [False], [False], 0)).all()
    for truth, guesses in (({"a": None}, {"a": (1, 0.5)}), ({}, {})):
        result = scores(truth, guesses)
        for name in ("gap", "gap_worst_ties", "gap_best_ties", "gap_landmarks_only"):
            assert getattr(result, name) is None


# GAP at another share of landmark images.


def shared_case(seed):
    """Guesses with ties, some on images without a landmark, and images without any."""
    rng = np.random.default_rng([seed, 2])
    n = int(rng.integers(2, 60))
    confidence = rng.integers(0, 8, n) / 8
    landmark = rng.random(n) < 0.5
    landmark[:2] = True, False
    correct = landmark & (rng.random(n) < 0.7)
    n_positives = int(landmark.sum() + rng.integers(0, 5))
    n_others = int((~landmark).sum() + rng.integers(0, 5))
    return confidence, correct, landmark, n_positives, n_others


def slow_gap_at_share(confidence, correct, landmark, n_positives, n_others, share):
    """Go down the ranking with the weight of a non-landmark image; all in fractions."""
    weight = n_positives * (1 - share) / (share * n_others)
    total = right = shown = none = Fraction(0)
    for i in sorted(range(len(confidence)), key=lambda i: (-confidence[i], i)):
        shown += bool(landmark[i])
        none += not landmark[i]
        right += bool(correct[i])
        if correct[i]:
            total += right / (shown + weight * none)
    return float(total / n_positives)


@pytest.mark.parametrize("seed", range(50))
def test_gap_at_the_share_of_the_images_themselves_is_gap(seed):
    *rows, n_positives, n_others = shared_case(seed)
    share = n_positives / (n_positives + n_others)
    assert gap_at_share(*rows, n_positives, n_others, share) == pytest.approx(
        gap(*rows[:2], n_positives), abs=1e-12
    )


@pytest.mark.parametrize("seed", range(50))
@pytest.mark.parametrize("share", [Fraction(11, 1000), Fraction(1, 3), Fraction(1)])
def test_gap_at_a_share_agrees_with_its_definition(seed, share):
    case = shared_case(seed)
    assert gap_at_share(*case, float(share)) == pytest.approx(
        slow_gap_at_share(*case, share), abs=1e-12
    )


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("times", [2, 3, 10])
def test_gap_at_a_share_is_gap_with_non_landmarks_that_often(seed, times):
    confidence, correct, landmark, n_positives, n_others = shared_case(seed)
    copies = np.where(landmark, 1, times)
    expected = gap(
        np.repeat(confidence, copies), np.repeat(correct, copies), n_positives
    )
    share = n_positives / (n_positives + times * n_others)
    found = gap_at_share(confidence, correct, landmark, n_positives, n_others, share)
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_gap_at_a_share_grows_with_it_to_that_of_landmark_images(seed):
    case = shared_case(seed)
    confidence, correct, landmark, n_positives, _ = case
    found = [gap_at_share(*case, share) for share in (1e-9, 0.011, 0.1, 0.3, 0.9, 1)]
    assert all(low <= high + 1e-12 for low, high in itertools.pairwise(found))
    only = gap(confidence[landmark], correct[landmark], n_positives)
    assert found[-1] == pytest.approx(only, abs=1e-12)
    same = gap_at_share(confidence**3 / 7 - 5, *case[1:], 0.1)
    assert same == gap_at_share(*case, 0.1)


def test_an_image_without_a_guess_counts_for_the_share_alone():
    """Four non-landmark images, of which two have a guess, at half: w = 2 / 4."""
    rows = [0.9, 0.8, 0.7, 0.6], [False, True, False, True], [False, True, False, True]
    assert gap_at_share(*rows, 2, 4, 0.5) == pytest.approx((1 / 1.5 + 2 / 3) / 2)


def test_gap_at_a_share_that_cannot_be_made_is_not_defined():
    assert np.isnan(gap_at_share([0.5], [False], [False], 0, 1, 0.5))
    assert np.isnan(gap_at_share([0.5], [True], [True], 1, 0, 0.5))
    assert gap_at_share([0.5], [True], [True], 1, 0, 1) == 1
    assert gap_at_share([], [], [], 3, 3, 0.5) == 0


def test_a_share_that_is_none_is_a_callers_mistake():
    for share in (0, -0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=f"above 0, at most 1, got {share}"):
            gap_at_share([0.5], [True], [True], 1, 1, share)
    none = [False] * 3
    with pytest.raises(
        ValueError, match=r"n_non_landmarks \(2\) guesses .* got 3, 0 of"
    ):
        gap_at_share([0.5, 0.4, 0.3], none, none, 1, 2, 0.5)
    with pytest.raises(ValueError, match="got 2, 1 of them correct"):
        gap_at_share([0.5, 0.4], [True, False], [False, False], 1, 2, 0.5)
    with pytest.raises(ValueError, match="nan"):
        gap_at_share([float("nan")], [True], [True], 1, 1, 0.5)


# Whatever the arrays are of.


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.int64, np.uint8, list])
def test_the_type_of_a_confidence_changes_nothing(kind):
    """Also of unsigned numbers, whose negative is another large number."""
    confidence = [3, 0, 7, 7, 1, 0]
    correct = [True, False, False, True, True, True]
    given = confidence if kind is list else np.array(confidence, kind)
    exact = np.array(confidence, np.float64)
    assert gap(given, correct, 5) == gap(exact, correct, 5)
    assert gap_tie_bounds(given, correct, 5) == gap_tie_bounds(exact, correct, 5)
    assert auc(given, correct) == auc(exact, correct)
    assert gap(exact, correct, 5) == pytest.approx((1 / 2 + 2 / 3 + 3 / 4 + 4 / 6) / 5)


def test_numbers_do_as_bools():
    """Nought is False; any other number is True and counts once."""
    rows = [0.9, 0.8, 0.7, 0.6]
    for true in (1, 3):
        correct, landmark = [0, true, 0, true], [true, true, 0, true]
        assert gap(rows, correct, 3) == pytest.approx(1 / 3)
        assert precisions(rows, correct).tolist() == [0, 1 / 2, 0, 1 / 2]
        assert gap_tie_bounds(rows, correct, 3) == pytest.approx((1 / 3, 1 / 3))
        assert gap_at_share(rows, correct, landmark, 3, 1, 0.75) == pytest.approx(1 / 3)
        found = gap_loss(rows, correct, landmark, 3)
        assert found == pytest.approx(((1 / 2 + 1 / 4 + 1) / 3, 1 / 12, 0, 0))
        assert auc(rows, correct) == pytest.approx(1 / 4)
        assert mean_average_precision([correct], [2]) == pytest.approx(1 / 2)


def test_nought_and_minus_nought_are_one_confidence():
    assert gap([-0.0, 0.0], [True, False], 1) == 1
    assert gap([0.0, -0.0], [True, False], 1) == 1
    assert gap([-0.0, 0.5], [True, False], 1) == 1 / 2


@pytest.mark.parametrize("least", [0, -1])
def test_ties_below_the_best_guess_keep_the_order_given(least):
    """So many that a sort which is not stable would mix them."""
    n = 5000
    confidence = np.concatenate([[least + 2.0], np.full(n, least + 1.0), [least]])
    correct = np.arange(n + 2) % 2 == 1  # the best is wrong; then right, wrong, ...
    right = np.flatnonzero(correct)
    expected = np.arange(1, len(right) + 1) / (right + 1)
    assert gap(confidence, correct, n) == pytest.approx(expected.sum() / n)
    assert precisions(confidence, correct)[right] == pytest.approx(expected)
    assert gap(np.full(n + 2, least + 1.0), correct, n) == gap(confidence, correct, n)


def test_what_is_not_defined_is_nan_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(gap([0.5], [False], 0))
        assert np.isnan(gap_tie_bounds([0.5], [False], 0)).all()
        assert np.isnan(gap_loss([0.5], [False], [False], 0)).all()
        assert np.isnan(gap_at_share([0.5], [False], [False], 0, 1, 0.5))
        assert np.isnan(gap_at_share([0.5], [False], [True], 1, 0, 0.5))
        assert np.isnan(auc([0.5], [True]))
        assert np.isnan(auc([0.5], [False]))
        assert np.isnan(mean_average_precision([[False]], [0]))


# Mean average precision. The first vectors are those of metrics_test.py again.

DELF_RELEVANT = {"1": {10, 20}, "2": {10}, "3": {30, 40, 50}, "4": {30}}
DELF_FOUND = {"2": [0, 10], "3": [40], "4": [30, 40]}


def searched(found, truth):
    """(q, r) bools and (q,) counts, an image that is returned again being False."""
    width = max(map(len, found.values()))
    relevant = np.zeros((len(truth), width), bool)
    for row, (query, wanted) in enumerate(truth.items()):
        images = found.get(query, [])
        for rank, image in enumerate(images):
            relevant[row, rank] = image in wanted and image not in images[:rank]
    return relevant, [len(wanted) for wanted in truth.values()]


@pytest.mark.parametrize(("k", "expected"), [(100, 11 / 24), (1, 1 / 2)])
def test_delf_vectors_of_a_search(k, expected):
    rows = searched(DELF_FOUND, DELF_RELEVANT)
    assert mean_average_precision(*rows, k) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("found", "wanted", "k", "expected"),
    [
        ("xxy", set("xy"), 100, 5 / 6),  # x again takes up a rank and scores once
        ("x", {"x", *range(250)}, 100, 1 / 100),
        ("axb", set("xy"), 2, 1 / 4),
        ("ab", set("xy"), 100, 0),
    ],
)
def test_search_vectors_by_hand(found, wanted, k, expected):
    rows = searched({"q": found}, {"q": wanted})
    assert mean_average_precision(*rows, k) == pytest.approx(expected, abs=1e-12)


def slow_average_precision(relevant, n_relevant, k):
    total, right = Fraction(0), 0
    for rank, found in enumerate(relevant[:k], 1):
        right += found
        total += Fraction(right, rank) if found else 0
    return total / min(n_relevant, k)


@pytest.mark.parametrize("seed", range(30))
def test_mean_average_precision_agrees_with_its_definition(seed):
    rng = np.random.default_rng(seed)
    relevant = rng.random((9, int(rng.integers(1, 12)))) < 0.4
    n_relevant = relevant.sum(axis=1) + rng.integers(0, 4, 9)
    asked = [row for row in zip(relevant.tolist(), n_relevant.tolist()) if row[1]]
    for k in (1, 3, 100):
        expected = [slow_average_precision(*row, k) for row in asked]
        found = mean_average_precision(relevant, n_relevant, k)
        assert found == pytest.approx(float(sum(expected) / len(asked)), abs=1e-12)


def test_a_query_that_has_nothing_relevant_is_left_out_of_the_mean():
    relevant = [[True, False], [False, False], [False, False]]
    assert mean_average_precision(relevant, [1, 0, 1]) == 1 / 2
    assert np.isnan(mean_average_precision(relevant[1:2], [0]))
    assert np.isnan(mean_average_precision(np.zeros((0, 5), bool), []))
    assert mean_average_precision(np.zeros((2, 0), bool), [1, 2]) == 0  # found nothing


def test_a_search_that_does_not_add_up_is_a_callers_mistake():
    with pytest.raises(ValueError, match="more relevant images"):
        mean_average_precision([[True, False], [True, True]], [1, 1])
    with pytest.raises(ValueError, match=r"shapes .* \(1, 2\), \(2,\) and 100$"):
        mean_average_precision([[True, True]], [2, 2])
    for relevant in ([True, False], [[[True]], [[True]]]):
        with pytest.raises(ValueError, match="shapes"):
            mean_average_precision(relevant, [1, 1])
    with pytest.raises(ValueError, match="at least 1, .* and 0$"):
        mean_average_precision([[True]], [1], k=0)
