"""GAP of a submission file against a solution file, and what the rest was lost to."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.errors import TableError
from kaggle_kit.metrics.bootstrap import Interval, intervals
from kaggle_kit.metrics.gap import (
    auc,
    gap,
    gap_at_share,
    gap_loss,
    gap_tie_bounds,
    precisions,
)
from kaggle_kit.storage import tables
from kaggle_kit.storage.tables import Guess, Truth

Scores = dict[str, object]
# Shares of landmark images at which GAP is told: about that of the competition's test
# set (1.1%), and larger ones.
SHARES = (0.011, 0.1, 0.3)


def score(
    submission: Path, solution: Path, n_resamples: int = 0, seed: int = 0
) -> Scores:
    """Score a submission as Kaggle does; rows marked Ignored are left out.

    Args:
        submission, solution: CSV files of the same image ids.
        n_resamples, seed: as for ``with_intervals``; 0: no intervals, which cost time.

    Returns:
        The values of ``score_guesses`` and, where the solution has a Usage column,
        those of its Public and Private rows apart, under ``public`` and ``private``.

    Raises:
        TableError: either file is malformed, or their ids are not the same.
    """
    guesses = tables.read_submission(submission)
    truths = tables.read_solution(solution)
    if not truths:
        raise TableError(
            f"{solution}: expected rows of images, got none; check that it is the solution"
        )
    tables.require_ids(submission, guesses, truths, solution)
    rows = rows_of(guesses, truths)
    usage = np.array([truths[i].usage for i in sorted(truths)])

    def scored(part: NDArray[np.bool_]) -> Scores:
        of_part = Rows._make(column[part] for column in rows)
        if n_resamples:
            return _with_intervals(of_part, n_resamples, seed)
        return _scores(of_part)

    scores = scored(usage != "Ignored")
    if (usage != "").any():
        for name in ("Public", "Private"):
            part = usage == name
            scores[name.lower()] = scored(part) if part.any() else None
    return scores


def score_guesses(
    guesses: Mapping[str, Guess | None], truths: Mapping[str, Truth]
) -> Scores:
    """GAP and its companions over the images of ``truths``.

    Returns:
        gap: Kaggle's, ties by image id.
        gap_worst_ties, gap_best_ties: the bounds over all orders of tied guesses.
        gap_landmarks_only: non-landmark images dropped first.
        gap_at_share: by share (its key, a string), what GAP would be if landmark images
            were that share of all images (see ``gap.gap_at_share``).
        top1: the share of landmark images whose guess is right, none being wrong.
        auc: landmark against non-landmark images by confidence, no guess being lowest.
        n_images, n_positives, n_guesses: counts; a positive shows a landmark.
        lost: how much GAP went where (see ``gap.gap_loss``).

        A value that is not defined (no landmark at all, say) is None.
    """
    return _scores(rows_of(guesses, truths))


def precisions_of(
    guesses: Mapping[str, Guess | None], truths: Mapping[str, Truth]
) -> NDArray[np.float64]:
    """What each landmark image adds to GAP, times their number M; (M,) by image id."""
    rows = rows_of(guesses, truths)
    return precisions(rows.confidence, rows.correct)[rows.positive]


def with_intervals(
    guesses: Mapping[str, Guess | None],
    truths: Mapping[str, Truth],
    n_resamples: int = 1000,
    seed: int = 0,
) -> Scores:
    """The values of ``score_guesses``, and how far some vary with the images drawn.

    Returns:
        interval: [low, high] of gap, top1 and auc and, by share, of gap_at_share: the
            middle 95% over resamples of the images (see ``bootstrap.intervals``), or
            None where the value is not defined.
    """
    return _with_intervals(rows_of(guesses, truths), n_resamples, seed)


def validate(submission: Path, sample: Path) -> Scores:
    """Check that Kaggle would accept a submission.

    Returns:
        The counts of its rows and guesses.

    Raises:
        TableError: a cell is malformed, or the ids are not exactly the sample's.
    """
    guesses = tables.read_submission(submission)
    tables.require_ids(submission, guesses, tables.read_sample(sample), sample)
    n_guesses = sum(guess is not None for guess in guesses.values())
    return {"valid": True, "n_images": len(guesses), "n_guesses": n_guesses}


class Rows(NamedTuple):
    """One element for each image, by image id."""

    confidence: NDArray[np.float64]  # -inf where there is no guess
    correct: NDArray[np.bool_]
    positive: NDArray[np.bool_]
    guessed: NDArray[np.bool_]


def rows_of(guesses: Mapping[str, Guess | None], truths: Mapping[str, Truth]) -> Rows:
    """The images of ``truths`` and their guesses as arrays, by image id."""
    pairs = [(guesses.get(i), truths[i].landmark_ids) for i in sorted(truths)]
    return Rows(
        confidence=np.array([g.confidence if g else -math.inf for g, _ in pairs]),
        correct=np.array([bool(g and g.landmark_id in k) for g, k in pairs], bool),
        positive=np.array([bool(k) for _, k in pairs], bool),
        guessed=np.array([g is not None for g, _ in pairs], bool),
    )


def _scores(rows: Rows) -> Scores:
    confidence, correct, positive, guessed = rows
    n_positives = int(positive.sum())
    n_others = len(positive) - n_positives
    made = confidence[guessed], correct[guessed]
    shown = positive[guessed]
    worst, best = gap_tie_bounds(*made, n_positives)
    of_landmarks = guessed & positive
    lost = gap_loss(*made, shown, n_positives)
    return {
        "gap": _defined(gap(*made, n_positives)),
        "gap_worst_ties": _defined(worst),
        "gap_best_ties": _defined(best),
        "gap_landmarks_only": _defined(
            gap(confidence[of_landmarks], correct[of_landmarks], n_positives)
        ),
        "gap_at_share": {
            str(share): _defined(
                gap_at_share(*made, shown, n_positives, n_others, share)
            )
            for share in SHARES
        },
        "top1": correct.sum() / n_positives if n_positives else None,
        "auc": _defined(auc(confidence, positive)),
        "n_images": len(positive),
        "n_positives": n_positives,
        "n_guesses": int(guessed.sum()),
        "lost": {name: _defined(value) for name, value in lost._asdict().items()},
    }


def _with_intervals(rows: Rows, n_resamples: int, seed: int) -> Scores:
    confidence, correct, positive, _ = rows
    found = intervals(confidence, correct, positive, SHARES, n_resamples, seed)
    at_share = zip(map(str, SHARES), map(_ends, found.gap_at_share), strict=True)
    return _scores(rows) | {
        "interval": {
            "gap": _ends(found.gap),
            "top1": _ends(found.top1),
            "auc": _ends(found.auc),
            "gap_at_share": dict(at_share),
        }
    }


def _ends(interval: Interval) -> list[float] | None:
    low, high = interval
    return None if math.isnan(low) else [low, high]


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
