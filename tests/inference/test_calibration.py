"""A confidence becomes the probability that a guess is right."""

import numpy as np
import pytest

from kaggle_kit.bundling.calibrate import calibrate
from kaggle_kit.errors import ArtefactError
from kaggle_kit.inference.calibration import Calibration
from kaggle_kit.storage.tables import Guess, Truth


def photos(seed, n, slope=8.0, middle=0.3):
    """Guesses that are right with a known probability."""
    rng = np.random.default_rng(seed)
    confidence = rng.normal(0.3, 0.4, n)
    probability = 1 / (1 + np.exp(-slope * (confidence - middle)))
    right = rng.random(n) < probability
    guesses = {f"{i:04}": Guess(7, float(c)) for i, c in enumerate(confidence)}
    truths = {
        key: Truth(frozenset({7}) if ok else frozenset())
        for key, ok in zip(guesses, right, strict=True)
    }
    return guesses, truths


@pytest.mark.parametrize("seed", range(5))
def test_a_known_curve_is_found_again(seed):
    found = calibrate(*photos(seed, 4000))
    for confidence in np.linspace(-0.5, 1.0, 16):
        expected = 1 / (1 + np.exp(-8 * (confidence - 0.3)))
        assert found(confidence) == pytest.approx(expected, abs=0.05)
    assert found.n == 4000 and 0 < found.n_landmarks < 4000


def test_it_rises_and_never_leaves_its_range():
    found = calibrate(*photos(0, 200))
    values = [found(x) for x in (-1e9, -1.0, 0.0, 0.3, 1.0, 1e9)]
    assert values == sorted(values) and 0 <= values[0] and values[-1] <= 1


def test_a_clean_cut_stays_finite():
    guesses = {f"{i:04}": Guess(7, i / 100) for i in range(100)}
    truths = {
        key: Truth(frozenset({7}) if guess.confidence > 0.5 else frozenset())
        for key, guess in guesses.items()
    }
    found = calibrate(guesses, truths)
    assert found(0.0) < 0.05 and found(1.0) > 0.95 and abs(found.slope) < 1e3


def test_nothing_is_claimed_where_all_are_right():
    guesses = {f"{i:04}": Guess(7, i / 100) for i in range(10)}
    assert calibrate(guesses, {key: Truth(frozenset({7})) for key in guesses}) is None


def test_nothing_is_claimed_where_confidence_misleads():
    guesses = {f"{i:04}": Guess(7, i / 100) for i in range(10)}
    truths = {
        key: Truth(frozenset({7}) if guess.confidence < 0.05 else frozenset())
        for key, guess in guesses.items()
    }
    assert calibrate(guesses, truths) is None


def test_it_comes_back_from_disk_and_damage_is_named(tmp_path):
    curve = Calibration(2.5, -0.5, 10, 4)
    curve.save(tmp_path / "c.json")
    assert Calibration.load(tmp_path / "c.json") == curve
    assert Calibration.load(tmp_path / "none.json") is None
    for text in (
        "{",
        '{"slope": 1}',
        '{"slope": NaN, "intercept": 0, "n": 1, "n_landmarks": 1}',
    ):
        (tmp_path / "c.json").write_text(text)
        with pytest.raises(ArtefactError, match="make the bundle again"):
            Calibration.load(tmp_path / "c.json")
