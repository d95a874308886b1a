"""The losses of a submission: 1 - GAP divided among causes, landmarks and images.

With M images that show a landmark, and R(i) right guesses among the first i ranks::

    1 - GAP = (1 / M) * [ sum over landmark images without a right guess of 1
                          + sum over right guesses i of (1 - R(i) / i) ]

The terms of the first sum are charged to the images themselves. In the second sum, a right
guess at rank i has i - R(i) wrong guesses above it, and each of these is charged 1/i. The
loss of an image j is::

    own(j)   = 1 / M    if it shows a landmark and its guess is not right, else 0
    above(j) = (1 / M) * sum of 1/i over the right guesses i ranked below its wrong guess
    loss(j)  = own(j) + above(j)

The losses of all images add up to 1 - GAP, up to rounding.
"""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from kaggle_kit.metrics.score import rows_of
from kaggle_kit.storage.tables import Guess, Truth

NO_LANDMARK = -1  # in columns of landmark ids


class Parts(NamedTuple):
    """A number for each cause of 1 - GAP: its loss, or its images.

    The losses add up to 1 - GAP. The images of a cause are those that lose something by it.

    Attributes:
        wrong_landmarks: ``own`` of landmark images with a wrong guess, except the unknown.
        wrong_above: ``above`` of the same images.
        unknown_landmarks, unknown_above: the same of images of unknown landmarks.
        non_landmarks_above: ``above`` of images without a landmark.
        missing_guesses: ``own`` of landmark images without a guess.
    """

    wrong_landmarks: float
    wrong_above: float
    unknown_landmarks: float
    unknown_above: float
    non_landmarks_above: float
    missing_guesses: float


def image_losses(
    guesses: Mapping[str, Guess | None],
    truths: Mapping[str, Truth],
    landmarks: Collection[int] | None = None,
) -> pd.DataFrame:
    """The loss of each image, except those with the Usage Ignored.

    Args:
        landmarks: those that the bundle holds; None: all are known.

    Returns:
        A table sorted and indexed by image id, with the columns:
        positive: whether the image shows a landmark.
        unknown: whether it shows a landmark, but none that the bundle holds.
        landmark: its landmark, the lowest id of several, or ``NO_LANDMARK``.
        guess: the landmark of the guess, or ``NO_LANDMARK`` without a guess.
        confidence: of the guess; -inf without a guess.
        right: whether the guess is one of the image's landmarks.
        rank: of the guess, from 1; 0 without a guess.
        own, above, loss: see the module; nan when no image shows a landmark.
    """
    counted = {i: truth for i, truth in truths.items() if truth.usage != "Ignored"}
    ids = sorted(counted)
    arrays = rows_of(guesses, counted, landmarks)
    guess_of = [guesses.get(i) for i in ids]
    order = np.argsort(-arrays.confidence, kind="stable")[: arrays.guessed.sum()]
    rank = np.zeros(len(ids), np.int64)
    rank[order] = np.arange(1, len(order) + 1)
    n_positives = int(arrays.positive.sum())
    share = 1 / n_positives if n_positives else np.nan
    charge = np.where(arrays.correct[order], 1 / np.arange(1.0, len(order) + 1), 0.0)
    below = np.cumsum(charge[::-1])[::-1] - charge  # of the right guesses ranked below
    above = np.zeros(len(ids))
    above[order] = np.where(arrays.correct[order], 0.0, below) * share
    own = np.where(arrays.positive & ~arrays.correct, share, 0.0)
    return pd.DataFrame(
        {
            "positive": arrays.positive,
            "unknown": arrays.unknown,
            "landmark": [
                min(counted[i].landmark_ids, default=NO_LANDMARK) for i in ids
            ],
            "guess": [g.landmark_id if g else NO_LANDMARK for g in guess_of],
            "confidence": arrays.confidence,
            "right": arrays.correct,
            "rank": rank,
            "own": own,
            "above": above,
            "loss": own + above,
        },
        index=pd.Index(ids, name="id"),
    )


def parts(images: pd.DataFrame) -> Parts:
    """Divide 1 - GAP among its causes.

    Args:
        images: the result of ``image_losses``.
    """
    return Parts._make(
        float(values.sum(skipna=False)) for values in _charges(images).values()
    )


def part_counts(images: pd.DataFrame) -> Parts:
    """The number of images that lose something by each cause.

    Args:
        images: the result of ``image_losses``, with at least one landmark image.
    """
    return Parts._make(int((values > 0).sum()) for values in _charges(images).values())


def _charges(images: pd.DataFrame) -> dict[str, "pd.Series[float]"]:
    """What images lose by each cause, in the order of ``Parts``."""
    guessed, positive = images["rank"] > 0, images["positive"]
    unknown = images["unknown"]
    wrong = positive & guessed & ~images["right"]
    causes = {
        "wrong_landmarks": (wrong & ~unknown, "own"),
        "wrong_above": (wrong & ~unknown, "above"),
        "unknown_landmarks": (wrong & unknown, "own"),
        "unknown_above": (wrong & unknown, "above"),
        "non_landmarks_above": (~positive, "above"),
        "missing_guesses": (positive & ~guessed, "own"),
    }
    return {name: images.loc[rows, column] for name, (rows, column) in causes.items()}


def landmark_table(images: pd.DataFrame) -> pd.DataFrame:
    """The results of each landmark, sorted by descending loss.

    An image of several landmarks counts for the guess if that is right, else for the lowest
    id.

    Args:
        images: the result of ``image_losses``.

    Returns:
        A table indexed by landmark id, where ``NO_LANDMARK`` stands for all images without
        a landmark, with the columns:
        n, right: numbers of images and of right guesses.
        recall: right / n; nan for ``NO_LANDMARK``.
        false: number of guesses of the landmark on images that do not show it.
        loss, share: loss of its images, and its share of the total loss.
        confused, times: the landmark guessed most often instead, and how often.
    """
    landmark = images["guess"].where(images["right"], images["landmark"])
    wrong = images[(images["rank"] > 0) & ~images["right"]]
    groups = images.groupby(landmark)
    table = pd.DataFrame(
        {
            "n": groups.size(),
            "right": groups["right"].sum(),
            "loss": groups["loss"].sum(),
        }
    )
    false = wrong.groupby("guess").size()
    table = table.reindex(table.index.union(false.index), fill_value=0)
    table["false"] = false.reindex(table.index, fill_value=0)
    table["recall"] = (table["right"] / table["n"]).where(table.index != NO_LANDMARK)
    total = table["loss"].sum()
    table["share"] = table["loss"] / total if total else 0.0
    pairs = wrong.groupby(["landmark", "guess"]).size().rename("times").reset_index()
    pairs = pairs.sort_values(["times", "guess"], ascending=[False, True])
    most = pairs.drop_duplicates("landmark").set_index("landmark")
    table["confused"] = most["guess"].reindex(table.index, fill_value=NO_LANDMARK)
    table["times"] = most["times"].reindex(table.index, fill_value=0)
    table.index.name = "landmark"
    return table.sort_values("loss", ascending=False, kind="stable")


def worst(images: pd.DataFrame, n: int) -> pd.DataFrame:
    """The ``n`` images with the highest loss above 0; equal ones by confidence."""
    costly = images[images["loss"] > 0]
    order = ["loss", "confidence"]
    return costly.sort_values(order, ascending=False, kind="stable").head(n)


def changes(images: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """The images that are right in only one of two submissions.

    Args:
        images, other: the results of ``image_losses`` for the same images.

    Returns:
        A table indexed by image id and sorted by descending difference of the losses, with
        the columns right and guess of ``images``, other_guess, landmark: the one that is
        right, and gained: the loss in ``other`` minus the loss in ``images``.
    """
    changed = images["right"] != other["right"]
    table = images.loc[changed, ["right", "guess"]].copy()
    table["other_guess"] = other.loc[changed, "guess"]
    table["landmark"] = table["guess"].where(table["right"], table["other_guess"])
    table["gained"] = other.loc[changed, "loss"] - images.loc[changed, "loss"]
    order = table["gained"].abs().sort_values(ascending=False, kind="stable").index
    return table.loc[order]


def precision_over_rank(images: pd.DataFrame) -> pd.DataFrame:
    """The columns rank, from 1, and precision: the share of right guesses down to it."""
    ranked = images[images["rank"] > 0].sort_values("rank")
    rank = np.arange(1, len(ranked) + 1)
    precision = np.cumsum(ranked["right"].to_numpy()) / rank
    return pd.DataFrame({"rank": rank, "precision": precision})


def rows(frame: pd.DataFrame) -> list[Any]:
    """The rows of a table as named tuples; ``Index`` is the id of a row."""
    return list(frame.itertuples())
