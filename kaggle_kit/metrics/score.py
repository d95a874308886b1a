"""Score a submission by GAP, and divide the missing GAP among its causes."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

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
    precisions_at_share,
)
from kaggle_kit.metrics.known_landmarks import find_unknown, read_known_landmarks
from kaggle_kit.storage import tables
from kaggle_kit.storage.json_files import OPTIONAL, JsonObject
from kaggle_kit.storage.tables import Guess, Truth

# Shares of landmark images at which GAP is reported: about that of the competition's test
# set (1.1%), and two larger ones.
SHARES = (0.011, 0.1, 0.3)


@dataclass(frozen=True)
class LostGap(JsonObject):
    """The causes of 1 - GAP, which add up to it (see ``gap.gap_loss``).

    Attributes:
        wrong_landmarks: wrong guesses on landmark images: their images, and the correct
            guesses that they outrank.
        non_landmarks: guesses on non-landmark images that outrank correct ones.
        missing_guesses: landmark images without a guess.
        unknown_landmarks: as ``wrong_landmarks``, for images that show only landmarks
            that the bundle does not hold. Left out if no bundle was given; then
            ``wrong_landmarks`` includes them.
    """

    wrong_landmarks: float | None
    non_landmarks: float | None
    missing_guesses: float | None
    unknown_landmarks: float | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True)
class ScoreIntervals(JsonObject):
    """95% bootstrap intervals (low, high), by resampling images; None: not defined."""

    gap: Interval | None
    top1: Interval | None
    auc: Interval | None
    gap_at_share: Mapping[float, Interval | None]


@dataclass(frozen=True)
class Score(JsonObject):
    """GAP of a set of images, and related values. A value that is not defined is None.

    GAP, for one, is not defined where no image shows a landmark.

    Attributes:
        gap: as Kaggle computes it; equal confidences are ranked by image id.
        gap_worst_ties, gap_best_ties: bounds over all orders of equal confidences.
        gap_landmarks_only: GAP without the non-landmark images.
        gap_at_share: for each of ``SHARES``, the GAP if landmark images were that share of
            all images (see ``gap.gap_at_share``).
        top1: share of landmark images with a correct guess.
        auc: probability that a landmark image has a higher confidence than a non-landmark
            image; an image without a guess has the lowest confidence.
        n_images: images that were scored.
        n_positives: images that show a landmark.
        n_guesses: images with a guess.
        lost: the causes of 1 - GAP.
        interval: bootstrap intervals, if they were computed.
        public, private: scores of the rows of that Usage, if there are any.
        has_usage: whether the solution has a Usage column.
    """

    gap: float | None
    gap_worst_ties: float | None
    gap_best_ties: float | None
    gap_landmarks_only: float | None
    gap_at_share: Mapping[float, float | None]
    top1: float | None
    auc: float | None
    n_images: int
    n_positives: int
    n_guesses: int
    lost: LostGap
    interval: ScoreIntervals | None = None
    public: "Score | None" = None
    private: "Score | None" = None
    has_usage: bool = False

    def as_json(self) -> dict[str, Any]:
        """The fields by name, without those that were not asked for.

        ``interval`` is left out if it was not computed, ``public`` and ``private`` if the
        solution has no Usage column.
        """
        values = super().as_json()
        del values["has_usage"]
        if self.interval is None:
            del values["interval"]
        if not self.has_usage:
            del values["public"], values["private"]
        return values


@dataclass(frozen=True)
class Validation(JsonObject):
    """A submission that Kaggle would accept.

    Attributes:
        valid: always True; an invalid submission raises an error.
        n_images: rows.
        n_guesses: rows with a guess.
    """

    valid: bool
    n_images: int
    n_guesses: int


class Rows(NamedTuple):
    """Arrays with one element per image, sorted by image id."""

    confidence: NDArray[np.float64]  # -inf: no guess
    correct: NDArray[np.bool_]
    positive: NDArray[np.bool_]  # whether the image shows a landmark
    guessed: NDArray[np.bool_]  # whether the image has a guess
    unknown: NDArray[np.bool_]  # whether it shows a landmark, but no known one


def score(
    submission: str | Path,
    solution: str | Path,
    n_resamples: int = 0,
    seed: int = 0,
    bundle: str | Path | None = None,
) -> Score:
    """Score a submission file as Kaggle does; rows with the Usage Ignored are left out.

    Args:
        submission: CSV file with the header ``id,landmarks``; it is read as strictly as by
            ``validate``, so that a file with a score is one that can be sent.
        solution: CSV file with the columns id, landmarks and, optionally, Usage; it has
            the same ids.
        n_resamples: bootstrap resamples for ``Score.interval``, about 1,000; 0 computes no
            intervals.
        seed: of the resamples.
        bundle: the bundle that guessed, for ``LostGap.unknown_landmarks``; one without a
            gallery and classes counts as none.

    Raises:
        TableError: a file is malformed, or the two have different ids.
    """
    submission, solution = Path(submission), Path(solution)
    landmarks = None if bundle is None else read_known_landmarks(bundle)
    guesses = tables.read_submission(submission)
    return _score_file(submission, guesses, solution, n_resamples, seed, landmarks)


def gap_of_sample(sample: str | Path, solution: str | Path) -> float | None:
    """GAP of a competition's ``sample_submission.csv``.

    Raises:
        TableError: a file is malformed, or the two have different ids.
    """
    guesses = tables.read_submission(Path(sample), exact=False)
    return _score_file(Path(sample), guesses, Path(solution), 0, 0, None).gap


def _score_file(
    submission: Path,
    guesses: Mapping[str, Guess | None],
    solution: Path,
    n_resamples: int,
    seed: int,
    landmarks: frozenset[int] | None,
) -> Score:
    """The score of the guesses of a file, by the parts of ``Usage`` too.

    Args:
        landmarks: those that the bundle holds, if that is known.
    """
    truths = tables.read_solution(solution)
    if not truths:
        raise TableError(
            f"{solution}: expected a row for each image, got none; check that it is the "
            f"solution"
        )
    tables.require_ids(submission, guesses, truths, solution)
    rows = rows_of(guesses, truths, landmarks)
    usage = np.array([truths[i].usage for i in sorted(truths)])

    def score_rows(part: NDArray[np.bool_]) -> Score:
        chosen = Rows._make(column[part] for column in rows)
        return _score(chosen, n_resamples, seed, landmarks is not None)

    def score_part(part: NDArray[np.bool_]) -> Score | None:
        return score_rows(part) if part.any() else None

    whole = score_rows(usage != "Ignored")
    if not (usage != "").any():
        return whole
    return replace(
        whole,
        public=score_part(usage == "Public"),
        private=score_part(usage == "Private"),
        has_usage=True,
    )


def score_guesses(
    guesses: Mapping[str, Guess | None], truths: Mapping[str, Truth]
) -> Score:
    """Score guesses over the images of ``truths``, without intervals.

    Args:
        guesses: by image id; an image that is absent or None has no guess.
        truths: by image id; ``Truth.usage`` is not considered.
    """
    return _score(rows_of(guesses, truths), 0, 0)


def with_intervals(
    guesses: Mapping[str, Guess | None],
    truths: Mapping[str, Truth],
    n_resamples: int = 1000,
    seed: int = 0,
) -> Score:
    """Score guesses as ``score_guesses`` does, and add ``bootstrap.intervals``."""
    return _score(rows_of(guesses, truths), n_resamples, seed)


def precisions_of(
    guesses: Mapping[str, Guess | None],
    truths: Mapping[str, Truth],
    share: float | None = None,
) -> NDArray[np.float64]:
    """The contribution of each landmark image to GAP, times M, their number.

    Args:
        share: of landmark images, as in ``gap.precisions_at_share``; None: as they are.

    Returns:
        (M,) sorted by image id: the precision at the rank of a correct guess, else 0; all
        nan if there is no non-landmark image and a share below 1 is given.
    """
    rows = rows_of(guesses, truths)
    confidence, correct, positive = rows.confidence, rows.correct, rows.positive
    if share is None:
        return precisions(confidence, correct)[positive]
    n_positives = int(positive.sum())
    n_others = len(positive) - n_positives
    return precisions_at_share(
        confidence, correct, positive, n_positives, n_others, share
    )[positive]


def validate(submission: str | Path, sample: str | Path) -> Validation:
    """Check that Kaggle would accept a submission, and count its rows.

    Args:
        submission: CSV file with the very header of the sample, ``id,landmarks``.
        sample: the competition's ``sample_submission.csv``.

    Raises:
        TableError: the header is another, a cell is malformed, or the ids are not exactly
            the sample's.
    """
    submission, sample = Path(submission), Path(sample)
    guesses = tables.read_submission(submission)
    tables.require_ids(submission, guesses, tables.read_sample(sample), sample)
    n_guesses = sum(guess is not None for guess in guesses.values())
    return Validation(valid=True, n_images=len(guesses), n_guesses=n_guesses)


def rows_of(
    guesses: Mapping[str, Guess | None],
    truths: Mapping[str, Truth],
    landmarks: Collection[int] | None = None,
) -> Rows:
    """Convert guesses and truths to arrays, for the images of ``truths``.

    Args:
        landmarks: the known ones; None: all.
    """
    pairs = [(guesses.get(i), truths[i].landmark_ids) for i in sorted(truths)]
    return Rows(
        confidence=np.array([g.confidence if g else -math.inf for g, _ in pairs]),
        correct=np.array([bool(g and g.landmark_id in k) for g, k in pairs], bool),
        positive=np.array([bool(k) for _, k in pairs], bool),
        guessed=np.array([g is not None for g, _ in pairs], bool),
        unknown=find_unknown((k for _, k in pairs), landmarks),
    )


def _score(
    rows: Rows, n_resamples: int, seed: int, with_unknown: bool = False
) -> Score:
    """The score of all rows; with intervals unless ``n_resamples`` is 0.

    ``with_unknown`` makes unknown landmarks a cause of their own.
    """
    confidence, correct, positive, guessed, unknown = rows
    n_positives = int(positive.sum())
    n_others = len(positive) - n_positives
    ranking = confidence[guessed], correct[guessed]
    landmark = positive[guessed]
    worst, best = gap_tie_bounds(*ranking, n_positives)
    on_landmarks = guessed & positive
    lost = gap_loss(*ranking, landmark, n_positives, unknown[guessed])
    causes = lost if with_unknown else lost[:3]
    return Score(
        gap=_none_if_nan(gap(*ranking, n_positives)),
        gap_worst_ties=_none_if_nan(worst),
        gap_best_ties=_none_if_nan(best),
        gap_landmarks_only=_none_if_nan(
            gap(confidence[on_landmarks], correct[on_landmarks], n_positives)
        ),
        gap_at_share={
            share: _none_if_nan(
                gap_at_share(*ranking, landmark, n_positives, n_others, share)
            )
            for share in SHARES
        },
        top1=float(correct.sum() / n_positives) if n_positives else None,
        auc=_none_if_nan(auc(confidence, positive)),
        n_images=len(positive),
        n_positives=n_positives,
        n_guesses=int(guessed.sum()),
        lost=LostGap(*map(_none_if_nan, causes)),
        interval=_intervals(rows, n_resamples, seed) if n_resamples else None,
    )


def _intervals(rows: Rows, n_resamples: int, seed: int) -> ScoreIntervals:
    ranking = rows.confidence, rows.correct, rows.positive
    ends = intervals(*ranking, SHARES, n_resamples, seed)
    at_share = map(_none_if_undefined, ends.gap_at_share)
    return ScoreIntervals(
        gap=_none_if_undefined(ends.gap),
        top1=_none_if_undefined(ends.top1),
        auc=_none_if_undefined(ends.auc),
        gap_at_share=dict(zip(SHARES, at_share, strict=True)),
    )


def _none_if_undefined(interval: Interval) -> Interval | None:
    return None if math.isnan(interval[0]) else interval


def _none_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
