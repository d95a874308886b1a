"""Scoring files: what is counted, how fast, and one line for each mistake."""

import dataclasses
import json
import re
import subprocess
import sys
import time
from fractions import Fraction

import numpy as np
import pytest

from kaggle_kit.errors import TableError
from kaggle_kit.metrics.known_landmarks import read_known_landmarks
from kaggle_kit.metrics.score import (
    Validation,
    precisions_of,
    rows_of,
    score,
    score_guesses,
    validate,
    with_intervals,
)
from kaggle_kit.storage.tables import Guess, Truth, read_solution, read_submission

RUN = "import sys; from kaggle_kit.cli import main; sys.exit(main(sys.argv[1:]))"
A, B, C = "0123456789abcdef", "0223456789abcdef", "0323456789abcdef"
D, E = "0423456789abcdef", "0523456789abcdef"


@pytest.fixture
def files(tmp_path):
    """Write a submission and a solution; return their paths."""

    def write(submission, solution):
        paths = tmp_path / "submission.csv", tmp_path / "solution.csv"
        for path, text in zip(paths, (submission, solution), strict=True):
            path.write_text(text)
        return paths

    return write


# The vectors of dataset_file_io_test.py, beside the metric's in tensorflow/models.
DELF_SOLUTION = f"""id,landmarks,Usage
{A},0 12,Public
{B},,Public
{C},100,Ignored
{D},1,Private
{E},,Ignored
"""
DELF_SUBMISSION = f"""id,landmarks
{A},12 0.1 \n{D},0 19.0
{B},

{C},
{E},14 0.01
"""


def test_delf_files_are_read_as_delf_reads_them(files):
    submission, solution = files(DELF_SUBMISSION, DELF_SOLUTION)
    guesses = read_submission(submission)
    assert guesses[A] == (12, 0.1) and guesses[D] == (0, 19.0) and guesses[B] is None
    assert read_solution(solution) == {
        A: Truth(frozenset({0, 12}), "Public"),
        B: Truth(frozenset(), "Public"),
        C: Truth(frozenset({100}), "Ignored"),
        D: Truth(frozenset({1}), "Private"),
        E: Truth(frozenset(), "Ignored"),
    }


def test_public_and_private_are_apart_and_ignored_rows_left_out(files):
    result = score(*files(DELF_SUBMISSION, DELF_SOLUTION))
    assert result.n_images == 3 and result.n_positives == 2
    assert result.n_guesses == 2
    assert result.gap == pytest.approx(1 / 4)  # the wrong guess of D outranks A
    assert result.public.gap == 1 and result.public.n_images == 2
    assert result.private.gap == 0 and result.private.n_images == 1


def test_without_usage_there_is_one_score(files):
    result = score(*files(f"id,landmarks\n{A},7 1\n", f"id,landmarks\n{A},7\n"))
    assert result.gap == 1
    assert result.public is None and "public" not in result.as_json()


def test_the_order_of_rows_does_not_matter(files, tmp_path):
    submission, solution = files(
        f"id,landmarks\n{A},7 0.5\n{B},8 0.5\n{C},9 0.5\n",
        f"id,landmarks\n{A},\n{B},8\n{C},9\n",
    )
    first = score(submission, solution)
    lines = submission.read_text().splitlines()
    submission.write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    assert score(submission, solution) == first
    assert first.gap == pytest.approx(7 / 12)


def kit(*args):
    command = [sys.executable, "-c", RUN, *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.timed
def test_a_hundred_thousand_rows_score_in_a_second(files):
    ids = [f"{i * 2654435761 % 2**64:016x}" for i in range(100_000)]
    paths = files(
        "id,landmarks\n"
        + "".join(f"{x},{i % 977} {i / 7}\n" for i, x in enumerate(ids)),
        "id,landmarks,Usage\n"
        + "".join(
            f"{x},{i % 977 if i % 3 else ''},Public\n" for i, x in enumerate(ids)
        ),
    )
    seconds = []
    for _ in range(3):
        start = time.monotonic()
        done = kit("score", *paths)
        seconds.append(time.monotonic() - start)
    assert json.loads(done.stdout)["n_guesses"] == 100_000
    assert min(seconds) < 1


TRUTH = f"id,landmarks\n{A},7\n{B},\n"
MISTAKES = {
    "a missing id": (f"id,landmarks\n{A},7 0.5\n", B, "1 too few"),
    "a repeated id": (f"id,landmarks\n{A},7 0.5\n{B},\n{A},\n", A, "row 4"),
    "an unknown id": (f"id,landmarks\n{A},\n{B},\n{C},\n", C, "1 unknown"),
    "nan": (f"id,landmarks\n{A},7 nan\n{B},\n", A, "'7 nan'"),
    "infinity": (f"id,landmarks\n{A},7 inf\n{B},\n", A, "'7 inf'"),
    "no confidence": (f"id,landmarks\n{A},7\n{B},\n", A, "'7'"),
    "a semicolon": (f"id,landmarks\n{A},7;0.9\n{B},\n", A, "'7;0.9'"),
    "two guesses": (f"id,landmarks\n{A},7 0.9 8 0.1\n{B},\n", A, "'7 0.9 8 0.1'"),
    "a fraction": (f"id,landmarks\n{A},7.5 0.9\n{B},\n", A, "'7.5 0.9'"),
    "a negative landmark": (f"id,landmarks\n{A},-7 0.9\n{B},\n", A, "'-7 0.9'"),
    "a third field": (f"id,landmarks\n{A},7 0.9,x\n{B},\n", "row 2", "got 3"),
    "no header": (f"{A},7 0.9\n{B},\n", "row 1", "expected the header id,landmarks"),
    "an empty file": ("", "row 1", "an empty file"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_1(name, files):
    text, where, what = MISTAKES[name]
    submission, solution = files(text, TRUTH)
    sample = solution.with_name("sample_submission.csv")
    sample.write_text(TRUTH)
    for args in (
        ["score", submission, solution],
        ["validate", submission, "--sample", sample],
    ):
        done = kit(*args)
        assert done.returncode == 1 and done.stdout == ""
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"kaggle-kit {args[0]}: {submission}: ")
        assert "expected" in line and where in line and what in line


@pytest.mark.parametrize("content", [b"\xff\xfe\x00binary", b'id,landmarks\n"open\n'])
def test_a_file_that_is_no_csv_is_named(content, tmp_path, files):
    submission, solution = files("", TRUTH)
    submission.write_bytes(content)
    done = kit("score", submission, solution)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert str(submission) in done.stderr


def test_a_file_that_is_not_there_is_named(files, tmp_path):
    _, solution = files("", TRUTH)
    with pytest.raises(TableError, match=r"none\.csv: expected a CSV file, found none"):
        score(tmp_path / "none.csv", solution)
    with pytest.raises(
        TableError, match="expected a CSV file, got a pipe, a device or a folder"
    ):
        score(tmp_path, solution)


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        (f"{A},7,Secret\n", "Secret"),
        (f"{A},seven,Public\n", "seven"),
        (f"{A},7,Public\n{A},7,Public\n", "got another"),
        ("", "got none; check"),
    ],
)
def test_a_mistake_in_the_solution_is_named(rows, what, files):
    submission, solution = files(
        f"id,landmarks\n{A},7 1\n", f"id,landmarks,Usage\n{rows}"
    )
    with pytest.raises(TableError, match=what):
        score(submission, solution)


def test_validate_counts_rows_and_guesses(files):
    submission, sample = files(f"id,landmarks\n{B},\n{A},7 1e-40\n{C},8 1\n", TRUTH)
    sample.write_text(
        "id,landmarks\n" + "".join(f"{i},137790 0.1\n" for i in (A, B, C))
    )
    counts = Validation(valid=True, n_images=3, n_guesses=2)
    assert validate(submission, sample) == counts
    assert validate(str(submission), str(sample)) == counts
    text = '{"valid": true, "n_images": 3, "n_guesses": 2}'
    assert json.dumps(counts.as_json()) == text


# More of what is counted.


def test_a_row_is_wanted_also_where_the_solution_ignores_it(files):
    """DELF's own submission has none for C; Kaggle wants the ids of its sample."""
    submission, solution = files(DELF_SUBMISSION.replace(f"{C},\n", ""), DELF_SOLUTION)
    with pytest.raises(TableError, match=f"image {C}: .* 1 too few"):
        score(submission, solution)


def slow_gap_of(images, guesses, truth):
    """The definition in fractions; None where no image shows a landmark."""
    made = sorted((-guesses[i][1], i) for i in images if guesses[i])
    total, right = Fraction(0), 0
    for rank, (_, i) in enumerate(made, 1):
        if guesses[i][0] in truth[i]:
            right += 1
            total += Fraction(right, rank)
    n_positives = sum(bool(truth[i]) for i in images)
    return float(total / n_positives) if n_positives else None


@pytest.mark.parametrize("seed", range(30))
def test_files_in_any_order_agree_with_the_definition_in_each_part(seed, files):
    rng = np.random.default_rng(seed)
    forms = ("{:016x}", "{:016d}", "1234e{:011d}", "0{:015d}")
    ids = [forms[i % 4].format(int(rng.integers(1e8)) * 100 + i) for i in range(40)]
    usage = {i: ("Public", "Private", "Ignored")[rng.integers(3)] for i in ids}
    truth = {i: set(rng.integers(0, 4, rng.integers(0, 4)).tolist()) for i in ids}
    guesses = {
        i: (int(rng.integers(4)), int(rng.integers(5)) / 4)
        if rng.random() < 0.8
        else None
        for i in ids
    }
    cells = {i: f"{g[0]} {g[1]!r}" if g else "" for i, g in guesses.items()}
    results = []
    for _ in range(3):
        one, two = rng.permutation(ids), rng.permutation(ids)
        paths = files(
            "id,landmarks\n" + "".join(f"{i},{cells[i]}\n" for i in one),
            "id,landmarks,Usage\n"
            + "".join(f"{i},{' '.join(map(str, truth[i]))},{usage[i]}\n" for i in two),
        )
        results.append(score(*paths))
    assert results[0] == results[1] == results[2]
    counted = [i for i in ids if usage[i] != "Ignored"]
    public = [i for i in ids if usage[i] == "Public"]
    private = [i for i in ids if usage[i] == "Private"]
    for images, part in (
        (counted, results[0]),
        (public, results[0].public),
        (private, results[0].private),
    ):
        expected = slow_gap_of(images, guesses, truth)
        assert part.gap == pytest.approx(expected, abs=1e-12)
        assert part.n_images == len(images)


def test_a_row_without_usage_counts_and_is_in_neither_part(files):
    result = score(
        *files(
            f"id,landmarks\n{A},7 1\n{B},1 3\n{C},1 2\n",
            f"id,landmarks,Usage\n{A},7,Public\n{B},8,\n{C},9,Private\n",
        )
    )
    assert result.n_images == 3 and result.gap == pytest.approx(1 / 9)
    assert result.public.n_images == result.private.n_images == 1
    assert result.public.gap == 1 and result.private.gap == 0


def test_ids_that_differ_are_named_with_the_file_they_are_held_against(files):
    submission, other = files(f"id,landmarks\n{A},7 1\n", TRUTH)
    for check in (score, validate):
        with pytest.raises(TableError) as caught:
            check(submission, other)
        assert str(caught.value).startswith(f"{submission}: image {B}: ")
        assert str(other) in str(caught.value)


def test_precisions_are_of_the_landmark_images_by_id():
    """B has no guess and C a wrong one, D shows no landmark; the best guess is D's."""
    shown = {E: {5}, A: {7, 8}, B: {8}, C: {9}, D: set()}
    truths = {i: Truth(frozenset(landmarks)) for i, landmarks in shown.items()}
    guesses = {D: Guess(7, 0.9), A: Guess(8, 0.8), C: Guess(7, 0.7), E: Guess(5, 0.6)}
    found = precisions_of(guesses, truths)
    assert found == pytest.approx([1 / 2, 0, 0, 2 / 4])
    assert found.sum() / 4 == pytest.approx(score_guesses(guesses, truths).gap)


def test_of_no_images_the_columns_are_of_the_same_kinds():
    for rows in (rows_of({}, {}), rows_of({}, {A: Truth(frozenset())})):
        kinds = {name: column.dtype.kind for name, column in rows._asdict().items()}
        assert kinds.pop("confidence") == "f" and set(kinds.values()) == {"b"}


def test_an_ignored_row_changes_nothing_whatever_it_says(files):
    solution = f"id,landmarks,Usage\n{A},7,Public\n{B},8,Private\n{C},9,Ignored\n"
    rows = f"id,landmarks\n{A},7 0.5\n{B},1 0.6\n"
    results = [
        score(*files(f"{rows}{C},{cell}\n", solution))
        for cell in ("", "9 99", "1 99", "9 0.55")
    ]
    assert all(result == results[0] for result in results)
    assert results[0].gap == pytest.approx(1 / 4)


def test_a_part_that_the_solution_lacks_has_no_score(files):
    result = score(
        *files(f"id,landmarks\n{A},7 1\n", f"id,landmarks,Usage\n{A},7,Public\n")
    )
    assert result.public.gap == 1 and result.private is None
    assert result.as_json()["private"] is None
    result = score(
        *files(f"id,landmarks\n{A},7 1\n", f"id,landmarks,Usage\n{A},7,Ignored\n")
    )
    assert result.gap is result.public is result.private is None
    assert result.n_images == 0
    assert list(result.as_json())[-2:] == ["public", "private"]


def test_scoring_does_not_load_tensorflow(files):
    code = (
        "import sys\nfrom kaggle_kit.cli import main\n"
        "assert main(sys.argv[1:]) == 0\n"
        "print('tensorflow' in sys.modules, 'numpy' in sys.modules)"
    )
    paths = map(str, files(f"id,landmarks\n{A},7 1\n", f"id,landmarks\n{A},7\n"))
    done = subprocess.run(
        [sys.executable, "-c", code, "score", *paths],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "False True"


# More mistakes.

MORE_MISTAKES = {
    "a missing column": (f"id,label\n{A},7 0.5\n", "row 1", "got 'id,label'"),
    "minus infinity": (f"id,landmarks\n{A},7 -inf\n{B},\n", A, "'7 -inf'"),
    "too large": (f"id,landmarks\n{A},7 1e999\n{B},\n", A, "'7 1e999'"),
    "the wrong way round": (f"id,landmarks\n{A},0.9 7\n{B},\n", A, "'0.9 7'"),
    "words": (f"id,landmarks\n{A},tower 0.9\n{B},\n", A, "'tower 0.9'"),
    "a comma for a point": (f'id,landmarks\n{A},"7 0,9"\n{B},\n', A, "'7 0,9'"),
    "one field": (f"id,landmarks\n{A}\n{B},\n", "row 2", "got 1"),
    "a shortened id": (f"id,landmarks\n{A},\n{B[:-1]},\n", B[:-1], "1 unknown"),
    "an id in capitals": (f"id,landmarks\n{A.upper()},\n{B},\n", "1 unknown", "ABC"),
}


@pytest.mark.parametrize("name", MISTAKES | MORE_MISTAKES)
def test_a_mistake_names_place_expected_got_and_next_step(name, files):
    text, where, what = (MISTAKES | MORE_MISTAKES)[name]
    submission, solution = files(text, TRUTH)
    with pytest.raises(TableError) as caught:
        score(submission, solution)
    message = str(caught.value)
    parts = r": (row \d+|image \w+|row \d+: image \w+): expected .+, got .+; \w.+"
    assert re.fullmatch(re.escape(str(submission)) + parts, message)
    assert where in message and what in message


@pytest.mark.parametrize(
    "content",
    [b"\xff\xd8\xff\xe0\x00\x10JFIF\n\n\x00", b"\x80" * 5000, b"x" * 300_000, b""],
    ids=["image", "no text", "one long field", "empty"],
)
def test_what_is_no_table_is_one_line_and_nothing_on_stdout(content, files):
    submission, solution = files("", TRUTH)
    submission.write_bytes(content)
    done = kit("score", submission, solution)
    assert done.returncode == 1 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"kaggle-kit score: {submission}: ")
    assert "expected" in line and "got" in line and "; " in line


def test_a_file_that_is_not_there_is_one_line_whichever_it_is(files, tmp_path):
    submission, solution = files(f"id,landmarks\n{A},7 1\n{B},\n", TRUTH)
    none = tmp_path / "none.csv"
    for args in ((none, solution), (submission, none)):
        done = kit("score", *args)
        assert done.returncode == 1 and done.stdout == ""
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"kaggle-kit score: {none}: expected")


def test_a_mistake_in_the_solution_is_one_line(files):
    submission, solution = files(f"id,landmarks\n{A},7 1\n", f"id,landmarks\n{A},y\n")
    done = kit("score", submission, solution)
    assert done.returncode == 1 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"kaggle-kit score: {solution}: row 2: image {A}: expected")


# Other shares of landmark images, and intervals.


def drawn_images(seed, n=60):
    """Guesses and truths by image id, with ties, blanks and images without landmark."""
    rng = np.random.default_rng([seed, 3])
    ids = [f"{i:016x}" for i in range(n)]
    truths = {
        i: Truth(frozenset(rng.integers(0, 3, rng.integers(0, 3)).tolist()))
        for i in ids
    }
    guesses = {
        i: Guess(int(rng.integers(3)), int(rng.integers(8)) / 8)
        if rng.random() < 0.8
        else None
        for i in ids
    }
    return guesses, truths


@pytest.mark.parametrize(("share", "times"), [(0.011, 2967), (0.1, 297), (0.3, 77)])
@pytest.mark.parametrize("seed", range(3))
def test_gap_at_a_share_is_gap_of_a_solution_with_that_share(seed, share, times):
    """66 landmark images and 2 others, which are copied under ids beside their own."""
    rng = np.random.default_rng(seed)
    ids = [f"{i:016x}" for i in rng.permutation(68)]
    truths = {i: Truth(frozenset({1} if k < 66 else ())) for k, i in enumerate(ids)}
    guesses = {i: Guess(int(rng.integers(2)), int(rng.integers(8)) / 8) for i in ids}
    copied_truths, copied_guesses = {}, {}
    for i in ids:
        for k in range(1 if truths[i].landmark_ids else times):
            copied_truths[f"{i}-{k}"] = truths[i]
            copied_guesses[f"{i}-{k}"] = guesses[i]
    assert 66 / len(copied_truths) == pytest.approx(share, abs=1e-15)
    expected = score_guesses(copied_guesses, copied_truths).gap
    found = score_guesses(guesses, truths)
    assert found.as_json()["gap_at_share"][str(share)] == found.gap_at_share[share]
    assert found.gap_at_share[share] == pytest.approx(expected, abs=1e-12)


def test_gap_at_share_is_none_where_it_is_not_defined():
    only = score_guesses({A: Guess(7, 1.0)}, {A: Truth(frozenset({7}))})
    assert only.gap == 1
    assert set(only.gap_at_share.values()) == {None}
    none = score_guesses({A: Guess(7, 1.0)}, {A: Truth(frozenset())})
    assert set(none.gap_at_share.values()) == {None}


@pytest.mark.parametrize("seed", range(5))
def test_intervals_are_added_to_the_scores(seed):
    guesses, truths = drawn_images(seed)
    scores = with_intervals(guesses, truths, n_resamples=200, seed=seed)
    interval = scores.interval
    assert dataclasses.replace(scores, interval=None) == score_guesses(guesses, truths)
    assert list(interval.as_json()) == ["gap", "top1", "auc", "gap_at_share"]
    for name in ("gap", "top1", "auc"):
        low, high = getattr(interval, name)
        assert 0 <= low < getattr(scores, name) < high <= 1
    assert interval.gap_at_share.keys() == scores.gap_at_share.keys()
    for share, (low, high) in interval.gap_at_share.items():
        assert 0 <= low < scores.gap_at_share[share] < high <= 1
    again = with_intervals(guesses, truths, n_resamples=200, seed=seed).interval
    assert interval == again
    values = interval.as_json()
    assert json.loads(json.dumps(values)) == values
    other = with_intervals(guesses, truths, n_resamples=200, seed=seed + 1).interval
    assert other != interval
    defaults = with_intervals(guesses, truths, n_resamples=1000, seed=0)
    assert with_intervals(guesses, truths) == defaults


@pytest.mark.parametrize("shown", [{7}, {}])
def test_an_interval_of_what_is_not_defined_is_none(shown):
    truths = {A: Truth(frozenset(shown))}
    interval = with_intervals({A: Guess(7, 1.0)}, truths).interval
    assert interval.gap == interval.top1 == ((1, 1) if shown else None)
    assert interval.auc is None
    assert set(interval.gap_at_share.values()) == {None}


def test_the_intervals_of_files_are_those_of_their_images_by_seed(files):
    guesses, truths = drawn_images(0)
    cells = {i: f"{g[0]} {g[1]}" if g else "" for i, g in guesses.items()}
    paths = files(
        "id,landmarks\n" + "".join(f"{i},{cell}\n" for i, cell in cells.items()),
        "id,landmarks\n"
        + "".join(
            f"{i},{' '.join(map(str, t.landmark_ids))}\n" for i, t in truths.items()
        ),
    )
    for seed in (0, 1):
        expected = with_intervals(guesses, truths, 60, seed)
        assert score(*paths, n_resamples=60, seed=seed) == expected
    assert score(*paths, 60) == with_intervals(guesses, truths, 60, seed=0)
    assert score(*paths, 60).interval != expected.interval


def test_files_are_scored_with_intervals_only_when_asked(files):
    paths = files(DELF_SUBMISSION, DELF_SOLUTION)
    plain = score(*paths)
    asked = score(*paths, n_resamples=50)
    for part, whole in (
        (asked, plain),
        (asked.public, plain.public),
        (asked.private, plain.private),
    ):
        assert whole.interval is None and "interval" not in whole.as_json()
        rest = {"interval": None, "public": None, "private": None}
        assert dataclasses.replace(part, **rest) == dataclasses.replace(whole, **rest)
    assert asked.interval.gap == (0, 1)  # both are D, or both are A
    assert asked.public.interval.gap == (1, 1)
    assert asked.private.interval.gap == (0, 0)


# What is printed.

PRINTED = """{
  "gap": 0.25,
  "gap_worst_ties": 0.25,
  "gap_best_ties": 0.25,
  "gap_landmarks_only": 0.25,
  "gap_at_share": {
    "0.011": 0.25,
    "0.1": 0.25,
    "0.3": 0.25
  },
  "top1": 0.5,
  "auc": 1.0,
  "n_images": 3,
  "n_positives": 2,
  "n_guesses": 2,
  "lost": {
    "wrong_landmarks": 0.75,
    "non_landmarks": 0.0,
    "missing_guesses": 0.0
  },
  "interval": {
    "gap": [
      0.0,
      1.0
    ],
"""


def test_the_printed_json_has_these_keys_in_this_order(files):
    paths = files(DELF_SUBMISSION, DELF_SOLUTION)
    done = kit("score", *paths, "--intervals")
    assert done.stdout.startswith(PRINTED)
    printed = json.loads(done.stdout)
    assert list(printed)[-3:] == ["interval", "public", "private"]
    assert list(printed["public"]) == list(printed)[:-2]
    assert printed == score(*map(str, paths), n_resamples=1000).as_json()


# Landmarks that the bundle does not hold.


@pytest.fixture
def bundle(tmp_path):
    """What ``score`` reads of a bundle: the gallery's table, here of the landmark 7."""
    (tmp_path / "bundle" / "gallery").mkdir(parents=True)
    table = tmp_path / "bundle" / "gallery" / "gallery.csv"
    table.write_text(f"id,landmark_id\n{E},7\n{D},7\n")
    (tmp_path / "bundle" / "classes.csv").write_text("class,landmark_id,n_images\n")
    return tmp_path / "bundle"


# In rank order: A is right, B is of a landmark that the bundle lacks, C is confused, D is
# right, and E is of a known landmark and one that the bundle lacks.
UNKNOWN_TRUTH = f"id,landmarks\n{A},7\n{B},9\n{C},7\n{D},7\n{E},9 7\n"
UNKNOWN_GUESSES = f"id,landmarks\n{A},7 5\n{B},7 4\n{C},8 3\n{D},7 2\n{E},8 1\n"


def test_a_landmark_that_the_bundle_lacks_is_a_loss_of_its_own(files, bundle):
    """Each wrong guess loses a fifth, and what it takes from D at rank 4."""
    paths = files(UNKNOWN_GUESSES, UNKNOWN_TRUTH)
    result = score(*paths, bundle=bundle)
    lost = result.lost
    assert result.gap == pytest.approx((1 + 2 / 4) / 5)
    assert lost.unknown_landmarks == pytest.approx((1 + 1 / 4) / 5)
    assert lost.wrong_landmarks == pytest.approx((2 + 1 / 4) / 5)
    assert (lost.non_landmarks, lost.missing_guesses) == (0, 0)
    plain = score(*paths)
    assert plain.lost.wrong_landmarks == pytest.approx((3 + 2 / 4) / 5)
    assert "unknown_landmarks" not in plain.lost.as_json()
    assert dataclasses.replace(result, lost=plain.lost) == plain


def test_each_usage_has_its_own_loss_to_unknown_landmarks(files, bundle):
    rows = UNKNOWN_TRUTH.splitlines()
    usages = ("Usage", "Public", "Private", "Private", "Public", "Ignored")
    solution = "".join(f"{r},{u}\n" for r, u in zip(rows, usages, strict=True))
    result = score(*files(UNKNOWN_GUESSES, solution), 20, bundle=bundle)
    assert result.lost.unknown_landmarks == pytest.approx((1 + 1 / 4) / 4)
    assert result.public.lost.unknown_landmarks == 0
    assert result.private.lost.unknown_landmarks == 1 / 2


def test_the_command_takes_the_bundle_and_names_a_folder_that_is_none(files, bundle):
    paths = files(UNKNOWN_GUESSES, UNKNOWN_TRUTH)
    done = kit("score", *paths, "--bundle", bundle)
    printed = json.loads(done.stdout)
    assert list(printed["lost"]) == [
        *("wrong_landmarks", "non_landmarks", "missing_guesses", "unknown_landmarks")
    ]
    assert printed["gap"] + sum(printed["lost"].values()) == pytest.approx(1)
    assert printed == score(*paths, bundle=str(bundle)).as_json()
    done = kit("score", *paths, "--bundle", bundle.parent)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1 and not done.stdout
    assert "expected a bundle with a gallery, found no gallery" in line


def test_a_run_knows_its_classes_and_another_folder_nothing(bundle):
    assert read_known_landmarks(bundle) == {7}
    (bundle / "gallery" / "gallery.csv").unlink()
    (bundle / "classes.csv").write_text("class,landmark_id,n_images\n0,5,2\n1,6,1\n")
    assert read_known_landmarks(bundle) == {5, 6}
    assert read_known_landmarks(bundle / "gallery") is None
