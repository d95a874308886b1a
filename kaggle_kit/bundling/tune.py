"""Tune the ranking by GAP on validation images, with a seeded search.

Validation images are few, and the maximum over many equally good choices is biased. So a
setting is changed only for a gain that is statistically significant, and that loses
nothing where landmarks are rarer than among the validation images.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from kaggle_kit.bundling.evaluator import Evaluator, Outcome, Precisions
from kaggle_kit.bundling.queries import Query
from kaggle_kit.config import Recognition
from kaggle_kit.errors import DataError
from kaggle_kit.progress import progress

# Values to try for each setting, besides that of the config.
CHOICES: dict[str, tuple[Any, ...]] = {
    "neighbours": (1, 3, 5, 10, 20, 50),
    "per_landmark": (1, 2, 3, 5, None),
    "exponent": (1.0, 2.0, 4.0, 8.0),
    "gallery_penalty_weight": (0.0, 0.5, 1.0, 1.5),
    "query_penalty_weight": (0.0, 0.5, 1.0, 2.0),
}
HEAD_CHOICES = {"head_exponent": (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)}
GEOMETRY_CHOICES = {
    "verification.weight": (0.0, 0.25, 0.5, 1.0, 2.0, 4.0),
    "verification.full_inliers": (2.0, 3.0, 4.0, 6.0, 8.0, 12.0),
}
WEIGHTS = (0.25, 0.5, 2.0, 4.0)  # to try for each part after the first, besides 1
ROUNDS = 4
MIN_GAIN = 2.0  # in standard errors

Trial = dict[str, Any]


def check_share(settings: Recognition, queries: Mapping[str, Sequence[Query]]) -> None:
    """Refuse a share to tune at if there are no images to weigh by it.

    Raises:
        DataError: every validation image is of a landmark with training images.
    """
    if settings.tune_share is None or not settings.tune or settings.ranking == "head":
        return
    known = {query.landmark_id for query in queries["train"]} - {None}
    validation = queries["validation"]
    if validation and all(query.landmark_id in known for query in validation):
        raise DataError(
            f"recognition.tune_share: expected validation images that no landmark of the "
            f"training images names, to weigh them, got none for the share "
            f"{settings.tune_share:g}; set subset.non_landmarks.source, or "
            f"recognition.tune_share=null"
        )


def tune(
    evaluator: Evaluator, settings: Recognition, pinned: Collection[str] = ()
) -> tuple[Recognition, list[Trial]]:
    """Tune weights and ranking by GAP on the validation images.

    Coordinate ascent: settings are varied one at a time, in random order, until a round
    brings no gain. The best value of a setting replaces the current one if ``is_better``.
    GAP is that at ``recognition.tune_share``. The settings are returned unchanged if there
    are no validation images, if the ranking is by class scores, or if ``recognition.tune``
    is off.

    Args:
        pinned: names of settings that are not varied.

    Returns:
        The tuned settings, and all trials: setting, value, gap, gap at each share, and
        whether it was kept.
    """
    no_images = not evaluator.pools["validation"].queries
    if no_images or settings.ranking == "head" or not settings.tune:
        return settings, []
    trials: list[Trial] = []
    if evaluator.n_parts > 1 and not settings.weights:
        settings, trials = _tune_weights(evaluator, settings)
    choices = CHOICES | (HEAD_CHOICES if evaluator.has_head else {})
    choices |= GEOMETRY_CHOICES if settings.verification else {}
    rng = np.random.default_rng(evaluator.settings.seed)
    search = Search(settings, evaluator)
    with progress(label="tuning", unit="trial") as bar:
        for _ in range(ROUNDS):
            before = search.settings
            for name in rng.permutation(sorted(set(choices) - set(pinned))).tolist():
                search.try_values(name, choices[name])
                bar.update(len(choices[name]))
            if search.settings == before:
                break
    return search.settings, trials + search.trials


class Search:
    """The state of the search.

    Attributes:
        settings: the best settings so far.
        trials: each setting that was tried, its value, its GAP, and whether it was kept.
    """

    def __init__(self, settings: Recognition, evaluator: Evaluator):
        self.settings = settings
        self.evaluator = evaluator
        self._best = evaluator.outcome(settings)
        self.trials: list[Trial] = [_make_trial({}, self._best, kept=True)]

    def try_values(self, name: str, values: Sequence[Any]) -> None:
        """Try values of a setting; keep the best that loses at no share, if it gains."""
        candidates = [replace_setting(self.settings, name, value) for value in values]
        outcomes = [self.evaluator.outcome(settings) for settings in candidates]
        fit = [
            i for i, outcome in enumerate(outcomes) if not loses(outcome, self._best)
        ]
        best = max(fit, key=lambda i: outcomes[i].precisions.sum(), default=None)
        if best is not None and not is_better(
            outcomes[best].precisions, self._best.precisions
        ):
            best = None
        for i, value in enumerate(values):
            self.trials.append(_make_trial({name: value}, outcomes[i], i == best))
        if best is not None:
            self.settings, self._best = candidates[best], outcomes[best]


def _tune_weights(
    evaluator: Evaluator, settings: Recognition
) -> tuple[Recognition, list[Trial]]:
    """Tune the weight of each part after the first, without geometry.

    The search starts with equal weights.
    """
    equal = (1.0,) * evaluator.n_parts
    plain = {"verification": None, "weights": equal}
    search = Search(settings.model_copy(update=plain), evaluator)
    for i in range(1, evaluator.n_parts):
        current = search.settings.weights
        values = [(*current[:i], w, *current[i + 1 :]) for w in WEIGHTS]
        search.try_values("weights", values)
    weights = search.settings.weights
    return settings.model_copy(update={"weights": weights}), search.trials


def loses(new: Outcome, old: Outcome) -> bool:
    """Whether GAP falls at any of the shares of landmark images in ``score.SHARES``."""
    return any(
        new.at_share[share].sum() < old.at_share[share].sum() - 1e-9
        for share in new.at_share
    )


def is_better(new: Precisions, old: Precisions) -> bool:
    """Whether the gain in GAP is significant, and more than one image is worth.

    ::

        d_i = new_i - old_i,    mean(d) > max(2 sd(d) / sqrt(M), 1 / M)

    The second bound is for a single wrong guess that changes its rank: it shifts many
    precisions by a little, in the same direction.

    >>> right = np.ones(20)
    >>> is_better(right, np.array([0.0] * 5 + [1.0] * 15))  # five more are right
    True
    >>> is_better(right, np.array([0.0] * 2 + [1.0] * 18))  # two may be chance
    False
    >>> is_better(right, right - 0.001)  # one wrong guess has changed its rank
    False
    """
    if not len(new):
        return False
    gain = new - old
    least = max(MIN_GAIN * gain.std() / len(gain) ** 0.5, 1 / len(gain))
    return bool(gain.mean() > least)


def _make_trial(changes: Trial, outcome: Outcome, kept: bool) -> Trial:
    at_share = {share: _gap(values) for share, values in outcome.at_share.items()}
    gap = _gap(outcome.precisions) or 0.0
    return changes | {"gap": gap, "gap_at_share": at_share, "kept": kept}


def _gap(precisions: Precisions) -> float | None:
    gap = float(precisions.mean()) if len(precisions) else 0.0
    return None if np.isnan(gap) else gap


def replace_setting(settings: Recognition, name: str, value: Any) -> Recognition:
    """Replace one setting, by its dotted name."""
    section, dot, key = name.partition(".")
    if dot:
        inner = getattr(settings, section).model_copy(update={key: value})
        return settings.model_copy(update={section: inner})
    return settings.model_copy(update={name: value})
