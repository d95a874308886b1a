"""What a submission lost GAP to: by cause, by landmark, by photo.

Everything here is a sum over one division of ``1 - GAP`` among the photos. With M photos
that show a landmark, and R(i) right guesses among the first i ranks::

    1 - GAP = (1 / M) * [ sum over landmark photos without a right guess of 1
                          + sum over right guesses i of (1 - R(i) / i) ]

The first sum is each such photo's own: what it did not earn. In the second, a right guess
at rank i has i - R(i) wrong ones above it, each of which takes 1/i. So a photo costs::

    own(j)   = 1 / M                                if it shows a landmark and is not right
    above(j) = (1 / M) * sum of 1/i over right i    ranked below its wrong guess
    loss(j)  = own(j) + above(j)

and the losses of all photos add up to 1 - GAP exactly, but for rounding.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from kaggle_kit.metrics.score import rows_of
from kaggle_kit.storage.tables import Guess, Truth

NO_LANDMARK = -1  # in a column of landmark ids


class Parts(NamedTuple):
    """What 1 - GAP was lost to; the four add up to it.

    wrong_landmarks: landmark photos whose guess is another landmark, by ``own``.
    wrong_above: those same guesses, ranked above right ones, by ``above``.
    non_landmarks_above: guesses on photos without a landmark, ranked above right ones.
    missing_guesses: landmark photos without a guess.
    """

    wrong_landmarks: float
    wrong_above: float
    non_landmarks_above: float
    missing_guesses: float


def photo_losses(
    guesses: Mapping[str, Guess | None], truths: Mapping[str, Truth]
) -> pd.DataFrame:
    """Each photo that counts (not Ignored) and what it cost, by image id.

    Returns:
        positive: whether it shows a landmark.
        landmark: its landmark (the lowest id of several), or ``NO_LANDMARK``.
        guess: the landmark guessed, or ``NO_LANDMARK`` where there is no guess.
        confidence: of the guess; -inf where there is none.
        right: whether the guess is one of its landmarks.
        rank: of the guess, from 1; 0 where there is none.
        own, above, loss: as above; nan when no photo shows a landmark.
    """
    counted = {i: truth for i, truth in truths.items() if truth.usage != "Ignored"}
    ids = sorted(counted)
    known = rows_of(guesses, counted)
    made = [guesses.get(i) for i in ids]
    order = np.argsort(-known.confidence, kind="stable")[: known.guessed.sum()]
    rank = np.zeros(len(ids), np.int64)
    rank[order] = np.arange(1, len(order) + 1)
    n_positives = int(known.positive.sum())
    share = 1 / n_positives if n_positives else np.nan
    takes = np.where(known.correct[order], 1 / np.arange(1.0, len(order) + 1), 0.0)
    below = np.cumsum(takes[::-1])[::-1] - takes  # of the right guesses further down
    above = np.zeros(len(ids))
    above[order] = np.where(known.correct[order], 0.0, below) * share
    own = np.where(known.positive & ~known.correct, share, 0.0)
    return pd.DataFrame(
        {
            "positive": known.positive,
            "landmark": [
                min(counted[i].landmark_ids, default=NO_LANDMARK) for i in ids
            ],
            "guess": [g.landmark_id if g else NO_LANDMARK for g in made],
            "confidence": known.confidence,
            "right": known.correct,
            "rank": rank,
            "own": own,
            "above": above,
            "loss": own + above,
        },
        index=pd.Index(ids, name="id"),
    )


def parts(photos: pd.DataFrame) -> Parts:
    """Divide 1 - GAP among its causes.

    Args:
        photos: what ``photo_losses`` gives.
    """
    guessed = photos["rank"] > 0
    wrong = photos["positive"] & guessed & ~photos["right"]
    missing = photos["positive"] & ~guessed
    return Parts(
        wrong_landmarks=_sum(photos.loc[wrong, "own"]),
        wrong_above=_sum(photos.loc[wrong, "above"]),
        non_landmarks_above=_sum(photos.loc[~photos["positive"], "above"]),
        missing_guesses=_sum(photos.loc[missing, "own"]),
    )


def landmark_table(photos: pd.DataFrame) -> pd.DataFrame:
    """How each landmark fared, most loss first.

    A photo counts for one landmark: the one guessed if that is right, else its lowest id.

    Returns:
        By landmark id, ``NO_LANDMARK`` being all photos without one:
        n, right: photos and right guesses; recall: right / n (nan of non-landmarks).
        false: guesses of the landmark on photos that do not show it.
        loss, share: of its photos, and of all loss.
        confused, times: the landmark most often guessed instead, and how often.
    """
    shown = photos["guess"].where(photos["right"], photos["landmark"])
    wrong = photos[(photos["rank"] > 0) & ~photos["right"]]
    by_shown = photos.groupby(shown)
    found = pd.DataFrame(
        {
            "n": by_shown.size(),
            "right": by_shown["right"].sum(),
            "loss": by_shown["loss"].sum(),
        }
    )
    guessed = wrong.groupby("guess").size()
    found = found.reindex(found.index.union(guessed.index), fill_value=0)
    found["false"] = guessed.reindex(found.index, fill_value=0)
    found["recall"] = (found["right"] / found["n"]).where(found.index != NO_LANDMARK)
    total = found["loss"].sum()
    found["share"] = found["loss"] / total if total else 0.0
    pairs = wrong.groupby(["landmark", "guess"]).size().rename("times").reset_index()
    pairs = pairs.sort_values(["times", "guess"], ascending=[False, True])
    most = pairs.drop_duplicates("landmark").set_index("landmark")
    found["confused"] = most["guess"].reindex(found.index, fill_value=NO_LANDMARK)
    found["times"] = most["times"].reindex(found.index, fill_value=0)
    found.index.name = "landmark"
    return found.sort_values("loss", ascending=False, kind="stable")


def worst(photos: pd.DataFrame, n: int) -> pd.DataFrame:
    """The ``n`` photos that cost most; of equal ones the more confident first."""
    costly = photos[photos["loss"] > 0]
    order = ["loss", "confidence"]
    return costly.sort_values(order, ascending=False, kind="stable").head(n)


def changes(photos: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """The photos that are right in one submission and not in the other.

    Args:
        photos, other: of the same images.

    Returns:
        By image id, those whose loss differs most first: right (in ``photos``), landmark,
        guess, other_guess, and gained: the loss in ``other`` less that in ``photos``.
    """
    changed = photos["right"] != other["right"]
    found = photos.loc[changed, ["right", "landmark", "guess"]].copy()
    found["other_guess"] = other.loc[changed, "guess"]
    found["gained"] = other.loc[changed, "loss"] - photos.loc[changed, "loss"]
    order = found["gained"].abs().sort_values(ascending=False, kind="stable").index
    return found.loc[order]


def precision_over_rank(photos: pd.DataFrame) -> pd.DataFrame:
    """By rank, from 1: the share of right guesses among those down to it."""
    ranked = photos[photos["rank"] > 0].sort_values("rank")
    rank = np.arange(1, len(ranked) + 1)
    precision = np.cumsum(ranked["right"].to_numpy()) / rank
    return pd.DataFrame({"rank": rank, "precision": precision})


def rows(frame: pd.DataFrame) -> list[Any]:
    """The rows of a table as named tuples, ``Index`` being a row's id."""
    return list(frame.itertuples())


def _sum(values: pd.Series) -> float:
    return float(values.sum(skipna=False))
