"""The time budget, compared with all possible plans, known schedules and simulated runs."""

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
    choose_plan,
    fill_level,
)

LEVELS = [
    Level("", ((0, "serve"), (1, "serve"))),
    Level("views", ((0, "one"), (1, "one"))),
    Level("embedders", ((0, "one"),)),
    Level("size", ((0, "small"),)),
]


def seconds(plan, work, cost):
    """The seconds that a plan takes, by definition."""
    embed = cost.embed[plan.level]
    total = work.unranked * cost.rank + plan.test * (embed + cost.rank)
    total += work.again * cost.rank if plan.again else 0
    return total + plan.new * embed + plan.verify * cost.verify


def drops(plan, work):
    """How much of each item is dropped, in the order of drops."""
    return {
        "views": plan.level >= 1,
        "verification": work.verify - plan.verify,
        "embedders": plan.level >= 2,
        "size": plan.level >= 3,
        "new photos": work.new - plan.new,
        "ranking again": not plan.again,
        "test photos": work.test - plan.test,
    }


def every_plan(work):
    """All valid plans: other work needs all test images to be done."""
    for level, test in itertools.product(range(4), range(work.test + 1)):
        yield Plan(level, test, False, 0, 0, 0.0)
        if test == work.test:
            counts = itertools.product(range(work.new + 1), range(work.verify + 1))
            for new, verify in counts:
                yield Plan(level, test, True, new, verify, 0.0)


count = st.integers(0, 5)
unit = st.integers(0, 9).map(float)  # integers, so that sums are exact
costs = st.builds(Cost, st.tuples(unit, unit, unit, unit), unit, unit)
works = st.builds(Work, count, count, count, count, count)


@given(st.integers(0, 120), works, costs)
def test_the_plan_is_the_one_that_drops_the_least(left, work, cost):
    """The plan fits if any plan does, and drops the least in the order of ``ORDER``."""
    fitting = [p for p in every_plan(work) if seconds(p, work, cost) <= left]
    plan = choose_plan(float(left), work, cost, LEVELS)
    assert plan.seconds == seconds(plan, work, cost)
    if not fitting:  # no time even to rank the embedded images
        assert (plan.test, plan.again, plan.new, plan.verify) == (0, False, 0, 0)
        return
    assert plan.seconds <= left

    def sort_key(p):
        return [drops(p, work)[name] for name in reversed(ORDER)]

    assert sort_key(plan) == min(map(sort_key, fitting))


rate = st.floats(1e-4, 1e3)


@given(
    st.floats(0, 1e6),
    st.builds(Work, *[st.integers(0, 100_000)] * 5),
    st.builds(Cost, st.tuples(rate, rate, rate, rate), rate, rate),
)
def test_work_is_dropped_only_if_it_does_not_fit(left, work, cost):
    plan = choose_plan(left, work, cost, LEVELS)
    complete = Plan(0, work.test, True, work.new, work.verify, 0.0)
    if seconds(complete, work, cost) <= left * (1 - 1e-9):
        assert plan[:5] == complete[:5]
    if work.unranked * cost.rank <= left:
        assert seconds(plan, work, cost) <= left * (1 + 1e-9) + 1e-9


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        # 100 test images, 50 new, 100 to verify; an image takes 4, 2, 1, 0.5 s to embed
        # on the levels and 1 s to verify; ranking takes no time.
        (700, (0, 100, True, 50, 100)),
        (699, (1, 100, True, 50, 100)),  # views
        (400, (1, 100, True, 50, 100)),
        (399, (1, 100, True, 50, 99)),  # some verification
        (300, (1, 100, True, 50, 0)),
        (
            299,
            (2, 100, True, 50, 100),
        ),  # an embedder, which leaves time to verify again
        (150, (2, 100, True, 50, 0)),
        (149, (3, 100, True, 50, 74)),  # size
        (75, (3, 100, True, 50, 0)),
        (74, (3, 100, True, 48, 0)),  # new images
        (50, (3, 100, True, 0, 0)),
        (20, (3, 40, False, 0, 0)),  # test images
        (0, (3, 0, False, 0, 0)),
    ],
)
def test_less_time_drops_more_work(left, expected):
    cost = Cost((4.0, 2.0, 1.0, 0.5), 0.0, 1.0)
    plan = choose_plan(left, Work(100, 0, 100, 50, 100), cost, LEVELS)
    if expected[1] == 0:  # without time, all levels are equally good
        expected = (plan.level, *expected[1:])
    assert plan[:5] == expected


def test_ranking_takes_its_part_of_the_time():
    cost = Cost((1.0,), 0.5, 0.0)
    work = Work(test=10, unranked=4, again=20)
    assert fill_level(0, 27, work, cost) == Plan(0, 10, True, 0, 0, 27)
    assert fill_level(0, 26.9, work, cost) == Plan(0, 10, False, 0, 0, 17)
    assert fill_level(0, 16.9, work, cost) == Plan(0, 9, False, 0, 0, 15.5)


# Rates.


def test_the_first_batch_is_a_warm_up_and_the_rate_is_that_of_the_latest():
    rates = Rates({(0, "serve"): 2.0, (0, "one"): 1.0})
    assert rates[0, "serve"] == 0
    rates.add((0, "serve"), 10, 500.0)
    assert rates[0, "serve"] == 0
    rates.add((0, "serve"), 10, 40.0)
    assert rates[0, "serve"] == 4
    assert rates[0, "one"] == 2  # estimated by the ratio of pixels
    rates.add((0, "one"), 10, 300.0)
    assert rates[0, "one"] == 2
    rates.add((0, "one"), 10, 30.0)
    assert rates[0, "one"] == 3  # measured
    for _ in range(8):
        rates.add((0, "serve"), 5, 5.0)
    assert rates[0, "serve"] == 1
    rates.add((0, "serve"), 0, 7.0)  # an empty batch
    assert rates[0, "serve"] == 1
    assert rates["rank"] == rates[1, "one"] == 0
    rates.add("rank", 2, 1.0)
    assert rates["rank"] == 0.5


# The budget of a simulated run.


class Run:
    """A simulated run; only its work advances the clock."""

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
        self.spend("rank", self.done["test"])
        self.budget.record_ranked()
        self.embed("new")
        self.again = self.budget.admit("again")
        if self.again:
            self.spend("rank", n)
            self.budget.record_done("again", n)
            while self.budget.admit("verify", batch):
                self.spend("verify", k := min(batch, self.budget.work.verify))
                self.count("verify", k)

    def spend(self, key, n):
        """Advance the clock by the cost of n images, and record their rate."""
        seconds = n * self.costs[key if isinstance(key, str) else key[1]]
        self.now += seconds
        self.rates.add(key, n, seconds)

    def count(self, kind, n):
        self.budget.record_done(kind, n)
        self.done[kind] += n

    def embed(self, kind):
        while self.budget.admit(kind, self.batch):
            n = min(self.batch, getattr(self.budget.work, kind))
            for key in LEVELS[self.budget.level].uses:
                self.spend(key, n)
            if kind == "test" and not self.levels:  # to measure the rates
                self.spend("rank", n)
                self.spend("verify", self.batch if self.budget.work.verify else 0)
            self.levels += [self.budget.level] * n
            self.count(kind, n)

    @property
    def drops(self):
        return {drop.what: drop.photos for drop in self.budget.list_drops()}


def limit_for(seconds):
    """The limit that leaves so many seconds besides the margin."""
    return (seconds + 5) / 0.96


def test_without_a_limit_and_with_enough_time_nothing_is_dropped():
    for limit in (None, limit_for(400 * 8 + 1)):
        run = Run(limit, 400)
        assert run.done["test"] == 400 and run.again
        assert set(run.levels) == {0} and run.budget.list_drops() == []


def test_half_the_time_is_not_exceeded_and_used_up():
    run = Run(limit_for(1600), 400)
    assert run.done["test"] == 400 and run.again
    assert 0.9 * 1600 < run.now - 100 <= 1600
    assert set(run.levels) <= {0, 1, 2}
    assert run.drops["views"] > 300


def test_views_are_restored_when_there_is_time_for_them():
    run = Run(limit_for(0.8 * 3200), 400)
    assert run.done["test"] == 400
    assert run.levels[:4] == [0] * 4 and run.levels[8:12] == [1] * 4
    assert run.levels[-1] == 0
    assert run.drops == {"views": run.levels.count(1)}
    assert run.now - 100 > 0.85 * 0.8 * 3200


def test_each_drop_has_the_numbers_behind_the_decision(caplog):
    with caplog.at_level("WARNING"):
        run = Run(limit_for(2000), 400)
    views = run.budget.list_drops()[0]
    # 64 s have passed after the warm-up and a measured batch; 392 images at 8 s remain
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


def test_images_that_are_not_reached_are_counted():
    run = Run(limit_for(200), 1000, costs={"rank": 0.1})
    assert run.now - 100 <= 200
    drops = run.drops
    assert drops["test photos"] == 1000 - run.done["test"] > 0
    assert drops["ranking again"] == 1000
    assert list(drops) == [name for name in ORDER if name in drops]


def test_verification_and_new_images_are_done_in_part():
    run = Run(limit_for(700), 100, new=100, verify=100, costs={"verify": 2.0})
    assert run.done["test"] == 100 and run.now - 100 <= 700
    assert run.drops["verification"] == 100 - run.done["verify"] > 0
    short = Run(limit_for(150), 100, new=100, verify=100, costs={"verify": 2.0})
    assert short.done["test"] == 100 and short.now - 100 <= 150
    assert 0 < short.done["new"] < 100 and short.drops["size"] > 0


@given(
    st.floats(0.2, 1.5),
    st.integers(1, 300),
    st.integers(0, 200),
    st.integers(0, 200),
    st.fixed_dictionaries({k: st.floats(0.01, 5.0) for k in ("serve", "verify")}),
    st.floats(0.05, 1.0),
)
def test_any_run_ends_in_time(share, n, new, verify, costs, one_view):
    """With constant rates, only the batches that measure them may exceed the limit."""
    one = one_view * costs["serve"]
    costs = costs | {"one": one, "small": 0.3 * one}
    costs["rank"] = 0.02 * costs["serve"]
    needed = (n + new) * 2 * costs["serve"] + verify * costs["verify"]
    needed += 2 * n * costs["rank"]
    needed += 4 * (costs["rank"] + costs["verify"])  # to measure the rates
    run = Run(limit_for(share * needed), n, new=new, verify=verify, costs=costs)
    warm_up = 4 * 4 * 2 * costs["serve"] + n * costs["rank"] + 4 * costs["verify"]
    assert run.now - 100 <= share * needed + warm_up
    if share > 1.001:
        assert run.done == {"test": n, "new": new, "verify": verify}
        assert run.again and run.budget.list_drops() == []


def test_a_limit_in_the_past_leaves_nothing_done():
    run = Run(1.0, 50, new=5, verify=5)
    assert run.done == {"test": 0, "new": 0, "verify": 0} and not run.again
    assert run.now == 100
