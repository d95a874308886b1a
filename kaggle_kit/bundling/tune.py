"""Choose how to rank by GAP on validation images: a seeded, reported search.

Validation images are few, and the best of many choices that are equally good looks better
than it is. So a change is made only for a gain that chance does not explain.
"""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from kaggle_kit.bundling.evaluator import Evaluator, Precisions
from kaggle_kit.config import Recognition
from kaggle_kit.progress import progress

# What is tried for each setting, besides what the config has.
CHOICES: dict[str, tuple[Any, ...]] = {
    "neighbours": (1, 3, 5, 10, 20, 50),
    "per_landmark": (1, 2, 3, 5, None),
    "exponent": (1.0, 2.0, 4.0, 8.0),
    "gallery_penalty_weight": (0.0, 0.5, 1.0, 1.5),
    "query_penalty_weight": (0.0, 0.5, 1.0, 2.0),
}
WITH_HEAD = {"head_exponent": (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)}
WITH_GEOMETRY = {
    "verification.weight": (0.0, 0.25, 0.5, 1.0, 2.0, 4.0),
    "verification.full_inliers": (2.0, 3.0, 4.0, 6.0, 8.0, 12.0),
}
WEIGHTS = (0.25, 0.5, 2.0, 4.0)  # tried for each embedder after the first, besides 1
ROUNDS = 4
ERRORS = 2.0  # standard errors that a gain must be above

Trial = dict[str, Any]


def tune(
    evaluator: Evaluator, settings: Recognition, pinned: Collection[str] = ()
) -> tuple[Recognition, list[Trial]]:
    """Choose weights and ranking by GAP on the validation images.

    Coordinate ascent: one setting after the other, in random order, until none gains. The
    best of a setting's choices replaces what there is, if it is ``better``. Nothing is
    tried without validation images, for a ranking by class scores, or with
    ``recognition.tune`` off.

    Args:
        pinned: settings that stay as they are.

    Returns:
        The settings chosen, and every trial: setting, value, gap, and whether it was kept.
    """
    no_images = not evaluator.pools["validation"].queries
    if no_images or settings.ranking == "head" or not settings.tune:
        return settings, []
    trials: list[Trial] = []
    if evaluator.n_parts > 1 and not settings.weights:
        settings, trials = _weighted(evaluator, settings)
    choices = CHOICES | (WITH_HEAD if evaluator.has_head else {})
    choices |= WITH_GEOMETRY if settings.verification else {}
    rng = np.random.default_rng(evaluator.settings.seed)
    search = Search(settings, evaluator)
    with progress(label="tuning", unit="trial") as bar:
        for _ in range(ROUNDS):
            before = search.settings
            for name in rng.permutation(sorted(set(choices) - set(pinned))).tolist():
                search.offer(name, choices[name])
                bar.update(len(choices[name]))
            if search.settings == before:
                break
    return search.settings, trials + search.trials


class Search:
    """The best settings so far, and every trial.

    Attributes:
        settings: the best so far.
        trials: what was tried, the GAP it gave, and whether it was kept.
    """

    def __init__(self, settings: Recognition, evaluator: Evaluator):
        self.settings = settings
        self.evaluator = evaluator
        self._best = evaluator.precisions(settings)
        self.trials: list[Trial] = [_trial({}, self._best, kept=True)]

    def offer(self, name: str, values: Sequence[Any]) -> None:
        """Try values of a setting, and keep the best of them if it is ``better``."""
        candidates = [replaced(self.settings, name, value) for value in values]
        precisions = [self.evaluator.precisions(settings) for settings in candidates]
        top = max(range(len(values)), key=lambda i: precisions[i].sum())
        kept = better(precisions[top], self._best)
        for i, value in enumerate(values):
            self.trials.append(_trial({name: value}, precisions[i], kept and i == top))
        if kept:
            self.settings, self._best = candidates[top], precisions[top]


def _weighted(
    evaluator: Evaluator, settings: Recognition
) -> tuple[Recognition, list[Trial]]:
    """Choose the weight of each part after the first, before geometry is looked at.

    All parts weigh the same except where another weight is better.
    """
    equal = (1.0,) * evaluator.n_parts
    plain = {"verification": None, "weights": equal}
    search = Search(settings.model_copy(update=plain), evaluator)
    for i in range(1, evaluator.n_parts):
        now = search.settings.weights
        search.offer("weights", [(*now[:i], w, *now[i + 1 :]) for w in WEIGHTS])
    weights = search.settings.weights
    return settings.model_copy(update={"weights": weights}), search.trials


def better(new: Precisions, old: Precisions) -> bool:
    """Whether GAP is higher by more than chance explains, and than one image is worth.

    ::

        d_i = new_i - old_i,    mean(d) > max(2 sd(d) / sqrt(M), 1 / M)

    The second bound is for a guess that only moves among the others: it changes all
    precisions by a little, and together.

    >>> right = np.ones(20)
    >>> better(right, np.array([0.0] * 5 + [1.0] * 15))  # five more are right
    True
    >>> better(right, np.array([0.0] * 2 + [1.0] * 18))  # two more might be chance
    False
    >>> better(right, right - 0.001)  # one wrong guess has moved down a little
    False
    """
    if not len(new):
        return False
    gain = new - old
    least = max(ERRORS * gain.std() / len(gain) ** 0.5, 1 / len(gain))
    return bool(gain.mean() > least)


def _trial(changes: Trial, found: Precisions, kept: bool) -> Trial:
    return changes | {"gap": float(found.mean()) if len(found) else 0.0, "kept": kept}


def replaced(settings: Recognition, name: str, value: Any) -> Recognition:
    """The settings with one of them, by its dotted name, replaced."""
    section, dot, key = name.partition(".")
    if dot:
        inner = getattr(settings, section).model_copy(update={key: value})
        return settings.model_copy(update={section: inner})
    return settings.model_copy(update={name: value})
