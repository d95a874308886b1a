"""GAP of a million guesses, against a plain-Python loop by the definition."""

import numpy as np

from kaggle_kit.metrics.gap import gap
from tests.benchmarks import Row, medians

N = 1_000_000


def by_definition(confidence: list[float], correct: list[bool], n: int) -> float:
    """Sort, then add up the precision at each right guess."""
    order = sorted(range(len(confidence)), key=lambda i: -confidence[i])
    right, total = 0, 0.0
    for rank, i in enumerate(order, 1):
        if correct[i]:
            right += 1
            total += right / rank
    return total / n


def measure() -> list[Row]:
    """Both on the same random guesses, a third of them right; the values must agree."""
    rng = np.random.default_rng(0)
    confidence, correct = rng.random(N), rng.random(N) < 1 / 3
    plain = confidence.tolist(), correct.tolist()
    ours = gap(confidence, correct, N)
    assert abs(ours - by_definition(*plain, N)) < 1e-12
    mine, other = medians(
        5, lambda: gap(confidence, correct, N), lambda: by_definition(*plain, N)
    )
    texts = f"{mine * 1000:.0f} ms", f"{other * 1000:.0f} ms"
    return [Row("GAP of 1,000,000 guesses", *texts, other / mine, 30)]
