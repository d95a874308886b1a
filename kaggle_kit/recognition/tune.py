"""Choose how to rank by GAP on validation photos: a seeded, reported search."""

from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from kaggle_kit.config import Recognition

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
ROUNDS = 4

Trial = dict[str, Any]


def tune(
    settings: Recognition,
    gap_of: Callable[[Recognition], float],
    has_head: bool,
    seed: int,
    least_gain: float,
    pinned: Collection[str] = (),
) -> tuple[Recognition, list[Trial]]:
    """Coordinate ascent: one setting after the other, in random order, until none gains.

    A choice replaces another only if it gains ``least_gain``, since validation photos are
    few and the best of many equals is no better than the others.

    Args:
        gap_of: GAP on the validation photos of a ranking with some settings.
        has_head: whether there are class scores to combine with.
        least_gain: of GAP.
        pinned: settings that stay as they are.

    Returns:
        The settings chosen, and every trial: setting, value, gap, and whether it was kept.
    """
    choices = CHOICES | (WITH_HEAD if has_head else {})
    choices |= WITH_GEOMETRY if settings.verification else {}
    rng = np.random.default_rng(seed)
    best = gap_of(settings)
    trials: list[Trial] = [{"gap": best, "kept": True}]
    for _ in range(ROUNDS):
        before = best
        for name in rng.permutation(sorted(set(choices) - set(pinned))).tolist():
            for value in choices[name]:
                trial = replaced(settings, name, value)
                if trial == settings:
                    continue
                gap = gap_of(trial)
                kept = gap >= best + least_gain
                trials.append({name: value, "gap": gap, "kept": kept})
                if kept:
                    settings, best = trial, gap
        if best == before:
            break
    return settings, trials


def replaced(settings: Recognition, name: str, value: Any) -> Recognition:
    """The settings with one of them, by its dotted name, replaced."""
    section, dot, key = name.partition(".")
    if dot:
        inner = getattr(settings, section).model_copy(update={key: value})
        return settings.model_copy(update={section: inner})
    return settings.model_copy(update={name: value})
