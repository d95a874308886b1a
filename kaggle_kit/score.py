"""GAP of a submission file against a solution file, and what the rest was lost to."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from kaggle_kit import tables
from kaggle_kit.errors import TableError
from kaggle_kit.gap import auc, gap, gap_loss, gap_tie_bounds
from kaggle_kit.tables import Guess, Truth

Scores = dict[str, object]


def score(submission: Path, solution: Path) -> Scores:
    """Score a submission as Kaggle does; rows marked Ignored are left out.

    Returns:
        The values of ``score_guesses`` and, where the solution has a Usage column,
        those of its Public and Private rows apart, under ``public`` and ``private``.

    Raises:
        TableError: either file is malformed, or their ids are not the same.
    """
    guesses = tables.read_submission(submission)
    truths = tables.read_solution(solution)
    if not truths:
        raise TableError(f"{solution}: expected rows of images, found none")
    tables.require_ids(submission, guesses, truths, solution)
    counted = {i: truth for i, truth in truths.items() if truth.usage != "Ignored"}
    scores = score_guesses(guesses, counted)
    if any(truth.usage for truth in truths.values()):
        for usage in ("Public", "Private"):
            part = {i: truth for i, truth in counted.items() if truth.usage == usage}
            scores[usage.lower()] = score_guesses(guesses, part) if part else None
    return scores


def score_guesses(
    guesses: Mapping[str, Guess | None], truths: Mapping[str, Truth]
) -> Scores:
    """GAP and its companions over the images of ``truths``.

    Returns:
        gap: Kaggle's, ties by image id.
        gap_worst_ties, gap_best_ties: the bounds over all orders of tied guesses.
        gap_landmarks_only: non-landmark images dropped first.
        top1: the share of landmark images whose guess is right, none being wrong.
        auc: landmark against non-landmark images by confidence, no guess being lowest.
        n_images, n_positives, n_guesses: counts; a positive shows a landmark.
        lost: how much GAP went where (see ``gap.gap_loss``).

        A value that is not defined (no landmark at all, say) is None.
    """
    ids = sorted(truths)
    positive = np.array([bool(truths[i].landmark_ids) for i in ids], bool)
    guess = [guesses.get(i) for i in ids]
    guessed = np.array([g is not None for g in guess], bool)
    confidence = np.array([g.confidence if g else -math.inf for g in guess])
    correct = np.array(
        [
            g is not None and g.landmark_id in truths[i].landmark_ids
            for i, g in zip(ids, guess, strict=True)
        ],
        bool,
    )
    n_positives = int(positive.sum())
    made = confidence[guessed], correct[guessed]
    worst, best = gap_tie_bounds(*made, n_positives)
    of_landmarks = guessed & positive
    lost = gap_loss(*made, positive[guessed], n_positives)
    return {
        "gap": _defined(gap(*made, n_positives)),
        "gap_worst_ties": _defined(worst),
        "gap_best_ties": _defined(best),
        "gap_landmarks_only": _defined(
            gap(confidence[of_landmarks], correct[of_landmarks], n_positives)
        ),
        "top1": correct.sum() / n_positives if n_positives else None,
        "auc": _defined(auc(confidence, positive)),
        "n_images": len(ids),
        "n_positives": n_positives,
        "n_guesses": int(guessed.sum()),
        "lost": {name: _defined(value) for name, value in lost._asdict().items()},
    }


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


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
