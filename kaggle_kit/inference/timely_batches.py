"""Embed the images of a competition batch by batch, as long as there is time.

An image whose decoding does not end keeps no other from its guess: it is left out, and
tried once more after all others.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.inference.embedder import Embedder, Embeddings, split_batches
from kaggle_kit.inference.time_budget import Budget
from kaggle_kit.progress import progress

LABELS = {"test": "test images", "new": "gallery"}
LEAST_PATIENCE_S = 0.5  # for an image
# The share of the time left that an image may take, and the seconds at most: the first
# time, and after all others.
PATIENCE = (0.02, 10.0), (0.05, 60.0)


def embed_in_time(
    embedder: Embedder, budget: Budget, kind: str, paths: Sequence[Path]
) -> Iterator[tuple[int, Embeddings]]:
    """Embed images on the level that the budget chooses, as long as it admits them.

    Args:
        kind: of the work, ``test`` or ``new``.

    Yields:
        The number of images reached so far, and the embeddings of a batch; positions are
        those in ``paths``.
    """
    rows, n_reached, late = np.arange(len(paths)), 0, embedder.deadline.late
    for share, most_s in PATIENCE:
        if budget.limited:
            embedder.deadline.patience_s = partial(_patience_s, budget, share, most_s)
        for embeddings, last in _embed_rows(embedder, budget, kind, paths, rows):
            n_reached = max(n_reached, last + 1)
            yield n_reached, embeddings
        # The first of a batch may have made others late, so they are tried before it.
        rows = np.array([i for i in reversed(rows) if paths[i] in late], np.int64)
        if not len(rows):
            return
        if (share, most_s) != PATIENCE[-1]:
            late.difference_update([paths[i] for i in rows])


def _embed_rows(
    embedder: Embedder,
    budget: Budget,
    kind: str,
    paths: Sequence[Path],
    rows: NDArray[np.int64],
) -> Iterator[tuple[Embeddings, int]]:
    """The embeddings of each batch of some of the paths, and the last of its rows."""
    size, late = embedder.settings.batch_size, embedder.deadline.late
    images = [paths[i] for i in rows]
    with progress(total=len(rows), label=LABELS[kind]) as bar:
        for start, batch, upcoming in split_batches(images, size):
            if not budget.admit(kind, size):
                return
            level = budget.levels[budget.level]
            embeddings = embedder.embed(batch, level, upcoming)
            budget.record_done(kind, sum(image not in late for image in batch))
            bar.update(len(batch))
            positions = rows[embeddings.positions + start]
            last = int(rows[start + len(batch) - 1])
            yield embeddings._replace(positions=positions), last


def _patience_s(budget: Budget, share: float, most_s: float) -> float:
    """The seconds to wait for an image."""
    return min(max(budget.left_s * share, LEAST_PATIENCE_S), most_s)
