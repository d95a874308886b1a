"""How much was tried is told at the end of the tests."""

from collections import Counter

import pytest

TRIED: Counter[str] = Counter()


@pytest.fixture
def tried() -> Counter[str]:
    """Counts of what was tried, by its name."""
    return TRIED


def pytest_terminal_summary(terminalreporter):
    """One line for each kind of bad input."""
    for name, n in sorted(TRIED.items()):
        terminalreporter.write_line(f"tried: {n:,} {name}")
