"""What every complaint of the kit must be, and how bad input is generated."""

from hypothesis import HealthCheck, settings

from tests.helpers import bad_tables as bad

LONGEST = 600  # characters of a complaint, beside the path in it


KINDS = {
    "train.csv": ([("id", "id"), ("landmark_id", "landmark_id")], bad.plain_labels),
    "sample_submission.csv": ([("id", "id"), ("landmarks", "guess")], bad.plain_sample),
    "submission.csv": ([("id", "id"), ("landmarks", "guess")], bad.plain_submission),
    "solution.csv": (
        [("id", "id"), ("landmarks", "truth"), ("Usage", "Usage")],
        bad.plain_solution,
    ),
    "subset.csv": (
        [("id", "id"), ("landmark_id", "landmark_id"), ("split", "split")],
        bad.plain_subset,
    ),
}


def steady(n, derandomize=True):
    """So many examples, the same ones every time; or those of a ``hypothesis.seed``."""
    return settings(
        max_examples=n,
        derandomize=derandomize,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def check_complaint(error, *paths):
    """One line that names one of the files, and is not as long as what it quotes."""
    text = str(error)
    assert text.isprintable()
    assert any(str(path) in text for path in paths), text[:999]
    assert len(text) < LONGEST + max(len(str(path)) for path in paths)
