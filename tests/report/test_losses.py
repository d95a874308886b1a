"""What GAP was lost to, held against the definition in fractions."""

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from kaggle_kit.metrics.score import score_guesses
from kaggle_kit.report.losses import (
    NO_LANDMARK,
    changes,
    image_losses,
    landmark_table,
    part_counts,
    parts,
    precision_over_rank,
    worst,
)
from kaggle_kit.storage.tables import Guess, Truth


def case(seed, n=60):
    """Guesses with ties, some missing, some on images of none, some images of several."""
    rng = np.random.default_rng([seed, 9])
    truths, guesses = {}, {}
    for i in rng.permutation(n).tolist():
        image_id = f"{i:016x}"
        shown = rng.integers(1, 6, rng.choice([0, 1, 1, 2])).tolist()
        truths[image_id] = Truth(frozenset(shown))
        right = shown and rng.random() < 0.5
        landmark = shown[0] if right else int(rng.integers(1, 7))
        guess = Guess(landmark, float(rng.integers(0, 8) / 8))
        guesses[image_id] = guess if rng.random() < 0.85 else None
    truths["f" * 16] = Truth(frozenset([1]))  # there is always a landmark
    guesses["f" * 16] = Guess(1, 0.5)
    return guesses, truths


KNOWN = {1, 2, 4}  # of the landmarks 1 to 6


def slow_losses(guesses, truths):
    """What each image costs: every right guess charges its shortfall to those above it."""
    n_positives = sum(bool(t.landmark_ids) for t in truths.values())
    ranked = sorted(
        (i for i in truths if guesses[i]), key=lambda i: (-guesses[i].confidence, i)
    )
    right = {i: guesses[i].landmark_id in truths[i].landmark_ids for i in ranked}
    loss = dict.fromkeys(truths, Fraction(0))
    for i, truth in truths.items():
        if truth.landmark_ids and not right.get(i, False):
            loss[i] += Fraction(1, n_positives)
    for place, i in enumerate(ranked):
        if right[i]:
            for above in ranked[:place]:
                if not right[above]:
                    loss[above] += Fraction(1, n_positives * (place + 1))
    return loss


@pytest.mark.parametrize("seed", range(25))
def test_each_image_costs_what_the_definition_says(seed):
    guesses, truths = case(seed)
    images = image_losses(guesses, truths)
    expected = slow_losses(guesses, truths)
    assert list(images.index) == sorted(truths)
    for image_id, loss in images["loss"].items():
        assert loss == pytest.approx(float(expected[image_id]), abs=1e-12)


@pytest.mark.parametrize("seed", range(25))
def test_the_parts_add_up_to_what_gap_is_short_of_one(seed):
    guesses, truths = case(seed)
    scores = score_guesses(guesses, truths)
    found = parts(image_losses(guesses, truths))
    assert sum(found) == pytest.approx(1 - scores.gap, abs=1e-12)
    assert found.unknown_landmarks == found.unknown_above == 0
    apart = parts(image_losses(guesses, truths, KNOWN))
    assert sum(apart) == pytest.approx(1 - scores.gap, abs=1e-12)
    assert apart.non_landmarks_above == found.non_landmarks_above
    assert apart.missing_guesses == found.missing_guesses
    assert apart.unknown_landmarks > 0
    lost = scores.lost
    wrong = found.wrong_landmarks + found.wrong_above
    assert wrong == pytest.approx(lost.wrong_landmarks, abs=1e-12)
    assert found.non_landmarks_above == pytest.approx(lost.non_landmarks, abs=1e-12)
    assert found.missing_guesses == pytest.approx(lost.missing_guesses, abs=1e-12)


def test_the_parts_of_a_case_done_by_hand():
    """Ranks: none of a landmark, right, wrong, right; and an image without a guess."""
    landmarks = {"a": [], "b": [1], "c": [1], "d": [2], "e": [3]}
    truths = {i: Truth(frozenset(shown)) for i, shown in landmarks.items()}
    guesses = {
        "a": Guess(1, 0.9),
        "b": Guess(1, 0.8),
        "c": Guess(2, 0.7),
        "d": Guess(2, 0.6),
        "e": None,
    }
    images = image_losses(guesses, truths)
    none = (1 / 2 + 1 / 4) / 4
    assert parts(images) == pytest.approx((1 / 4, 1 / 16, 0, 0, none, 1 / 4))
    assert part_counts(images) == (1, 1, 0, 0, 1, 1)
    images = image_losses(guesses, truths, landmarks={2, 3})
    assert parts(images) == pytest.approx((0, 0, 1 / 4, 1 / 16, none, 1 / 4))
    assert part_counts(images) == (0, 0, 1, 1, 1, 1)


def test_guesses_below_all_right_ones_are_not_counted_as_above_one():
    landmarks = {"a": [1], "b": [1], "c": [], "d": [5]}
    truths = {i: Truth(frozenset(shown)) for i, shown in landmarks.items()}
    guesses = {i: Guess(1, 1 - k / 10) for k, i in enumerate("abcd")}
    images = image_losses(guesses, truths, {1})
    assert parts(images) == pytest.approx((0, 0, 1 / 3, 0, 0, 0))
    assert part_counts(images) == (0, 0, 1, 0, 0, 0)


@pytest.mark.parametrize("seed", range(10))
def test_the_table_by_landmark_counts_each_image_once_and_all_loss(seed):
    guesses, truths = case(seed)
    images = image_losses(guesses, truths)
    found = landmark_table(images)
    assert found["n"].sum() == len(truths)
    assert found["share"].sum() == pytest.approx(1)
    assert found["loss"].sum() == pytest.approx(images["loss"].sum())
    assert (found["loss"].diff().dropna() <= 1e-15).all()
    false = [
        g.landmark_id
        for i, g in guesses.items()
        if g and g.landmark_id not in truths[i].landmark_ids
    ]
    for landmark, row in found.iterrows():
        assert row["false"] == false.count(landmark)
    none = [i for i, t in truths.items() if not t.landmark_ids]
    assert found.loc[NO_LANDMARK, "n"] == len(none)
    guessed = pd.Series([guesses[i].landmark_id for i in none if guesses[i]])
    assert found.loc[NO_LANDMARK, "times"] == guessed.value_counts().max()


def test_images_that_are_ignored_do_not_count():
    truths = {
        "aaa": Truth(frozenset([1]), "Private"),
        "bbb": Truth(frozenset([2]), "Ignored"),
    }
    guesses = {"aaa": Guess(1, 0.5), "bbb": Guess(1, 0.9)}
    images = image_losses(guesses, truths)
    assert list(images.index) == ["aaa"] and images["loss"].sum() == 0


def test_the_worst_come_first_and_none_that_cost_nothing():
    guesses, truths = case(3)
    images = image_losses(guesses, truths)
    found = worst(images, 7)
    assert found["loss"].tolist() == sorted(images["loss"], reverse=True)[:7]
    assert len(worst(images, 10**6)) == (images["loss"] > 0).sum()


def test_precision_over_rank_averages_to_gap():
    guesses, truths = case(5)
    images = image_losses(guesses, truths)
    line = precision_over_rank(images)
    right = images[images["right"]]["rank"].to_numpy()
    total = line.set_index("rank").loc[right, "precision"].sum()
    gap = total / images["positive"].sum()
    assert gap == pytest.approx(score_guesses(guesses, truths).gap)


def test_changes_are_the_images_right_in_one_alone():
    truths = {i: Truth(frozenset([1])) for i in ("aaa", "bbb", "ccc")}
    one = image_losses({i: Guess(1, 0.5) for i in truths}, truths)
    two = {"aaa": Guess(1, 0.5), "bbb": Guess(2, 0.4), "ccc": None}
    found = changes(one, image_losses(two, truths))
    assert sorted(found.index) == ["bbb", "ccc"] and found["right"].all()
    assert found["gained"].tolist() == pytest.approx([1 / 3, 1 / 3])
    assert found.loc["ccc", "other_guess"] == NO_LANDMARK
    assert changes(one, one).empty
