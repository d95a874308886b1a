"""The budget: against every plan there is, hand-made schedules, and simulated runs."""

import itertools
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaggle_kit.inference.time_budget import (
    ORDER,
    Budget,
    Cost,
    Level,
    Plan,
    Rates,
    Work,
    filled,
    plan,
)

LEVELS = [
    Level("", ((0, "serve"), (1, "serve"))),
    Level("views", ((0, "one"), (1, "one"))),
    Level("embedders", ((0, "one"),)),
    Level("size", ((0, "small"),)),
]


def seconds(found, work, cost):
    """What a plan takes, from its definition."""
    each = cost.embed[found.level]
    total = work.unranked * cost.rank + found.test * (each + cost.rank)
    total += work.again * cost.rank if found.again else 0
    return total + found.new * each + found.verify * cost.verify


def drops(found, work):
    """How much of each thing is left out, in the order of drops."""
    level = found.level
    return {
        "views": level >= 1,
        "verification": work.verify - found.verify,
        "embedders": level >= 2,
        "size": level >= 3,
        "new photos": work.new - found.new,
        "ranking again": not found.again,
        "test photos": work.test - found.test,
    }


def every_plan(work):
    """All plans that make sense: nothing more is done before all test photos are."""
    for level, test in itertools.product(range(4), range(work.test + 1)):
        yield Plan(level, test, False, 0, 0, 0.0)
        if test == work.test:
            counts = itertools.product(range(work.new + 1), range(work.verify + 1))
            for new, verify in counts:
                yield Plan(level, test, True, new, verify, 0.0)


whole = st.integers(0, 5)
each = st.integers(0, 9).map(float)  # whole numbers: sums are exact
costs = st.builds(Cost, st.tuples(each, each, each, each), each, each)
works = st.builds(Work, whole, whole, whole, whole, whole)


@given(st.integers(0, 120), works, costs)
def test_of_all_plans_that_fit_the_first_drops_go_first(left, work, cost):
    """The plan is within the time if any is, and drops the least by the stated order."""
    fit = [p for p in every_plan(work) if seconds(p, work, cost) <= left]
    found = plan(float(left), work, cost, LEVELS)
    assert found.seconds == seconds(found, work, cost)
    if not fit:  # not even what is embedded can be ranked
        assert (found.test, found.again, found.new, found.verify) == (0, False, 0, 0)
        return
    assert found.seconds <= left

    def last_first(p):
        return [drops(p, work)[name] for name in reversed(ORDER)]

    assert last_first(found) == min(map(last_first, fit))


rate = st.floats(1e-4, 1e3)


@given(
    st.floats(0, 1e6),
    st.builds(Work, *[st.integers(0, 100_000)] * 5),
    st.builds(Cost, st.tuples(rate, rate, rate, rate), rate, rate),
)
def test_what_fits_is_not_dropped_and_what_does_not_fit_is(left, work, cost):
    found = plan(left, work, cost, LEVELS)
    all_of_it = Plan(0, work.test, True, work.new, work.verify, 0.0)
    if seconds(all_of_it, work, cost) <= left * (1 - 1e-9):
        assert found[:5] == all_of_it[:5]
    if work.unranked * cost.rank <= left:
        assert seconds(found, work, cost) <= left * (1 + 1e-9) + 1e-9


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        # 100 test photos, 50 new, 100 to verify; a photo takes 4, 2, 1, 0.5 s to embed
        # on the levels and 1 s to verify; ranking takes nothing.
        (700, (0, 100, True, 50, 100)),
        (699, (1, 100, True, 50, 100)),  # views
        (400, (1, 100, True, 50, 100)),
        (399, (1, 100, True, 50, 99)),  # verification, by and by
        (300, (1, 100, True, 50, 0)),
        (299, (2, 100, True, 50, 100)),  # an embedder; so there is time to verify again
        (150, (2, 100, True, 50, 0)),
        (149, (3, 100, True, 50, 74)),  # size
        (75, (3, 100, True, 50, 0)),
        (74, (3, 100, True, 48, 0)),  # new photos
        (50, (3, 100, True, 0, 0)),
        (20, (3, 40, False, 0, 0)),  # test photos
        (0, (3, 0, False, 0, 0)),
    ],
)
def test_less_and_less_time_drops_more_and_more(left, expected):
    cost = Cost((4.0, 2.0, 1.0, 0.5), 0.0, 1.0)
    found = plan(left, Work(100, 0, 100, 50, 100), cost, LEVELS)
    if expected[1] == 0:  # without time no level is better than another
        expected = (found.level, *expected[1:])
    assert found[:5] == expected


def test_ranking_is_part_of_the_bill():
    cost = Cost((1.0,), 0.5, 0.0)
    work = Work(test=10, unranked=4, again=20)
    assert filled(0, 27, work, cost) == Plan(0, 10, True, 0, 0, 27)
    assert filled(0, 26.9, work, cost) == Plan(0, 10, False, 0, 0, 17)
    assert filled(0, 16.9, work, cost) == Plan(0, 9, False, 0, 0, 15.5)


# Rates.


def test_the_first_batch_warms_up_and_the_latest_count():
    rates = Rates({(0, "serve"): 2.0, (0, "one"): 1.0})
    assert rates[0, "serve"] == 0
    rates.add((0, "serve"), 10, 500.0)
    assert rates[0, "serve"] == 0
    rates.add((0, "serve"), 10, 40.0)
    assert rates[0, "serve"] == 4
    assert rates[0, "one"] == 2  # by its share of the pixels
    rates.add((0, "one"), 10, 300.0)
    assert rates[0, "one"] == 2
    rates.add((0, "one"), 10, 30.0)
    assert rates[0, "one"] == 3  # as measured
    for _ in range(8):
        rates.add((0, "serve"), 5, 5.0)
    assert rates[0, "serve"] == 1
    rates.add((0, "serve"), 0, 7.0)  # a batch of nothing
    assert rates[0, "serve"] == 1
    assert rates["rank"] == rates[1, "one"] == 0
    rates.add("rank", 2, 1.0)
    assert rates["rank"] == 0.5


# The budget of a run, whose clock is moved by the work itself.


class Run:
    """Photos embedded, ranked and verified by a clock that only they move."""

    def __init__(self, limit, n, batch=4, new=0, verify=0, costs=None):
        self.now = 100.0
        self.costs = {"serve": 4.0, "one": 2.0, "small": 0.5, "rank": 0.0, "verify": 0}
        self.costs |= costs or {}
        pixels = {"serve": 2.0, "one": 1.0, "small": 0.25}
        self.rates = Rates({(i, k): v for i in (0, 1) for k, v in pixels.items()})
        self.budget = Budget(LEVELS, self.rates, limit, self.now, lambda: self.now)
        self.budget.start(Work(n, 0, n, new, verify))
        self.batch = batch
        self.levels = []
        self.done = {"test": 0, "new": 0, "verify": 0}
        self.embed("test")
        self.take("rank", self.done["test"])
        self.budget.ranked()
        self.embed("new")
        self.again = self.budget.room("again")
        if self.again:
            self.take("rank", n)
            self.budget.did("again", n)
            while self.budget.room("verify", batch):
                self.take("verify", k := min(batch, self.budget.work.verify))
                self.count("verify", k)

    def take(self, key, n):
        took = n * self.costs[key if isinstance(key, str) else key[1]]
        self.now += took
        self.rates.add(key, n, took)

    def count(self, kind, n):
        self.budget.did(kind, n)
        self.done[kind] += n

    def embed(self, kind):
        while self.budget.room(kind, self.batch):
            n = min(self.batch, getattr(self.budget.work, kind))
            for key in LEVELS[self.budget.level].uses:
                self.take(key, n)
            if kind == "test" and not self.levels:  # to learn how long that takes
                self.take("rank", n)
                self.take("verify", self.batch if self.budget.work.verify else 0)
            self.levels += [self.budget.level] * n
            self.count(kind, n)

    @property
    def dropped(self):
        return {drop.what: drop.photos for drop in self.budget.dropped()}


def limit_for(seconds):
    """The limit that leaves so many seconds beside the margin."""
    return (seconds + 5) / 0.96


def test_without_a_limit_and_with_enough_time_nothing_is_dropped():
    for limit in (None, limit_for(400 * 8 + 1)):
        run = Run(limit, 400)
        assert run.done["test"] == 400 and run.again
        assert set(run.levels) == {0} and run.budget.dropped() == []


def test_half_the_time_is_kept_and_used_up():
    run = Run(limit_for(1600), 400)
    assert run.done["test"] == 400 and run.again
    assert 0.9 * 1600 < run.now - 100 <= 1600
    assert set(run.levels) <= {0, 1, 2}
    assert run.dropped["views"] > 300


def test_views_come_back_when_there_is_time_for_them():
    run = Run(limit_for(0.8 * 3200), 400)
    assert run.done["test"] == 400
    assert run.levels[:4] == [0] * 4 and run.levels[8:12] == [1] * 4
    assert run.levels[-1] == 0
    assert run.dropped == {"views": run.levels.count(1)}
    assert run.now - 100 > 0.85 * 0.8 * 3200


def test_each_drop_has_the_numbers_that_led_to_it(caplog):
    with caplog.at_level("WARNING"):
        run = Run(limit_for(2000), 400)
    views = run.budget.dropped()[0]
    # after the warming batch and a measured one: 392 photos at 8 s, 64 s are gone
    assert asdict(views) == {
        "what": "views",
        "photos": len([level for level in run.levels if level]),
        "of": 400,
        "at_s": 64.0,
        "needed_s": 3136.0,
        "left_s": pytest.approx(1936.0),
        "seconds_a_photo": 8.0,
    }
    assert "out of time for views: 3136.0 s needed, 1936.0 s left" in caplog.text


def test_photos_that_are_not_reached_are_counted():
    run = Run(limit_for(200), 1000, costs={"rank": 0.1})
    assert run.now - 100 <= 200
    drops = run.dropped
    assert drops["test photos"] == 1000 - run.done["test"] > 0
    assert drops["ranking again"] == 1000
    assert list(drops) == [name for name in ORDER if name in drops]


def test_verification_and_new_photos_are_done_in_part():
    run = Run(limit_for(700), 100, new=100, verify=100, costs={"verify": 2.0})
    assert run.done["test"] == 100 and run.now - 100 <= 700
    assert run.dropped["verification"] == 100 - run.done["verify"] > 0
    short = Run(limit_for(150), 100, new=100, verify=100, costs={"verify": 2.0})
    assert short.done["test"] == 100 and short.now - 100 <= 150
    assert 0 < short.done["new"] < 100 and short.dropped["size"] > 0


@given(
    st.floats(0.2, 1.5),
    st.integers(1, 300),
    st.integers(0, 200),
    st.integers(0, 200),
    st.fixed_dictionaries({k: st.floats(0.01, 5.0) for k in ("serve", "verify")}),
    st.floats(0.05, 1.0),
)
def test_any_run_ends_in_its_time(share, n, new, verify, costs, one):
    """Rates that hold still are kept to, but for the batches that they are measured on."""
    costs = costs | {"one": one * costs["serve"], "small": 0.3 * one * costs["serve"]}
    costs["rank"] = 0.02 * costs["serve"]
    needed = (n + new) * 2 * costs["serve"] + verify * costs["verify"]
    needed += 2 * n * costs["rank"]
    needed += 4 * (costs["rank"] + costs["verify"])  # to learn how long that takes
    run = Run(limit_for(share * needed), n, new=new, verify=verify, costs=costs)
    warming = 4 * 4 * 2 * costs["serve"] + n * costs["rank"] + 4 * costs["verify"]
    assert run.now - 100 <= share * needed + warming
    if share > 1.001:
        assert run.done == {"test": n, "new": new, "verify": verify}
        assert run.again and run.budget.dropped() == []


def test_time_that_is_over_before_anything_is_done():
    run = Run(1.0, 50, new=5, verify=5)
    assert run.done == {"test": 0, "new": 0, "verify": 0} and not run.again
    assert run.now == 100
