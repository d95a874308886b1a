"""Plan the work that fits into the time left, and drop the rest before it is too late.

Work is dropped in this order (``ORDER``), each item only if dropping all items before it
does not suffice:

1. views: images are seen once, neither mirrored nor at other sizes.
2. verification: only the most confident guesses are verified, as many as fit.
3. embedders: the last one of an ensemble, then the one before it, but never the first.
4. size: the one view has the smallest of ``recognition.scales``.
5. new images: only some images of ``train.csv`` join the gallery, or none.
6. ranking again: the guesses of the first pass are final.
7. test images: those not reached have a row without a guess.

Views, embedders and size are restored as soon as all remaining work fits with them, so that
the time is used up.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

logger = logging.getLogger(__name__)
# Items as they are in results and logs, where images are called photos.
ORDER = (
    *("views", "verification", "embedders", "size"),
    *("new photos", "ranking again", "test photos"),
)
NAMES = {  # of the fields of Work, in ORDER
    "test": "test photos",
    "again": "ranking again",
    "new": "new photos",
    "verify": "verification",
}
MARGIN_S, MARGIN_SHARE = 5.0, 0.04  # of a limit, not planned with: 29 min of 12 hours
WINDOW = 8  # batches in the mean of a rate
SPARE = (
    1.1  # a drop is undone if the time left is at least so many times the time needed
)
Key = tuple[int, str] | str


class Level(NamedTuple):
    """A way to embed images.

    lacks: the item that this level drops and the previous one does not; "" for the first.
    uses: (embedder, view) pairs, each a key of ``Rates``.
    """

    lacks: str
    uses: tuple[tuple[int, str], ...]


class Work(NamedTuple):
    """Numbers of images that remain.

    test: to embed and rank.
    unranked: embedded, to rank.
    again: to rank again; a fraction, since a larger gallery makes ranking slower.
    new: to embed for the gallery.
    verify: to verify geometrically.
    """

    test: int = 0
    unranked: int = 0
    again: float = 0
    new: int = 0
    verify: int = 0


@dataclass
class Drop:
    """Work that was dropped, and the numbers behind the decision.

    Attributes:
        what: an item of ``ORDER``.
        photos: number of images without it.
        of: number of images in total.
        at_s: seconds from the start to the decision.
        needed_s: seconds that all remaining work would have taken.
        left_s: seconds that were left.
        seconds_a_photo: seconds that the work takes per image.
    """

    what: str
    photos: int
    of: int
    at_s: float
    needed_s: float
    left_s: float
    seconds_a_photo: float


class Cost(NamedTuple):
    """Seconds per image: to embed it on each level, to rank it, to verify it."""

    embed: tuple[float, ...]
    rank: float
    verify: float


class Plan(NamedTuple):
    """The part of the remaining work that will be done, and the seconds it takes."""

    level: int
    test: int
    again: bool
    new: int
    verify: int
    seconds: float


def fill_level(level: int, left_s: float, work: Work, cost: Cost) -> Plan:
    """Plan as much work as fits on one level: test images first, verification last."""
    embed = cost.embed[level]
    spent = work.unranked * cost.rank
    test = _count_fitting(work.test, embed + cost.rank, left_s - spent)
    spent += test * (embed + cost.rank)
    again = test == work.test and spent + work.again * cost.rank <= left_s
    new = verify = 0
    if again:
        spent += work.again * cost.rank
        new = _count_fitting(work.new, embed, left_s - spent)
        spent += new * embed
        verify = _count_fitting(work.verify, cost.verify, left_s - spent)
        spent += verify * cost.verify
    return Plan(level, test, again, new, verify, spent)


def choose_plan(left_s: float, work: Work, cost: Cost, levels: Sequence[Level]) -> Plan:
    """Choose the plan that drops the least, in the order of ``ORDER``.

    Plans are compared by their test images, then by ranking again, then by new images, and
    so on backwards through ``ORDER``. The plan fits into the time if any plan does.
    """
    n_views = sum(
        level.lacks == "views" for level in levels
    )  # dropped before verification

    def sort_key(p: Plan) -> tuple[float, ...]:
        return p.test, p.again, p.new, -max(p.level, n_views), p.verify, -p.level

    plans = [fill_level(i, left_s, work, cost) for i in range(len(levels))]
    return max(plans, key=sort_key)


def _count_fitting(n: int, unit_s: float, left_s: float) -> int:
    if left_s < 0:
        return 0
    return n if n * unit_s <= left_s else int(left_s // unit_s)


class Rates:
    """Measured seconds per image, the mean over the latest batches.

    The first batch of an (embedder, view) is a warm-up and is not counted. Before the
    second one, the rate is estimated from another view of the same embedder by the ratio
    of their pixels; if none was measured, it is 0.

    Args:
        pixels: of an image, for each (embedder, view). Keys that are strings need none.
    """

    def __init__(self, pixels: Mapping[tuple[int, str], float]):
        self.pixels: dict[Key, float] = {key: n for key, n in pixels.items()}
        self._warm: set[Key] = set()
        self._batches: dict[Key, deque[tuple[int, float]]] = {}

    def add(self, key: Key, n: int, seconds: float) -> None:
        """Record the seconds that a batch of n images took."""
        if key in self.pixels and key not in self._warm:
            self._warm.add(key)
        elif n:
            self._batches.setdefault(key, deque(maxlen=WINDOW)).append((n, seconds))

    def __getitem__(self, key: Key) -> float:
        if key in self._batches:
            ns, seconds = zip(*self._batches[key], strict=True)
            return sum(seconds) / sum(ns)
        measured = [k for k in self.pixels if k in self._batches and k[0] == key[0]]
        if key not in self.pixels or not measured:
            return 0.0
        return self[measured[0]] * self.pixels[key] / self.pixels[measured[0]]


class Budget:
    """Compares the time of a run with its work, decides what to drop, and records it.

    Attributes:
        work: what remains; ``start`` sets it.
        level: the current way to embed, an index of ``levels``.
        reserve_s: seconds reserved for what follows the last image.
    """

    def __init__(
        self,
        levels: Sequence[Level],
        rates: Rates,
        limit_s: float | None = None,
        start_time: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Start the time.

        Args:
            limit_s: seconds from ``start_time``, margin included; None: no limit.
            start_time: by ``clock``; None: now.
        """
        self.levels, self.rates = levels, rates
        self.clock = clock
        self.start_time = clock() if start_time is None else start_time
        self.limited = limit_s is not None
        self.end = float("inf")
        if limit_s is not None:
            self.end = self.start_time + limit_s * (1 - MARGIN_SHARE) - MARGIN_S
        self.work = self._all_work = Work()
        self.level = 0
        self.reserve_s = 0.0
        self._drops: dict[str, Drop] = {}

    @property
    def left_s(self) -> float:
        """Seconds until all work must be done."""
        return self.end - self.reserve_s - self.clock()

    @property
    def cost(self) -> Cost:
        """The measured cost of an image; 0 where nothing is measured yet."""
        embed = tuple(sum(self.rates[k] for k in level.uses) for level in self.levels)
        return Cost(embed, self.rates["rank"], self.rates["verify"])

    def start(self, work: Work) -> None:
        """Set the work of the run."""
        self.work = self._all_work = work

    def admit(self, kind: str, n: int = 1) -> bool:
        """Whether n more images, or all that remain, fit; otherwise drop this work.

        For images to embed, it chooses the level first.

        Args:
            kind: a field of ``Work``.
        """
        remaining = getattr(self.work, kind)
        if not remaining:
            return False
        if kind in ("test", "new"):
            self._choose_level()
        left, cost = self.left_s, self.cost
        fitting = getattr(fill_level(self.level, left, self.work, cost), kind)
        if fitting if kind == "again" else fitting >= min(n, remaining):
            return True
        units = {"again": cost.rank, "verify": cost.verify}
        unit = units.get(kind, cost.embed[self.level])
        total = round(getattr(self._all_work, kind))
        self._record_drop(NAMES[kind], total, left, remaining * unit, unit)
        self._drops[NAMES[kind]].photos = round(remaining)
        self.work = self.work._replace(**{kind: 0})
        return False

    def record_done(self, kind: str, n: int) -> None:
        """Subtract n images from the work that remains."""
        remaining = getattr(self.work, kind)
        self.work = self.work._replace(**{kind: max(remaining - n, 0)})
        if kind == "test":
            self.work = self.work._replace(unranked=self.work.unranked + n)
        if kind in ("test", "new"):
            for name in {level.lacks for level in self.levels[1 : self.level + 1]}:
                self._drops[name].photos += n

    def record_ranked(self) -> None:
        """Record that all embedded images are ranked."""
        self.work = self.work._replace(unranked=0)

    def record_decoded(self, n: int) -> None:
        """Record that only n test images decoded; no other is ranked again or verified."""
        share = n / max(self._all_work.test, 1)
        again, verify = self.work.again * share, min(self.work.verify, n)
        self.work = self.work._replace(again=again, verify=verify)

    def list_drops(self) -> list[Drop]:
        """What was dropped, in the order of ``ORDER``."""
        drops = [self._drops[name] for name in ORDER if name in self._drops]
        return [drop for drop in drops if drop.photos]

    def _choose_level(self) -> None:
        left, cost = self.left_s, self.cost
        best = choose_plan(left, self.work, cost, self.levels)
        if not best.test and not best.new:  # no level has time for an image
            return
        level = best.level
        if level < self.level:
            spare = choose_plan(left / SPARE, self.work, cost, self.levels)
            level = min(self.level, max(level, spare.level))
            if level < self.level:
                logger.info("%.0f s left: embedding on level %d again", left, level)
        total = self._all_work.test + self._all_work.new
        for i in range(self.level, level):
            needed = fill_level(i, float("inf"), self.work, cost).seconds
            lacks = self.levels[i + 1].lacks
            self._record_drop(lacks, total, left, needed, cost.embed[i])
        self.level = level

    def _record_drop(
        self, name: str, total: int, left: float, needed: float, unit: float
    ) -> None:
        at_s = round(self.clock() - self.start_time, 1)
        seconds = round(needed, 1), round(left, 1), round(unit, 4)
        self._drops.setdefault(name, Drop(name, 0, total, at_s, *seconds))
        logger.warning(
            "out of time for %s: %.1f s needed, %.1f s left, %.4f s per image",
            *(name, needed, left, unit),
        )
