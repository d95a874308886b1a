"""The levels of an embedder: ways to embed images, the most expensive first."""

from collections.abc import Sequence

from kaggle_kit import config
from kaggle_kit.inference.embedder_parts import Part
from kaggle_kit.inference.time_budget import Level


def build_levels(parts: Sequence[Part], settings: config.Recognition) -> list[Level]:
    """Build the levels: drop views first, then parts from the last one, then the size.

    All levels use the first part with a weight. If the ranking is by class scores, they
    use the first part with a weight and a head.
    """
    all_views = tuple((i, part.views[0]) for i, part in enumerate(parts))
    one_view = tuple(
        (i, "one" if "one" in part.views else part.views[0])
        for i, part in enumerate(parts)
    )
    levels = [Level("", all_views)]
    if one_view != all_views:
        levels.append(Level("views", one_view))
    levels += [
        Level("embedders", one_view[:n])
        for n in range(len(parts) - 1, _count_required(parts, settings) - 1, -1)
    ]
    small = tuple(
        (i, "small" if "small" in parts[i].views else view)
        for i, view in levels[-1].uses
    )
    if small != levels[-1].uses:
        levels.append(Level("size", small))
    return levels


def _count_required(parts: Sequence[Part], settings: config.Recognition) -> int:
    """How many of the first parts every level uses."""
    weights = settings.weights or (1.0,) * len(parts)
    by_head = settings.ranking == "head"
    pairs = enumerate(zip(parts, weights, strict=True), 1)
    required = (n for n, (part, w) in pairs if w and (part.n_classes or not by_head))
    return next(required, len(parts))
