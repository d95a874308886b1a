"""Scores of generated files against the definition of GAP, in exact fractions."""

import math
import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaggle_kit.errors import TableError
from kaggle_kit.metrics.score import score, validate
from kaggle_kit.storage import tables
from tests.helpers import bad_tables as bad
from tests.helpers.complaints import KINDS, check_complaint, steady


def exact_gap(guesses, truths):
    """GAP as it is defined: over the guesses from the surest down, ties by image id."""
    n_positives = sum(bool(landmarks) for landmarks in truths.values())
    if not n_positives:
        return None
    made = [(-g[1], i, g[0]) for i, g in guesses.items() if g]
    total, right = Fraction(0), 0
    for rank, (_, image_id, landmark) in enumerate(sorted(made), 1):
        if landmark in truths[image_id]:
            right += 1
            total += Fraction(right, rank)
    return total / n_positives


def drawn_images(rng, n):
    """Guesses and truths of n images: ties, non-landmarks, blanks, several labels."""
    guesses, truths = {}, {}
    for i in rng.sample(range(10 * n + 10), n):
        image_id = f"{i:06x}"
        some = [rng.randrange(4) for _ in range(rng.choice([0, 0, 1, 1, 1, 2, 3]))]
        truths[image_id] = set(some)
        confidence = rng.choice([0.5, 1e-300, -1.0, -0.0, 0.0, 5e-324, rng.random()])
        guesses[image_id] = (rng.randrange(4), confidence) if rng.random() < 0.8 else ()
    return guesses, truths


def write(folder, guesses, truths, rng):
    """As files, each in an order of its own."""
    for name, cells in (
        ("submission.csv", {i: " ".join(map(str, g)) for i, g in guesses.items()}),
        ("solution.csv", {i: " ".join(map(str, t)) for i, t in truths.items()}),
    ):
        rows = list(cells.items())
        rng.shuffle(rows)
        tables.write_rows(folder / name, ("id", "landmarks"), rows)
    return folder / "submission.csv", folder / "solution.csv"


@pytest.mark.parametrize(
    "n", [pytest.param(300, id="some"), pytest.param(5000, marks=pytest.mark.slow)]
)
def test_a_score_is_the_definition_in_exact_fractions(n, tmp_path, tried):
    rng = random.Random(1)
    for _ in range(n):
        guesses, truths = drawn_images(rng, rng.choice([1, 2, 3, 5, 10, 40]))
        found = score(*write(tmp_path, guesses, truths, rng))
        expected = exact_gap(guesses, truths)
        if expected is None:
            assert found.gap is None
        else:
            assert found.gap == pytest.approx(float(expected), abs=1e-12)
            worst, best = found.gap_worst_ties, found.gap_best_ties
            assert worst - 1e-12 <= found.gap <= best + 1e-12
        counts = validate(tmp_path / "submission.csv", tmp_path / "solution.csv")
        assert counts.n_guesses == sum(map(bool, guesses.values()))
        tried["scores held against exact fractions"] += 1


def integer_gap(guesses, truths, bits=200):
    """As ``exact_gap``, rounded down in 1 / 2^bits at each guess: a sum of so many
    fractions has no denominator that one could write down."""
    n_positives = sum(bool(landmarks) for landmarks in truths.values())
    made = [(-g[1], i, g[0]) for i, g in guesses.items() if g]
    total = right = 0
    for rank, (_, image_id, landmark) in enumerate(sorted(made), 1):
        if landmark in truths[image_id]:
            right += 1
            total += (right << bits) // rank
    return Fraction(total, n_positives << bits)


@pytest.mark.parametrize(
    "n",
    [pytest.param(20_000, id="some"), pytest.param(1_000_000, marks=pytest.mark.slow)],
)
def test_a_score_of_many_rows_is_the_definition(n, tmp_path, tried):
    rng = random.Random(n)
    guesses, truths = drawn_images(rng, n)
    found = score(*write(tmp_path, guesses, truths, rng))
    assert math.isclose(found.gap, integer_gap(guesses, truths), rel_tol=1e-11)
    assert found.n_images == n
    tried[f"scores of {n:,} rows"] += 1


def test_the_two_definitions_are_one():
    rng = random.Random(2)
    guesses, truths = drawn_images(rng, 200)
    assert float(integer_gap(guesses, truths)) == float(exact_gap(guesses, truths))


@pytest.mark.parametrize("n", [400])
def test_a_bad_submission_or_solution_gives_one_line_and_no_score(n, tmp_path, tried):
    submission, solution = tmp_path / "submission.csv", tmp_path / "solution.csv"
    both = st.tuples(
        bad.table(KINDS["submission.csv"][0]), bad.table(KINDS["solution.csv"][0])
    )

    @steady(n)
    @given(contents=both, alike=st.booleans())
    def check(contents, alike):
        submission.write_bytes(contents[0])
        guesses = bad.plain_submission(contents[0])
        content = contents[1]
        if alike and guesses is not None:  # else the ids would hardly ever agree
            rows = "".join(f'"{i}",7\n' for i in guesses)
            content = f"id,landmarks\n{rows}".encode()
        solution.write_bytes(content)
        truths = bad.plain_solution(content)
        fine = guesses is not None and bool(truths) and set(guesses) == set(truths)
        try:
            found = score(submission, solution)
        except TableError as error:
            check_complaint(error, submission, solution)
            assert not fine
            return
        kept = {i: t for i, (t, usage) in truths.items() if usage != "Ignored"}
        expected = exact_gap({i: guesses[i] for i in kept}, kept)
        assert fine
        assert (found.gap is None) == (expected is None)
        assert found.gap == pytest.approx(expected and float(expected), abs=1e-12)
        tried["scores of generated tables"] += 1

    check()
