"""What fits into the time left, and what is dropped before it is too late.

In this order (``ORDER``), each only if leaving out all before it is not enough:

1. views: photos are seen once, neither mirrored nor at other sizes.
2. verification: only the surest guesses are verified, as many as there is time for.
3. embedders: the last one of an ensemble, then the one before it; the first stays.
4. size: the one view is the smallest of ``recognition.scales``.
5. new photos: only some photos of ``train.csv`` join the gallery, or none.
6. ranking again: guesses stay as they are after the first pass.
7. test photos: those not reached have a row without a guess.

Views, embedders and size come back when all that remains fits with them again, so the
time is used up. Nothing here knows of photos or TensorFlow, and the clock is handed in.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

logger = logging.getLogger(__name__)
ORDER = (
    *("views", "verification", "embedders", "size"),
    *("new photos", "ranking again", "test photos"),
)
NAMES = {
    "test": "test photos",
    "again": "ranking again",
    "new": "new photos",
    "verify": "verification",
}
KEPT_S, KEPT_SHARE = 5.0, 0.04  # of a limit, not planned with: 29 minutes of 12 hours
WINDOW = 8  # batches whose mean is the rate
SPARE = 1.1  # what is left must be so much more than what is needed to take back a drop
Key = tuple[int, str] | str


class Level(NamedTuple):
    """A way of embedding.

    lacks: what is left out that the level before it has; the first lacks nothing.
    uses: (embedder, views), each a key of ``Rates``.
    """

    lacks: str
    uses: tuple[tuple[int, str], ...]


class Work(NamedTuple):
    """Photos that remain.

    test: to be embedded and ranked.
    unranked: embedded, to be ranked.
    again: to be ranked once more; a fraction where the gallery grows meanwhile.
    new: to be embedded for the gallery.
    verify: whose geometry is to be looked at.
    """

    test: int = 0
    unranked: int = 0
    again: float = 0
    new: int = 0
    verify: int = 0


@dataclass
class Drop:
    """What was left out for want of time, and the numbers that led to it.

    Attributes:
        what: one of ``ORDER``.
        photos: how many images went without it.
        of: how many there were.
        at_s: seconds from the beginning to the decision.
        needed_s: seconds that all remaining work would have taken.
        left_s: seconds that were left.
        seconds_a_photo: that the work takes.
    """

    what: str
    photos: int
    of: int
    at_s: float
    needed_s: float
    left_s: float
    seconds_a_photo: float


class Cost(NamedTuple):
    """Seconds a photo: to embed it on each level, to rank it, to verify it."""

    embed: tuple[float, ...]
    rank: float
    verify: float


class Plan(NamedTuple):
    """What will be done of the work that remains, and the seconds it takes."""

    level: int
    test: int
    again: bool
    new: int
    verify: int
    seconds: float


def filled(level: int, left_s: float, work: Work, cost: Cost) -> Plan:
    """As much of the work as fits on a level: test photos first, verification last."""
    embed = cost.embed[level]
    spent = work.unranked * cost.rank
    test = _fitting(work.test, embed + cost.rank, left_s - spent)
    spent += test * (embed + cost.rank)
    again = test == work.test and spent + work.again * cost.rank <= left_s
    new = verify = 0
    if again:
        spent += work.again * cost.rank
        new = _fitting(work.new, embed, left_s - spent)
        spent += new * embed
        verify = _fitting(work.verify, cost.verify, left_s - spent)
        spent += verify * cost.verify
    return Plan(level, test, again, new, verify, spent)


def plan(left_s: float, work: Work, cost: Cost, levels: Sequence[Level]) -> Plan:
    """The plan that drops least, by the order of drops; it fits if any does.

    Of the plans that fit, those with the most test photos; of these, those that rank
    again; of these, those with the most new photos; and so on, backwards through
    ``ORDER``.
    """
    cheap = sum(level.lacks == "views" for level in levels)  # before verification

    def worth(found: Plan) -> tuple[float, ...]:
        deep = max(found.level, cheap)
        return found.test, found.again, found.new, -deep, found.verify, -found.level

    plans = [filled(i, left_s, work, cost) for i in range(len(levels))]
    return max(plans, key=worth)


def _fitting(n: int, each_s: float, left_s: float) -> int:
    if left_s < 0:
        return 0
    return n if n * each_s <= left_s else int(left_s // each_s)


class Rates:
    """Seconds a photo, the mean over the latest batches.

    The first batch of an embedder's views is not counted: it warms up. Until there is a
    second one they take as long as their share of the pixels says, if others of the same
    embedder were measured, else nothing.

    Args:
        pixels: of a photo, by (embedder, views); other keys, strings, need none.
    """

    def __init__(self, pixels: Mapping[tuple[int, str], float]):
        self.pixels: dict[Key, float] = {key: n for key, n in pixels.items()}
        self._warm: set[Key] = set()
        self._latest: dict[Key, deque[tuple[int, float]]] = {}

    def add(self, key: Key, n: int, seconds: float) -> None:
        """Say how long a batch of n photos took."""
        if key in self.pixels and key not in self._warm:
            self._warm.add(key)
        elif n:
            self._latest.setdefault(key, deque(maxlen=WINDOW)).append((n, seconds))

    def __getitem__(self, key: Key) -> float:
        if key in self._latest:
            ns, seconds = zip(*self._latest[key], strict=True)
            return sum(seconds) / sum(ns)
        alike = [k for k in self.pixels if k in self._latest and k[0] == key[0]]
        if key not in self.pixels or not alike:
            return 0.0
        return self[alike[0]] * self.pixels[key] / self.pixels[alike[0]]


class Budget:
    """The time of a run against its work; says what to do, and remembers what was dropped.

    Attributes:
        work: what remains; ``start`` sets it, ``at_most`` corrects it.
        level: the way of embedding, an index of ``levels``.
        reserve_s: kept for what follows the last photo.
    """

    def __init__(
        self,
        levels: Sequence[Level],
        rates: Rates,
        limit_s: float | None = None,
        began: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Begin to count.

        Args:
            limit_s: from ``began``; 4% and 5 s of it are not planned with. None: no limit.
            began: by the clock; None: now.
        """
        self.levels, self.rates = levels, rates
        self.clock = clock
        self.began = clock() if began is None else began
        self.limited = limit_s is not None
        self.end = float("inf")
        if limit_s is not None:
            self.end = self.began + limit_s * (1 - KEPT_SHARE) - KEPT_S
        self.work = self._whole = Work()
        self.level = 0
        self.reserve_s = 0.0
        self._drops: dict[str, Drop] = {}

    @property
    def left_s(self) -> float:
        """Seconds until all must be done."""
        return self.end - self.reserve_s - self.clock()

    @property
    def cost(self) -> Cost:
        """What a photo takes, as far as it is known."""
        embed = tuple(
            sum(self.rates[key] for key in level.uses) for level in self.levels
        )
        return Cost(embed, self.rates["rank"], self.rates["verify"])

    def start(self, work: Work) -> None:
        """Say what is to be done."""
        self.work = self._whole = work

    def at_most(self, n: int) -> None:
        """Say that only n test photos have a vector, to be ranked again and verified."""
        share = n / max(self._whole.test, 1)
        again, verify = self.work.again * share, min(self.work.verify, n)
        self.work = self.work._replace(again=again, verify=verify)

    def room(self, kind: str, n: int = 1) -> bool:
        """Whether n more photos fit, or all that remain; else those are dropped.

        For photos to be embedded it first chooses the level.

        Args:
            kind: a field of ``Work``.
        """
        remain = getattr(self.work, kind)
        if not remain:
            return False
        if kind in ("test", "new"):
            self._choose()
        left = self.left_s
        fits = getattr(filled(self.level, left, self.work, self.cost), kind)
        if fits if kind == "again" else fits >= min(n, remain):
            return True
        each = self._each(kind)
        self._drop(NAMES[kind], left, remain * each, each, kind)
        self._drops[NAMES[kind]].photos = round(remain)
        self.work = self.work._replace(**{kind: 0})
        return False

    def did(self, kind: str, n: int) -> None:
        """Take photos off the work that remains."""
        remain = getattr(self.work, kind)
        self.work = self.work._replace(**{kind: max(remain - n, 0)})
        if kind == "test":
            self.work = self.work._replace(unranked=self.work.unranked + n)
        if kind in ("test", "new"):
            for name in {level.lacks for level in self.levels[1 : self.level + 1]}:
                self._drops[name].photos += n

    def ranked(self) -> None:
        """All that is embedded is ranked."""
        self.work = self.work._replace(unranked=0)

    def dropped(self) -> list[Drop]:
        """What was left out, in the order of drops."""
        drops = [self._drops[name] for name in ORDER if name in self._drops]
        return [drop for drop in drops if drop.photos]

    def _choose(self) -> None:
        left, cost = self.left_s, self.cost
        found = plan(left, self.work, cost, self.levels)
        if not found.test and not found.new:  # on no level; so it stays
            return
        best = found.level
        if best < self.level:
            easy = plan(left / SPARE, self.work, cost, self.levels).level
            best = min(self.level, max(best, easy))
            if best < self.level:
                logger.info("%.0f s left: embedding as on level %d again", left, best)
        for i in range(self.level, best):
            needed = self._needed(i, cost)
            self._drop(self.levels[i + 1].lacks, left, needed, cost.embed[i], "test")
        self.level = best

    def _needed(self, level: int, cost: Cost) -> float:
        return filled(level, float("inf"), self.work, cost).seconds

    def _each(self, kind: str) -> float:
        if kind == "again":
            return self.cost.rank
        return self.cost.verify if kind == "verify" else self.cost.embed[self.level]

    def _drop(
        self, name: str, left: float, needed: float, each: float, kind: str
    ) -> None:
        of = round(getattr(self._whole, kind))
        if name in ("views", "embedders", "size"):
            of = self._whole.test + self._whole.new
        drop = Drop(
            name,
            0,
            of,
            round(self.clock() - self.began, 1),
            round(needed, 1),
            round(left, 1),
            round(each, 4),
        )
        self._drops.setdefault(name, drop)
        logger.warning(
            "out of time for %s: %.1f s needed, %.1f s left, %.4f s a photo",
            *(name, needed, left, each),
        )
