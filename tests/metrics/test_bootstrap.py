"""Bootstrap intervals, held against images literally drawn again and scored."""

import time
import tracemalloc

import numpy as np
import pytest

from kaggle_kit.metrics.bootstrap import gap_difference, intervals
from kaggle_kit.metrics.gap import auc, gap, gap_at_share

SHARES = (0.011, 0.3, 1.0)


def images(seed, n=60, levels=8):
    """Confidences with ties, -inf without a guess, right or wrong, landmark or not."""
    rng = np.random.default_rng([seed, 4])
    confidence = rng.integers(0, levels, n) / levels
    confidence[rng.random(n) < 0.2] = -np.inf
    landmark = rng.random(n) < 0.5
    landmark[:2] = True, False
    correct = landmark & (rng.random(n) < 0.6) & (confidence > -np.inf)
    return confidence, correct, landmark


def scored(confidence, correct, landmark):
    """What the functions of ``gap.py`` make of the images."""
    guessed = confidence > -np.inf
    n_positives, n_others = int(landmark.sum()), int((~landmark).sum())
    made = confidence[guessed], correct[guessed]
    shown = landmark[guessed]
    return [
        gap(*made, n_positives),
        correct.sum() / n_positives,
        auc(confidence, landmark),
        *(gap_at_share(*made, shown, n_positives, n_others, x) for x in SHARES),
    ]


def drawn_again(confidence, correct, landmark, n_resamples, seed):
    """Score images that are drawn by rank, landmark images first; (n_resamples, 6)."""
    rng = np.random.default_rng(seed)
    order = np.argsort(-confidence, kind="stable")
    kinds = [order[landmark[order]], order[~landmark[order]]]
    found = []
    for _ in range(n_resamples):
        drawn = [k[rng.integers(0, len(k), len(k), np.int32)] for k in kinds]
        rows = np.sort(np.concatenate(drawn))  # ties keep input order
        found.append(scored(confidence[rows], correct[rows], landmark[rows]))
    return np.array(found)


def flat(found):
    return np.array([found.gap, found.top1, found.auc, *found.gap_at_share])


@pytest.mark.parametrize("levels", [3, 8, 10**9])
@pytest.mark.parametrize("seed", range(10))
def test_agrees_with_images_literally_drawn_again(seed, levels):
    case = images(seed, levels=levels)
    expected = np.percentile(drawn_again(*case, 40, seed), [2.5, 97.5], axis=0).T
    found = intervals(*case, SHARES, n_resamples=40, seed=seed)
    assert flat(found) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_one_resample_is_an_interval_of_one_value(seed):
    case = images(seed)
    found = flat(intervals(*case, SHARES, n_resamples=1, seed=seed))
    assert (found[:, 0] == found[:, 1]).all()
    assert found[:, 0] == pytest.approx(drawn_again(*case, 1, seed)[0], abs=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_an_interval_holds_the_value_and_is_of_its_seed(seed):
    case = images(seed, n=300)
    found = intervals(*case, SHARES, n_resamples=300)
    for (low, high), value in zip(flat(found), scored(*case), strict=True):
        assert low < value < high
    assert found == intervals(*case, SHARES, n_resamples=300, seed=0)
    assert found != intervals(*case, SHARES, n_resamples=300, seed=1)
    assert intervals(*case, n_resamples=300) == found[:3] + ((),)


def test_monotone_maps_of_confidence_change_nothing():
    confidence, correct, landmark = images(0)
    expected = intervals(confidence, correct, landmark, SHARES, n_resamples=50)
    same = confidence**3 / 7 - 5
    assert intervals(same, correct, landmark, SHARES, n_resamples=50) == expected


def test_gap_at_the_images_own_share_has_the_interval_of_gap():
    confidence, correct, landmark = images(1)
    found = intervals(confidence, correct, landmark, [landmark.mean()])
    assert found.gap_at_share[0] == pytest.approx(found.gap, abs=1e-12)


def test_top1_has_the_interval_of_a_proportion():
    n = 2000
    correct = np.arange(n) < 0.7 * n
    low, high = intervals(np.zeros(n), correct, np.ones(n, bool)).top1
    half = 1.96 * np.sqrt(0.7 * 0.3 / n)
    assert (low, high) == pytest.approx((0.7 - half, 0.7 + half), abs=0.003)


def test_more_images_give_a_narrower_interval():
    widths = [np.diff(intervals(*images(0, n)).gap)[0] for n in (50, 500, 5000)]
    assert widths[0] > 2 * widths[1] > 4 * widths[2] > 0


def test_what_never_varies_has_an_interval_of_no_width():
    found = intervals([0.9, 0.8, 0.1], [True, True, False], [True, True, False], [0.3])
    assert found == ((1, 1), (1, 1), (1, 1), ((1, 1),))


@pytest.mark.filterwarnings("error")
def test_what_is_not_defined_has_no_interval():
    none = intervals([0.9, 0.8], [False, False], [False, False], SHARES)
    assert np.isnan(flat(none)).all()
    assert np.isnan(flat(intervals([], [], [], SHARES))).all()
    only = intervals([0.9, 0.8], [True, True], [True, True], SHARES)
    assert only.gap == only.top1 == only.gap_at_share[2] == (1, 1)
    assert np.isnan([only.auc, *only.gap_at_share[:2]]).all()


def test_a_callers_mistake_is_named():
    for case, message in (
        (([0.5], [True, False], [True, True]), "shapes"),
        (([0.5, 0.4], [True, False], [True]), "shapes"),
        (([float("nan")], [True], [True]), "nan"),
        (([0.5], [True], [False]), "without a landmark"),
        (([0.5], [True], [True], [0.0]), "above 0, at most 1"),
        (([0.5], [True], [True], (), 0), "at least one resample"),
    ):
        with pytest.raises(ValueError, match=message):
            intervals(*case)


def test_many_images_take_little_time_and_memory():
    """A thousand draws of 700 images, and ten of 100,000."""
    small, large = images(0, 700, 10**9), images(0, 100_000, 10**9)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        intervals(*small, SHARES)
        intervals(*large, SHARES, n_resamples=10)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 1
    tracemalloc.start()
    intervals(*large, SHARES, n_resamples=10)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200 * 100_000  # 200 bytes for each image, however many draws


def both(seed, n=60):
    """Two submissions for the same images, each with ties and missing guesses."""
    confidence, correct, landmark = images(seed, n)
    rng = np.random.default_rng([seed, 5])
    other = np.where(rng.random(n) < 0.5, confidence, rng.integers(0, 8, n) / 8)
    right = landmark & (rng.random(n) < 0.6) & (other > -np.inf)
    return (confidence, correct), (other, right), landmark


@pytest.mark.parametrize("seed", range(10))
def test_a_difference_agrees_with_the_same_images_drawn_for_both(seed):
    one, other, landmark = both(seed)
    rng = np.random.default_rng(3)
    kinds = np.flatnonzero(landmark), np.flatnonzero(~landmark)
    found = []
    for _ in range(40):
        drawn = [k[rng.integers(0, len(k), len(k), np.int32)] for k in kinds]
        rows = np.sort(np.concatenate(drawn))
        gaps = [scored(c[rows], r[rows], landmark[rows])[0] for c, r in (one, other)]
        found.append(gaps[0] - gaps[1])
    expected = np.percentile(found, [2.5, 97.5])
    assert gap_difference(one, other, landmark, 40, 3) == pytest.approx(expected)


def test_a_submission_does_not_differ_from_itself():
    one, _, landmark = both(1)
    assert gap_difference(one, one, landmark) == (0.0, 0.0)


def test_a_difference_is_surer_than_its_two_sides():
    one, _, landmark = both(2, n=300)
    worse = one[1].copy()
    worse[np.flatnonzero(worse)[::5]] = False
    low, high = gap_difference(one, (one[0], worse), landmark)
    alone = intervals(*one, landmark).gap
    assert 0 < low < high and high - low < (alone[1] - alone[0]) / 2


def test_two_submissions_of_other_lengths_are_refused():
    one, other, landmark = both(1)
    with pytest.raises(ValueError, match="equally long"):
        gap_difference(one, (other[0][:-1], other[1][:-1]), landmark)
    with pytest.raises(ValueError, match="at least one resample"):
        gap_difference(one, other, landmark, 0)
