"""Tuning where landmarks are rarer than among the validation images."""

from pathlib import Path

import numpy as np
import pytest

from kaggle_kit import config
from kaggle_kit.bundling import tune as tune_module
from kaggle_kit.bundling.evaluator import Outcome, Pool
from kaggle_kit.bundling.queries import Query
from kaggle_kit.bundling.tune import check_share, loses, tune
from kaggle_kit.errors import ConfigError, DataError
from kaggle_kit.metrics.score import SHARES, precisions_of
from kaggle_kit.storage.tables import Guess, Truth

START = config.Recognition(tune=True)
M = 200


class FakeEvaluator:
    """A substitute for an ``Evaluator``: each exponent has its precisions at each share."""

    n_parts, has_head = 1, False

    def __init__(self, right):
        self.right = right
        self.pools = {"validation": Pool([Query("a", Path("a"), 1)], [])}
        self.settings = config.load(Path("demo.yaml"))

    def outcome(self, ranking):
        overall, *shares = self.right.get(ranking.exponent, self.right[1.0])
        at_share = dict(zip(SHARES, map(precisions, shares), strict=True))
        return Outcome(precisions(overall), at_share)


def precisions(n_right):
    return (np.arange(M) < n_right).astype(float)


def test_a_gain_that_loses_at_one_share_is_not_kept():
    """Of the others the best is."""
    right = {
        1.0: (100, 50, 60, 70),
        2.0: (130, 50, 60, 70),
        4.0: (180, 49, 90, 90),  # the best overall, but it loses at 1.1%
        8.0: (140, 60, 60, 70),
    }
    tuned, trials = tune(FakeEvaluator(right), START)
    assert tuned.exponent == 8
    shown = next(t for t in trials if t.get("exponent") == 4)
    assert shown["gap"] == 0.9 and not shown["kept"]
    assert shown["gap_at_share"] == {0.011: 0.245, 0.1: 0.45, 0.3: 0.45}


def test_without_images_to_weigh_only_the_gain_counts():
    nothing = {share: np.full(M, np.nan) for share in SHARES}
    assert not loses(Outcome(precisions(3), nothing), Outcome(precisions(9), nothing))


@pytest.mark.parametrize("share", [0.011, 0.1, 0.5])
def test_precisions_at_a_share_are_those_of_the_definition(share):
    """Landmark images are a third; the others count as often as makes them the share."""
    rng = np.random.default_rng(0)
    n, n_others = 30, 60
    truths = {f"{i:03}": Truth(frozenset({7})) for i in range(n)}
    truths |= {f"{i:03}": Truth(frozenset()) for i in range(n, n + n_others)}
    guesses = {i: Guess(int(rng.choice([7, 8])), rng.random()) for i in truths}
    found = precisions_of(guesses, truths, share)
    weight = n * (1 - share) / (share * n_others)
    ranked = sorted(guesses, key=lambda i: -guesses[i].confidence)
    expected = []
    for i in sorted(truths)[:n]:
        above = ranked[: ranked.index(i) + 1]
        of_landmarks = [k for k in above if truths[k].landmark_ids]
        n_right = sum(guesses[k].landmark_id == 7 for k in of_landmarks)
        n_above = len(of_landmarks) + weight * (len(above) - len(of_landmarks))
        expected.append(n_right / n_above if guesses[i].landmark_id == 7 else 0)
    assert found.tolist() == pytest.approx(expected)


def queries_of(*landmarks):
    return [Query(f"{i}", Path("x"), landmark) for i, landmark in enumerate(landmarks)]


@pytest.mark.parametrize(
    ("validation", "changes", "is_refused"),
    [
        ((1, 2, 1), {}, True),
        ((1, 2, None), {}, False),
        ((1, 2, 3), {}, False),  # 3 is an unknown landmark
        ((), {}, False),
        ((1, 2), {"tune": False}, False),
        ((1, 2), {"ranking": "head"}, False),
        ((1, 2), {"tune_share": None}, False),
    ],
)
def test_a_share_needs_images_to_weigh(validation, changes, is_refused):
    settings = START.model_copy(update={"tune_share": 0.1} | changes)
    pools = {"train": queries_of(1, 2), "validation": queries_of(*validation)}
    if not is_refused:
        check_share(settings, pools)
        return
    with pytest.raises(
        DataError, match=r"recognition\.tune_share: .*\.tune_share=null"
    ):
        check_share(settings, pools)


def test_a_config_whose_share_weighs_nothing_is_refused_before_any_work():
    base = config.load(Path("lite0_320.yaml"))
    share = {"recognition.tune_share": 0.1}
    assert config.override(base, share).recognition.tune_share == 0.1
    for change in ({"source": "none"}, {"validation": 0.0}):
        pools = {f"subset.non_landmarks.{k}": v for k, v in change.items()}
        with pytest.raises(ConfigError, match="tune_share: expected null without"):
            config.override(base, share | pools)
        unknown = {"subset.unknown_landmarks": 3}
        config.override(base, share | pools | unknown)


def test_shares_have_what_tuning_promises():
    assert SHARES == (0.011, 0.1, 0.3)
    assert tune_module.MIN_GAIN > 0
